//! HTTP: the only importer of actix and hyper.
//!
//! Reading order: this file (every route on one screen), `address` (what a URL means), `call` (one request), `auth`,
//! `resources`, `bulk` and `discovery` (the endpoints), `answer` and `normalized` (what goes out), `tally` (what is kept of it), `edge` (the port,
//! and what every answer keeps to).

use std::{io, net::TcpListener, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::Server,
    http::Method,
    web::{self, Data, Payload},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    app::App,
    scim::{error::Rule, write::Write},
    telemetry,
};

mod address;
mod answer;
mod auth;
mod body;
mod bulk;
mod call;
mod console;
mod correlation;
mod discovery;
mod edge;
mod health;
mod normalized;
mod reference;
mod resources;
mod tally;
#[cfg(test)]
mod tests;

pub use address::{BasePath, is_host};

use address::{Address, Endpoint, is_name};
use answer::Answer;
use body::Body;
use call::{Call, Failure};
use reference::Reference;

/// The HTTP server on a listener; it runs while the returned future is polled.
pub fn run(app: &Arc<App>, listener: TcpListener) -> io::Result<Server> {
    edge::serve(app, listener, |routes| {
        routes.default_service(web::to(entry));
    })
}

/// Every request comes in here.
async fn entry(app: Data<Arc<App>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let (app, request) = (&**app, &request);
    let began = Instant::now();
    let answer = answer(app, request, payload).await;
    let response = answer.unwrap_or_else(|failure| answer::failed(app, request, &failure));
    console::tell(app, request, &response, began.elapsed());
    tally::count(app, request, &response);
    console::show_response(app, response)
}

async fn answer(app: &App, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let address = Address::parse(request.path(), app.base_paths())?;
    telemetry::note("http.route", address.route());
    if let Address::Scim { tenant, endpoint, .. } = &address {
        // Until the credential proves whose it is.
        if let Some(tenant) = tenant.as_deref().filter(|tenant| is_name(tenant)) {
            telemetry::note("scim.tenant", tenant.to_owned());
        }
        telemetry::note("scim.operation", operation(endpoint, request.method()));
    }
    if !matches!(address, Address::Scim { .. }) && !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Failure::method(request.method().as_str(), "GET, HEAD"));
    }
    match address {
        Address::Root | Address::Live => Ok(health::alive()),
        Address::Ready => health::ready(app).await,
        Address::Scim {
            base, tenant, endpoint, ..
        } => {
            let deadline = Instant::now() + app.settings.deadline();
            let service = app.service_soon().await.ok_or_else(|| Rule::Starting.error())?;
            let call = Call {
                app,
                service,
                request,
                base,
                tenant,
                deadline,
            };
            // Behind the deadline the store's last try may still be under way; nobody waits for it.
            let answer = timeout_at(deadline, scim(&call, endpoint, payload)).await;
            answer
                .unwrap_or_else(|_| Err(Rule::DeadlineExceeded.error().into()))
                .map(Answer::respond)
        }
    }
}

/// The routes. What is missing here is answered 405 with what [`allowed`] says.
async fn scim(call: &Call<'_>, endpoint: Endpoint, payload: Payload) -> Result<Answer, Failure> {
    use Endpoint as E;
    if endpoint == E::TenantUrl && !call.asks_for_a_list() {
        return Err(Rule::TenantUrlBrowsed.error().into());
    }
    let access = auth::authenticate(call).await?;
    call.sent_by(access.holder());
    let room = call.admit(&access)?;
    let mut visit = call.visit(Arc::clone(&access), room)?;
    let held = Arc::clone(&visit.directory.held);
    if let E::Resources(name) | E::Resource(name, _) | E::Search(Some(name)) = &endpoint {
        let of = visit.resource_type(name)?;
        telemetry::note("scim.resource_type", of.name.clone());
    }
    let allowed = allowed(&endpoint);
    let body = Body {
        app: call.app,
        request: call.request,
        payload,
        held: &held,
    };
    let answer = match (endpoint, call.request.method().as_str()) {
        (E::ServiceProviderConfig, "GET" | "HEAD") => discovery::service_provider_config(&visit),
        (E::ResourceTypes, "GET" | "HEAD") => discovery::resource_types(&visit),
        (E::ResourceType(name), "GET" | "HEAD") => discovery::resource_type(&visit, &name),
        (E::Schemas, "GET" | "HEAD") => discovery::schemas(&visit),
        (E::Schema(urn), "GET" | "HEAD") => discovery::schema(&visit, &urn),
        (E::TenantUrl, "GET" | "HEAD") => resources::query(&mut visit, None).await,
        (E::Search(of), "POST") => resources::search(&mut visit, of.as_deref(), body).await,
        (E::Resources(of), "GET" | "HEAD") => resources::query(&mut visit, Some(&of)).await,
        (E::Resources(of), "POST") => {
            let document = body.object().await?;
            resources::write(visit, &of, Write::Create { document }).await
        }
        (E::Resource(of, id), "GET" | "HEAD") => resources::read(&visit, &of, &id).await,
        (E::Resource(of, id), "PUT") => {
            let document = body.object().await?;
            resources::write(visit, &of, Write::Replace { id, document }).await
        }
        (E::Resource(of, id), "PATCH") => {
            let message = body.object().await?;
            resources::write(visit, &of, Write::Patch { id, message }).await
        }
        (E::Resource(of, id), "DELETE") => resources::write(visit, &of, Write::Delete { id }).await,
        (E::Bulk, "POST") => bulk::perform(visit, call.rate(&access), body).await,
        (E::Me, _) => Err(Rule::NoMe.error().into()),
        (E::Unknown, _) => Err(Rule::UnknownEndpoint.error().into()),
        (_, "OPTIONS") => Ok(Answer::options(allowed)),
        (_, method) => Err(Failure::method(method, allowed)),
    }?;
    normalized::record(answer.trace(), &access.tenant, Reference::of(call.request));
    Ok(answer.holding(&held, call::may_write(call.request))?)
}

/// What is asked for, in a word.
fn operation(endpoint: &Endpoint, method: &Method) -> &'static str {
    use Endpoint as E;
    match (endpoint, method.as_str()) {
        (E::Resource(..), "GET" | "HEAD") => "read",
        (E::Resource(..), "PUT") => "replace",
        (E::Resource(..), "PATCH") => "patch",
        (E::Resource(..), "DELETE") => "delete",
        (E::Resources(_), "POST") => "create",
        (E::Resources(_) | E::TenantUrl, "GET" | "HEAD") | (E::Search(_), "POST") => "query",
        (E::Bulk, "POST") => "bulk",
        (
            E::ServiceProviderConfig | E::ResourceTypes | E::ResourceType(_) | E::Schemas | E::Schema(_),
            "GET" | "HEAD",
        ) => "discovery",
        _ => "other",
    }
}

/// The methods of an endpoint, as `Allow` spells them (RFC 9110 §10.2.1).
fn allowed(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Resources(_) => "GET, HEAD, OPTIONS, POST",
        Endpoint::Resource(..) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        Endpoint::Search(_) | Endpoint::Bulk => "OPTIONS, POST",
        _ => "GET, HEAD, OPTIONS",
    }
}
