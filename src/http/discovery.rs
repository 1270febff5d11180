//! What this service can do (RFC 7644 §4). Needs the credential like everything else: without it, it would tell which
//! tenants there are.

use super::{
    answer::Answer,
    call::{Failure, Visit},
};
use crate::scim::{
    discovery,
    error::{Error as Refused, Rule},
};

pub(super) fn service_provider_config(visit: &Visit) -> Result<Answer, Failure> {
    unfiltered(visit)?;
    Ok(Answer::ok(discovery::service_provider_config(&visit.base_url)))
}

pub(super) fn resource_types(visit: &Visit) -> Result<Answer, Failure> {
    unfiltered(visit)?;
    Ok(Answer::ok(discovery::resource_types(&visit.catalog, &visit.base_url)))
}

pub(super) fn resource_type(visit: &Visit, name: &str) -> Result<Answer, Failure> {
    unfiltered(visit)?;
    let found = discovery::resource_type(&visit.catalog, name, &visit.base_url);
    Ok(Answer::ok(found.ok_or_else(|| Rule::NotFound.at("ResourceType"))?))
}

pub(super) fn schemas(visit: &Visit) -> Result<Answer, Failure> {
    unfiltered(visit)?;
    Ok(Answer::ok(discovery::schemas(&visit.catalog, &visit.base_url)))
}

pub(super) fn schema(visit: &Visit, urn: &str) -> Result<Answer, Failure> {
    unfiltered(visit)?;
    let found = discovery::schema(&visit.catalog, urn, &visit.base_url);
    Ok(Answer::ok(found.ok_or_else(|| Rule::NotFound.at("Schema"))?))
}

/// A filter here is refused (RFC 7644 §4); paging and sorting are ignored.
fn unfiltered(visit: &Visit) -> Result<(), Refused> {
    if visit.parameter("filter").is_some() {
        Err(Rule::FilterOnDiscovery.error())
    } else {
        Ok(())
    }
}
