//! The seven verbs, the same for every resource type: from HTTP's words to the directory's and back.

use serde_json::{Map, Value};

use super::{
    answer::Answer,
    body::Body,
    call::{Failure, Visit},
};
use crate::{
    directory::{self, Precondition, Stored},
    scim::{
        list::{ListQuery, list_response},
        projection::{Selection, project},
        schema::ResourceType,
    },
};

/// GET of one (RFC 7644 §3.4.1).
pub(super) async fn read(visit: &Visit, endpoint: &str, id: &str) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    let stored = visit.directory.read(&of, id).await?;
    let known = match &visit.if_none_match {
        Precondition::None => false,
        Precondition::Exists => true,
        Precondition::Version(versions) => versions.contains(&stored.envelope.version),
    };
    if known {
        return Ok(Answer::not_modified().version(&stored.envelope.version));
    }
    let mut shown = show(visit, &of, &stored, &selection);
    if directory::refers_to_others(&of, &shown) {
        let mut document = stored.document(&of, &visit.base_url);
        visit.directory.name_others(&of, &mut document).await?;
        shown = project(&of, document, &selection);
    }
    Ok(Answer::ok(shown).version(&stored.envelope.version))
}

/// GET of many (RFC 7644 §3.4.2).
pub(super) async fn query(visit: &mut Visit, endpoint: &str) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    let query = ListQuery::parse(
        visit
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )?;
    let found = visit
        .directory
        .query(&of, &query, &visit.base_url, &mut visit.trace)
        .await?;
    let page = found
        .documents
        .into_iter()
        .map(|document| project(&of, document, &selection))
        .collect();
    Ok(Answer::ok(list_response(found.total, query.start_index, page)).normalized(&visit.trace))
}

/// POST (RFC 7644 §3.3).
pub(super) async fn create(mut visit: Visit, endpoint: &str, body: Body<'_>) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    let document = body.object().await?;
    to_its_end(async move {
        let stored = visit.directory.create(&of, document, &mut visit.trace).await?;
        let body = show(&visit, &of, &stored, &selection);
        let location = format!("{}{}/{}", visit.base_url, of.endpoint, stored.envelope.id);
        Ok(Answer::created(location, body)
            .version(&stored.envelope.version)
            .normalized(&visit.trace))
    })
    .await
}

/// PUT (RFC 7644 §3.5.1).
pub(super) async fn replace(mut visit: Visit, endpoint: &str, id: String, body: Body<'_>) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    let document = body.object().await?;
    to_its_end(async move {
        let stored = visit
            .directory
            .replace(&of, &id, &visit.if_match, &document, &mut visit.trace)
            .await?;
        let body = show(&visit, &of, &stored, &selection);
        Ok(Answer::ok(body)
            .version(&stored.envelope.version)
            .normalized(&visit.trace))
    })
    .await
}

/// PATCH (RFC 7644 §3.5.2): always 200 with the resource, which every client takes.
pub(super) async fn patch(mut visit: Visit, endpoint: &str, id: String, body: Body<'_>) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    let message = body.object().await?;
    to_its_end(async move {
        let stored = visit
            .directory
            .patch(&of, &id, &visit.if_match, &message, &mut visit.trace)
            .await?;
        let body = show(&visit, &of, &stored, &selection);
        Ok(Answer::ok(body)
            .version(&stored.envelope.version)
            .normalized(&visit.trace))
    })
    .await
}

/// DELETE (RFC 7644 §3.6).
pub(super) async fn delete(visit: Visit, endpoint: &str, id: String) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    to_its_end(async move {
        visit.directory.delete(&of, &id, &visit.if_match).await?;
        Ok(Answer::done())
    })
    .await
}

/// What the client asked to see of a resource.
fn show(visit: &Visit, of: &ResourceType, stored: &Stored, selection: &Selection) -> Map<String, Value> {
    project(of, stored.document(of, &visit.base_url), selection)
}

/// Runs a write in a task of its own: it goes on to its end when the client goes away or the deadline passes. The
/// Functions host drops the connection when its client does, and actix drops the handler with it.
async fn to_its_end<F>(write: F) -> Result<Answer, Failure>
where
    F: Future<Output = Result<Answer, Failure>> + Send + 'static,
{
    match tokio::spawn(write).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            // The edge makes a complete answer of it.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("a write is never aborted: {error}"),
        },
    }
}
