//! What becomes of requests while a tenant's schemas change: where the old ones and the new ones disagree, a client comes
//! back a few seconds later, so that nothing is lost on one instance that another one keeps.

use std::sync::Arc;

use super::Directory;
use crate::scim::{
    attributes::Accepted,
    error::{Error as Refused, Rule},
    schema::ResourceType,
};

#[cfg(test)]
mod tests;

impl Directory {
    /// The resource type that other instances may have in the place of `of` at this moment, or are about to have.
    ///
    /// # Errors
    /// The request took so long that nobody can tell any more.
    pub(super) fn beside(&self, of: &ResourceType) -> Result<Option<&ResourceType>, Refused> {
        let catalogs = &self.access.catalogs;
        if catalogs.are_old() {
            return Err(Rule::DeadlineExceeded.error());
        }
        let other = catalogs
            .beside(self.ambient.now())
            .and_then(|catalog| catalog.resource_type(&of.name));
        Ok(other.map(Arc::as_ref).filter(|other| !std::ptr::eq(*other, of)))
    }
}

/// What a change comes to, unless it comes to something else by the other schemas.
pub(super) fn agreed(
    made: Result<Accepted, Refused>,
    otherwise: Option<Result<Accepted, Refused>>,
) -> Result<Accepted, Refused> {
    match (made, otherwise) {
        (Ok(made), Some(Ok(other))) if made == other => Ok(made),
        (made, None) | (made @ Err(_), Some(Err(_))) => made,
        _ => Err(Rule::SchemasChanging.error()),
    }
}
