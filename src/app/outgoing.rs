//! Every call to Azure has a row: each try of a call to storage, each token.

use std::{borrow::Cow, error::Error as _, io, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error,
    error::ErrorKind,
    http::{AsyncRawResponse, HttpClient, Method, Request, Url},
};
use futures::{StreamExt, stream};

use crate::telemetry::Outgoing;

/// Whom a client calls.
#[derive(Clone, Debug)]
pub(super) enum Callee {
    /// Table Storage, about this table.
    Tables(String),
    /// Whoever issues tokens.
    Identity,
}

/// An HTTP client that tells of its calls.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) callee: Callee,
}

#[async_trait]
impl HttpClient for Observed {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Some(mut call) = Outgoing::begin(|| describe(&self.callee, request)) else {
            return self.client.execute_request(request).await;
        };
        let response = match self.client.execute_request(request).await {
            Ok(response) => response,
            Err(error) => {
                call.end(Some(error_type(&error).into()));
                return Err(error);
            }
        };
        let status = u16::from(response.status());
        call.status(status);
        let (status_code, headers, body) = response.deconstruct();
        // It ends with its body; whoever gives up before drops it.
        let body = stream::unfold((body, Some(call)), move |(mut body, mut call)| async move {
            let next = body.next().await;
            match &next {
                Some(Ok(_)) => {}
                Some(Err(error)) => end(&mut call, Some(error_type(error).into())),
                None => end(&mut call, failed(status)),
            }
            Some((next?, (body, call)))
        });
        Ok(AsyncRawResponse::new(status_code, headers, Box::pin(body)))
    }
}

fn end(call: &mut Option<Outgoing>, failed: Option<Cow<'static, str>>) {
    if let Some(call) = call.take() {
        call.end(failed);
    }
}

/// A row that is not there, or there already, is an answer like any other.
fn failed(status: u16) -> Option<Cow<'static, str>> {
    let is_answer = status < 400 || matches!(status, 404 | 409 | 412);
    (!is_answer).then(|| format!("http_{status}").into())
}

/// What went wrong below HTTP.
fn error_type(error: &Error) -> &'static str {
    let connecting = *error.kind() == ErrorKind::Connection;
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return "connect_refused",
                io::ErrorKind::TimedOut if connecting => return "connect_timeout",
                io::ErrorKind::TimedOut => return "timeout",
                // What it wraps is not among its sources.
                _ if is_of_tls(error) => return "tls",
                _ => {}
            }
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>()
            && error.is_timeout()
        {
            return if connecting { "connect_timeout" } else { "timeout" };
        }
        source = error.source();
    }
    if connecting { "connect" } else { "connection" }
}

fn is_of_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// Its row's name and facts. Keys, and what a filter compares with, are none of them.
fn describe(callee: &Callee, request: &Request) -> (String, Vec<(&'static str, String)>) {
    let url = request.url();
    let mut facts = vec![
        ("server.address", url.host_str().unwrap_or_default().to_owned()),
        (
            "server.port",
            url.port_or_known_default().unwrap_or_default().to_string(),
        ),
        ("http.request.method", request.method().to_string()),
    ];
    match callee {
        Callee::Identity => ("Get token".to_owned(), facts),
        Callee::Tables(table) => {
            let operation = operation(request.method(), url);
            facts.extend([
                ("db.system.name", "Azure table".to_owned()),
                ("db.namespace", table.clone()),
                ("db.operation.name", operation.to_owned()),
            ]);
            let filter = url.query_pairs().find(|(name, _)| name == "$filter");
            facts.extend(filter.map(|(_, filter)| ("db.query.text", shape(&filter))));
            (format!("{operation} {table}"), facts)
        }
    }
}

/// What Table Storage calls it, by its documentation's headings.
fn operation(method: Method, url: &Url) -> &'static str {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let (name, keys) = last.split_once('(').unwrap_or((last, ""));
    match (method, name) {
        (_, "$batch") => "Entity group transaction",
        (Method::Post, "Tables") => "Create table",
        (Method::Get, _) if keys.trim_end_matches(')').is_empty() => "Query entities",
        (Method::Get, _) => "Get entity",
        (Method::Post, _) => "Insert entity",
        (Method::Put, _) => "Update entity",
        (Method::Delete, _) => "Delete entity",
        _ => "Merge entity",
    }
}

/// A filter without what it compares with.
fn shape(filter: &str) -> String {
    let mut shape = String::new();
    // Two quotation marks in a literal are one of its characters; nothing stands between them.
    let mut goes_on = false;
    for (number, part) in filter.split('\'').enumerate() {
        let is_literal = number % 2 == 1;
        match (is_literal, goes_on) {
            (true, true) => {}
            (true, false) => shape.push('?'),
            (false, _) => {
                goes_on = number > 0 && part.is_empty();
                shape.push_str(part);
            }
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Request, Url};

    use super::{Callee, describe, shape};

    #[track_caller]
    fn check(method: Method, path: &str, operation: &str, text: Option<&str>) {
        let url = Url::parse(&format!("https://a.table.core.windows.net/{path}")).unwrap();
        let (name, facts) = describe(&Callee::Tables("scimgate".to_owned()), &Request::new(url, method));
        assert_eq!(name, format!("{operation} scimgate"));
        let found = |wanted: &str| {
            facts
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(found("db.query.text"), text, "{path}");
        assert_eq!(found("server.port"), Some("443"));
        assert!(facts.iter().all(|(_, value)| !value.contains("secret")), "{facts:?}");
    }

    #[test]
    fn a_call_is_told_by_its_shape() {
        check(Method::Post, "$batch", "Entity group transaction", None);
        check(Method::Post, "Tables", "Create table", None);
        check(Method::Post, "scimgate", "Insert entity", None);
        let key = "scimgate(PartitionKey='secret',RowKey='secret')";
        check(Method::Get, key, "Get entity", None);
        check(Method::Put, key, "Update entity", None);
        check(Method::Patch, key, "Merge entity", None);
        check(Method::Delete, key, "Delete entity", None);
        let query = "scimgate()?$filter=PartitionKey%20eq%20'secret'%20and%20RowKey%20ge%20'u~secret'&$top=2";
        let text = "PartitionKey eq ? and RowKey ge ?";
        check(Method::Get, query, "Query entities", Some(text));
    }

    #[test]
    fn a_quotation_mark_in_a_literal_does_not_end_it() {
        assert_eq!(
            shape("a eq 'O''Neil' or b eq '''' or c eq 1"),
            "a eq ? or b eq ? or c eq 1"
        );
    }
}
