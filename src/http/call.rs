//! One request below a Tenant URL: before its credential is known ([`Call`]), and after ([`Visit`]).

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    http::{
        Method,
        header::{self, HeaderValue},
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{address::is_host, answer::Answer};
use crate::{
    app::{
        App, Service,
        admission::{Admitted, Turned},
    },
    directory::{self, Directory, Held, Precondition},
    scim::{
        error::{Error as Refused, Rule},
        list::ListQuery,
        normalize::Trace,
        projection::Selection,
        schema::{Catalog, ResourceType},
    },
    store::turns::{Quota, Share},
    telemetry,
    tenants::{Access, Counted, Holder, Tenants},
};

/// Where the Functions host tells its id of a request.
const INVOCATION: &str = "x-azure-functions-invocationid";

/// A request whose sender is not known yet.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) service: &'a Service,
    pub(super) request: &'a HttpRequest,
    /// The path up to the endpoint.
    pub(super) base: String,
    /// The tenant in the path.
    pub(super) tenant: Option<String>,
    /// Until when to answer.
    pub(super) deadline: Instant,
}

/// A request of a known tenant; owns what it needs, so that a write can outlive its connection.
pub(super) struct Visit {
    pub(super) directory: Directory,
    pub(super) tenants: Tenants,
    /// What the tenant's resources look like.
    pub(super) catalog: Arc<Catalog>,
    /// Scheme, host and base path under which the client found us.
    pub(super) base_url: String,
    /// The query's parameters, decoded, in order.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) if_match: Precondition,
    pub(super) if_none_match: Precondition,
    pub(super) trace: Trace,
    /// The room that it takes, to the end of a write that outlives it.
    pub(super) admitted: Admitted,
}

/// Why a request has no better answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused.
    Refused(Refused),
    /// Its method is not among these.
    Method(Refused, &'static str),
    /// It is to come again after a while.
    Later(Refused, Duration),
    /// The tenant's directory failed.
    Directory(directory::Error),
}

impl Failure {
    pub(super) fn method(method: &str, allowed: &'static str) -> Self {
        Self::Method(Rule::MethodNotAllowed.at(method).with("expected", allowed), allowed)
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        Self::Refused(error)
    }
}

impl From<Turned> for Failure {
    fn from(turned: Turned) -> Self {
        let whose = if matches!(turned, Turned::Full) {
            "process"
        } else {
            "tenant"
        };
        telemetry::note("scim.throttle.reason", whose);
        match turned {
            Turned::TooMany(after) => Self::Later(Rule::TooManyRequests.error(), after),
            Turned::Full => Rule::Overloaded.error().into(),
        }
    }
}

impl From<directory::Error> for Failure {
    fn from(error: directory::Error) -> Self {
        Self::Directory(error)
    }
}

impl Call<'_> {
    /// Whether a parameter of the URL is one of a list's: then even the Tenant URL itself is asked for resources (RFC 7644
    /// §3.4.2.1), and not opened by a person.
    pub(super) fn asks_for_a_list(&self) -> bool {
        form_urlencoded::parse(self.request.query_string().as_bytes()).any(|(name, _)| ListQuery::knows(&name))
    }

    /// Remembers the sender beside the request, also one whose credential has had its time.
    pub(super) fn sent_by(&self, holder: Holder) {
        self.request.extensions_mut().insert(holder);
    }

    /// Lets in a request whose sender is known, unless the sender has had its share.
    pub(super) fn admit(&self, access: &Access) -> Result<(Admitted, Held, Quota), Turned> {
        let query = self.request.query_string();
        let is_look_up = *self.request.method() == Method::GET
            && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("filter"));
        self.service
            .admission
            .admit(&access.tenant.id, self.rate(access), is_look_up)
    }

    /// Requests a second that the tenant may send.
    pub(super) fn rate(&self, access: &Access) -> u32 {
        access.tenant.rate.unwrap_or(self.app.settings.tenant_rate)
    }

    /// The same request with its sender known.
    pub(super) fn visit(
        &self,
        access: Arc<Access>,
        (admitted, held, quota): (Admitted, Held, Quota),
    ) -> Result<Visit, Failure> {
        let catalog = Arc::clone(access.catalogs.at(self.app.ambient.now()));
        let directory = Directory {
            store: Share::of(&self.service.store, &quota),
            ambient: Arc::clone(&self.app.ambient),
            access,
            deadline: self.deadline,
            shared: Arc::clone(&self.service.shared),
            held: Arc::new(held),
            invocation: self.invocation(),
        };
        let query = self.request.query_string();
        Ok(Visit {
            directory,
            tenants: self.service.tenants.clone(),
            catalog,
            base_url: format!("{}{}", origin(self.app, self.request)?, self.base),
            parameters: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            if_match: self.versions(header::IF_MATCH),
            if_none_match: self.versions(header::IF_NONE_MATCH),
            trace: Trace::default(),
            admitted,
        })
    }

    /// The Functions host's id of a request without a body, which it may send again.
    fn invocation(&self) -> Option<Uuid> {
        let said = trusted(self.app, self.request, INVOCATION).ok().flatten()?;
        said.parse().ok().filter(|_| *self.request.method() == Method::DELETE)
    }

    /// What a header with entity tags asks for.
    fn versions(&self, name: header::HeaderName) -> Precondition {
        let lines = self.request.headers().get_all(name);
        condition(lines.map(|line| line.to_str().unwrap_or("")))
    }
}

