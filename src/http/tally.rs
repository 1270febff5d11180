//! What is counted and kept of a request once it is answered: that it wrote, or why it was refused.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header::USER_AGENT},
};

use super::{
    call::{Visit, may_write},
    console::{RefusedBy, is_ours},
    reference::Reference,
};
use crate::{
    app::App,
    scim::{bulk::Task, error::Error, resource::is_nobodys_name, write::Write},
    telemetry::{note, noted},
    tenants::{ALL_WRITES, Counted, Holder, Refused, Tenants},
};

/// How `scimgate doctor` begins its name.
const DOCTOR: &[u8] = b"scimgate-doctor/";

/// Counts a tenant's write and the rule by which it failed, as Entra does before it puts a job in quarantine; and has what was
/// refused for the request's own sake, or for its credential's, written into the tenant's log. Probes are left out of all that
/// tells of a customer's job.
pub(super) fn count(app: &App, request: &HttpRequest, response: &HttpResponse) {
    let extensions = request.extensions();
    let (Some(service), Some(holder)) = (app.service(), extensions.get::<Holder>()) else {
        return;
    };
    let rule = response.extensions().get::<RefusedBy>().map(|RefusedBy(rule)| *rule);
    let has_no_right = response.status() == StatusCode::UNAUTHORIZED;
    let is_probe = is_probe(request, response.status());
    if is_probe {
        note("scim.probe", true);
    }
    if may_write(request) && !has_no_right && !is_probe {
        let names = std::iter::once(ALL_WRITES).chain(rule).map(str::to_owned);
        service.tenants.count(Counted::Writes, &holder.tenant, names);
    }
    // What only came too early comes again.
    let is_refused = response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS;
    if let Some(rule) = rule.filter(|_| has_no_right || (may_write(request) && is_refused)) {
        let mut refused = refused(rule, holder, extensions.get::<Reference>());
        if has_no_right {
            // It says nothing of anybody, whoever was asked for.
            (refused.id, refused.subjects) = (String::new(), Vec::new());
            refused.resource_type.clear();
        }
        let is_nobodys = refused.id.is_empty() && refused.subjects.is_empty();
        if !(is_probe && is_nobodys) {
            service.tenants.refused(refused);
        }
    }
}

/// Whether `scimgate doctor` asks, who is refused on purpose. Anybody can say so: it is believed of the holder of a valid token,
/// and neither of tokens that are none, nor of too many requests, nor where we failed.
fn is_probe(request: &HttpRequest, status: StatusCode) -> bool {
    let agent = request.headers().get(USER_AGENT);
    let is_doctor = agent.is_some_and(|agent| agent.as_bytes().starts_with(DOCTOR));
    let is_answered = !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) && !is_ours(status);
    is_doctor && is_answered
}

/// What is known of the current request.
fn refused(rule: &'static str, holder: &Holder, reference: Option<&Reference>) -> Refused {
    let fact = |name| noted(name).unwrap_or_default();
    let (route, path) = (fact("http.route"), fact("url.path"));
    // As it is shown: what may be a name is not.
    let id = path
        .rsplit('/')
        .next()
        .filter(|id| route.ends_with("/{id}") && *id != "{id}");
    Refused {
        rule,
        attribute: noted("scim.error.attribute"),
        request: format!("{} {route}", fact("http.request.method")),
        resource_type: fact("scim.resource_type"),
        id: id.unwrap_or_default().to_owned(),
        subjects: ["scim.subject", "scim.subject.other"]
            .into_iter()
            .filter_map(noted)
            .collect(),
        holder: holder.clone(),
        reference: reference.map(|reference| reference.id().to_string()),
    }
}

/// What there is to say of one operation of a bulk request, should it be refused.
pub(super) fn part(visit: &Visit, task: &Task, reference: Option<Reference>) -> Refused {
    let (method, id) = match &task.write {
        Write::Create { .. } => ("POST", None),
        Write::Replace { id, .. } => ("PUT", Some(id)),
        Write::Patch { id, .. } => ("PATCH", Some(id)),
        Write::Delete { id } => ("DELETE", Some(id)),
    };
    Refused {
        rule: "",
        attribute: None,
        request: format!("{method} {} in POST /Bulk", task.of.endpoint),
        resource_type: task.of.name.clone(),
        id: id.filter(|id| is_nobodys_name(id)).cloned().unwrap_or_default(),
        subjects: visit.directory.subjects_sent(&task.of, &task.write),
        holder: visit.directory.access.holder(),
        reference: reference.map(|reference| reference.id().to_string()),
    }
}

/// It was refused for this.
pub(super) fn refuse(tenants: &Tenants, part: Refused, error: &Error) {
    if (400..500).contains(&error.status()) {
        tenants.refused(Refused {
            rule: error.rule().entry().name,
            attribute: error.attribute().map(str::to_owned),
            ..part
        });
    }
}
