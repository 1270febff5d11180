//! What is counted and kept of a request once it is answered: that it wrote, or why it was refused.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, http::StatusCode};

use super::{
    call::{Visit, may_write},
    console::RefusedBy,
    reference::Reference,
};
use crate::{
    app::App,
    scim::{bulk::Task, error::Error, resource::is_nobodys_name, write::Write},
    telemetry::noted,
    tenants::{ALL_WRITES, Counted, Holder, Refused, Tenants},
};

/// Counts a tenant's write and the rule by which it failed, as Entra does before it puts a job in quarantine; and has what was
/// refused for the request's own sake, or for its credential's, written into the tenant's log.
pub(super) fn count(app: &App, request: &HttpRequest, response: &HttpResponse) {
    let extensions = request.extensions();
    let (Some(service), Some(holder)) = (app.service(), extensions.get::<Holder>()) else {
        return;
    };
    let rule = response.extensions().get::<RefusedBy>().map(|RefusedBy(rule)| *rule);
    let has_no_right = response.status() == StatusCode::UNAUTHORIZED;
    if may_write(request) && !has_no_right {
        let names = std::iter::once(ALL_WRITES).chain(rule).map(str::to_owned);
        service.tenants.count(Counted::Writes, &holder.tenant, names);
    }
    // What only came too early comes again.
    let is_refused = response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS;
    if let Some(rule) = rule.filter(|_| has_no_right || (may_write(request) && is_refused)) {
        let mut refused = refused(rule, holder, extensions.get::<Reference>());
        if has_no_right {
            // It says nothing of anybody, whoever was asked for.
            (refused.id, refused.subject) = (String::new(), None);
            refused.resource_type.clear();
        }
        service.tenants.refused(refused);
    }
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
        subject: noted("scim.subject"),
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
        subject: visit.directory.subject_sent(&task.of, &task.write),
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