/// Scheme and host under which the client found us.
pub(super) fn origin(app: &App, request: &HttpRequest) -> Result<String, Refused> {
    if let Some(url) = &app.settings.public_url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    // A target with a host of its own stands before `Host` (RFC 9112 §3.2.2).
    let authority = request.uri().authority().map(ToString::to_string);
    let host = trusted(app, request, "x-forwarded-host")?.or(authority);
    let host = match (host, request.headers().get(header::HOST)) {
        (Some(host), _) => host,
        (None, Some(host)) => text(host)?,
        // HTTP/1.0 has no `Host`.
        (None, None) => "localhost".to_owned(),
    };
    let scheme = trusted(app, request, "x-forwarded-proto")?;
    let scheme = scheme.map_or_else(|| "http".to_owned(), |scheme| scheme.to_ascii_lowercase());
    if !is_host(&host) || !matches!(scheme.as_str(), "http" | "https") {
        return Err(Rule::BadHost.error());
    }
    Ok(format!("{scheme}://{host}"))
}

/// What the hop next to us says in a header, if it is believed. The last one is its own, on a line by itself or not.
fn trusted(app: &App, request: &HttpRequest, name: &'static str) -> Result<Option<String>, Refused> {
    let lines = request.headers().get_all(name);
    let last = lines
        .filter(|_| app.settings.trusts_proxy())
        .last()
        .map(text)
        .transpose()?;
    Ok(last.and_then(|line| Some(line.rsplit(',').next()?.trim().to_owned())))
}

fn text(value: &HeaderValue) -> Result<String, Refused> {
    value.to_str().map(str::to_owned).map_err(|_| Rule::BadHost.error())
}

/// Whether it is more than a question.
pub(super) fn may_write(request: &HttpRequest) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && !request.path().ends_with("/.search")
}

/// The entity tags of a condition (RFC 9110 §13.1), in any number of lines; compared weakly, as ours are all weak. What
/// cannot be read is no tag of ours, but a condition all the same.
pub(super) fn condition<'l>(lines: impl IntoIterator<Item = &'l str>) -> Precondition {
    let tags: Vec<&str> = lines
        .into_iter()
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    if tags.is_empty() {
        return Precondition::None;
    }
    if tags.contains(&"*") {
        return Precondition::Exists;
    }
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned();
    Precondition::Version(tags.into_iter().map(opaque).collect())
}

impl Visit {
    /// The resource type of an endpoint such as `Users`.
    pub(super) fn resource_type(&self, endpoint: &str) -> Result<Arc<ResourceType>, Refused> {
        self.catalog
            .by_endpoint(&format!("/{endpoint}"))
            .cloned()
            .ok_or_else(|| Rule::UnknownEndpoint.error())
    }

    /// The resource types that an endpoint's queries are about: its own, or all of them at the root.
    pub(super) fn resource_types(&self, endpoint: Option<&str>) -> Result<Vec<Arc<ResourceType>>, Refused> {
        match endpoint {
            Some(endpoint) => Ok(vec![self.resource_type(endpoint)?]),
            None => Ok(self.catalog.resource_types.clone()),
        }
    }

    /// The last value of a parameter; names are compared without case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .rfind(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What was done to the request, after it was done: told to the client, and counted where something was dropped.
    pub(super) fn told(&self, answer: Answer) -> Answer {
        self.count_dropped(&self.trace);
        answer.normalized(&self.trace)
    }

    /// Counts the attributes that a write had in vain.
    pub(super) fn count_dropped(&self, trace: &Trace) {
        let tenant = &self.directory.access.tenant.id;
        self.tenants.count(Counted::Dropped, tenant, trace.unknown_attributes());
    }

    /// What of a resource the client wants to see (RFC 7644 §3.9).
    pub(super) fn selection(&self, of: &ResourceType) -> Result<Selection, Refused> {
        Selection::parse(of, self.parameter("attributes"), self.parameter("excludedAttributes"))
    }
}
