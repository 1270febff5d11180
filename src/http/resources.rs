//! The verbs, the same for every resource type: from HTTP's words to the directory's and back.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    answer::Answer,
    body::Body,
    call::{Failure, Visit},
};
use crate::{
    directory::{Precondition, Shown, Stored},
    scim::{
        list::{ListQuery, Paging, cursor_response, list_response},
        members::{Link, LongDocument, Member},
        patch,
        projection::{Selection, project},
        resource,
        schema::ResourceType,
        search,
        write::Write,
    },
    telemetry::{self, same_request},
};

/// GET of one (RFC 7644 §3.4.1).
pub(super) async fn read(visit: &Visit, endpoint: &str, id: &str) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = visit.selection(&of)?;
    if visit.if_none_match != Precondition::None {
        // Whoever knows it is spared its members, and so are we.
        let version = visit.directory.read(&of, id, Shown::default()).await?.envelope.version;
        if visit.if_none_match.is_met_by(&version) {
            return Ok(Answer::not_modified().version(&version));
        }
    }
    let stored = visit.directory.read(&of, id, Shown::read(&of, &selection)).await?;
    if stored.many_members().is_none() {
        let mut document = stored.document(&of, &visit.base_url);
        visit.directory.name_others(&of, &mut document, &selection).await?;
        return Ok(Answer::ok(project(&of, document, &selection)).version(&stored.envelope.version));
    }
    Ok(show(visit, &of, &stored, &selection))
}

/// POST of a query (RFC 7644 §3.4.3): its parameters are in the body, and those of the URL mean nothing.
pub(super) async fn search(visit: &mut Visit, endpoint: Option<&str>, body: Body<'_>) -> Result<Answer, Failure> {
    let message = body.object().await?;
    visit.parameters = search::parameters(message, &mut visit.trace)?;
    query(visit, endpoint).await
}

/// GET of many (RFC 7644 §3.4.2): of the resources of one type, or at the root of all.
pub(super) async fn query(visit: &mut Visit, endpoint: Option<&str>) -> Result<Answer, Failure> {
    let types = visit.resource_types(endpoint)?;
    let selections: Vec<Selection> = types.iter().map(|of| visit.selection(of)).collect::<Result<_, _>>()?;
    let shown = types
        .iter()
        .zip(&selections)
        .map(|(of, selection)| Shown::read(of, selection));
    let shown: Vec<Shown> = shown.collect();
    let parameters = visit.parameters.iter();
    let query = ListQuery::parse(parameters.map(|(name, value)| (name.as_str(), value.as_str())))?;
    let found = visit
        .directory
        .query(&types, &query, &shown, &visit.base_url, &mut visit.trace)
        .await?;
    let mut resources = found.resources;
    let results = resources.len();
    let resources = resources.iter_mut().map(|listed| {
        let (document, of) = (std::mem::take(&mut listed.document), listed.of);
        let document = project(&types[of], document, &selections[of]);
        with_members(document, listed.many_members(), &visit.base_url)
    });
    let list = match (query.paging, found.total) {
        (Paging::Index(start), Some(total)) => list_response(total, start, resources.collect()),
        (_, total) => cursor_response(total, found.next_cursor, resources.collect()),
    };
    let answer = Answer::ok(list);
    telemetry::count("scim.results", results);
    Ok(visit.told(answer))
}

/// POST, PUT, PATCH and DELETE (RFC 7644 §3.3, §3.5, §3.6). A PATCH is always answered 200 with the resource, which
/// every client takes.
pub(super) async fn write(mut visit: Visit, endpoint: &str, write: Write) -> Result<Answer, Failure> {
    let of = visit.resource_type(endpoint)?;
    let selection = match write {
        Write::Delete { .. } => Selection::default(),
        _ => visit.selection(&of)?,
    };
    if let Write::Patch { message, .. } = &write {
        let (operations, names) = patch::touched(&of, message);
        telemetry::count("scim.patch.operations", operations);
        telemetry::note("scim.patch.paths", names.join(" "));
    }
    to_its_end(async move {
        let creates = matches!(write, Write::Create { .. });
        let shown = Shown::written(&of, &selection);
        let Visit {
            directory,
            if_match,
            trace,
            ..
        } = &mut visit;
        let Some(stored) = directory.perform(&of, write, if_match, shown, trace).await? else {
            return Ok(Answer::done());
        };
        let answer = show(&visit, &of, &stored, &selection);
        if creates {
            let location = resource::location(&visit.base_url, &of.endpoint, &stored.envelope.id);
            return Ok(answer.created(location));
        }
        Ok(answer)
    })
    .await
}

/// What the client asked to see of a resource.
fn show(visit: &Visit, of: &ResourceType, stored: &Stored, selection: &Selection) -> Answer {
    let document = project(of, stored.document(of, &visit.base_url), selection);
    let document = with_members(document, stored.many_members(), &visit.base_url);
    let answer = Answer::ok(document).version(&stored.envelope.version);
    visit.told(answer)
}

/// A projected document, with the members for which it has a placeholder, if they are many.
fn with_members<'a>(
    document: Map<String, Value>,
    many: Option<(&'a str, &'a [Member])>,
    base_url: &'a str,
) -> impl Serialize {
    let (attribute, members) = many.unwrap_or_default();
    let links = members.iter().map(|member| Link::member(member, None));
    LongDocument::new(document, attribute, links, base_url)
}

/// Runs a write in a task of its own: it goes on to its end when the client goes away or the deadline passes. The
/// Functions host drops the connection when its client does, and actix drops the handler with it.
pub(super) async fn to_its_end<F>(write: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    match tokio::spawn(same_request(write)).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            // The edge makes a complete answer of it.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("a write is never aborted: {error}"),
        },
    }
}
