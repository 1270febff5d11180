//! PATCH (RFC 7644 §3.5.2), as the RFC has it and as Entra and Okta send it.
//!
//! The operations edit a copy of the resource's JSON one after the other; the copy must then pass the same door as a new
//! resource. So a message takes effect as a whole or not at all, and no operation can make what a create could not.

mod edit;
mod listed;
mod members;
mod message;
mod part;
#[cfg(test)]
mod tests;
mod touched;
mod values;

use serde_json::Value;

use super::attributes::{self, Accepted, Attributes};
use super::error::Error;
use super::normalize::{Quirk, Trace};
use super::schema::ResourceType;
use edit::Editor;
pub use touched::touched;

/// URN of the PATCH message (RFC 7644 §3.5.2).
pub const PATCH_OP_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What `before` becomes by the PATCH message `body`: equal to `before`, without edits of members, when the message
/// changes nothing. Who is a member now need not be known. What the schemas do not show of `before` stays as it is.
///
/// Beyond the RFC, and noted in `trace`: keys that are paths (`name.givenName`, `emails[type eq "work"].value`,
/// `urn:…:User:department`) in an operation without path; a filter that matches nothing makes the value it describes;
/// `remove` with a list of values removes only those; `""` and null clear; unknown attributes are left out.
///
/// # Errors
/// `invalidSyntax` for a malformed message, `invalidPath` and `invalidFilter` for a path, `noTarget`, `mutability`,
/// `invalidValue`; or what [`attributes::accept`] refuses.
pub fn apply(rt: &ResourceType, before: &Attributes, body: Value, trace: &mut Trace) -> Result<Accepted, Error> {
    let operations = message::read(body, trace)?;
    let (stored, before) = (before, &*before.visible(rt));
    let mut editor = Editor::new(rt, before.as_map().clone(), trace);
    for operation in operations {
        editor.perform(operation)?;
    }
    let (document, members) = editor.finish();
    let members = members.checked()?;
    let mut again = Trace::default();
    let mut after = attributes::accept_patched(rt, document, before, &mut again)?;
    if before.as_map().contains_key(attributes::ACTIVE) && attributes::keep_active(rt, before, &mut after) {
        trace.note(Quirk::ActiveKept, attributes::ACTIVE);
    }
    attributes::check_immutable(rt, before, &after)?;
    after.keep_hidden(stored, before);
    // What was kept as it came was noted when it came.
    for note in again
        .notes()
        .iter()
        .filter(|note| !matches!(note.quirk, Quirk::NotBase64 | Quirk::NotUri))
    {
        trace.note(note.quirk, &note.path);
    }
    Ok(Accepted {
        attributes: after,
        members,
    })
}
