//! What can go wrong, what the service said about it, and whether sending the request again can heal it.

use std::{error::Error as StdError, fmt, time::Duration};

use azure_core::{
    http::headers::{HeaderName, Headers, RETRY_AFTER, RETRY_AFTER_MS},
    time::{OffsetDateTime, parse_rfc7231},
};
use serde_json::Value;

use crate::attempt::AttemptError;

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;

/// Codes of the service that callers decide by; see "Table service error codes" in the Azure Storage REST reference.
pub mod error_code {
    /// 403: the signature or the token is wrong, or the clocks differ by more than 15 minutes.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// 403: a network rule of the account refuses the caller's address.
    pub const AUTHORIZATION_FAILURE: &str = "AuthorizationFailure";
    /// 403: the identity lacks a role, usually "Storage Table Data Contributor"; granting takes up to 30 minutes.
    pub const AUTHORIZATION_PERMISSION_MISMATCH: &str = "AuthorizationPermissionMismatch";
    /// 412: another form of [`UPDATE_CONDITION_NOT_SATISFIED`].
    pub const CONDITION_NOT_MET: &str = "ConditionNotMet";
    /// 409: an insert met an entity with the same keys.
    pub const ENTITY_ALREADY_EXISTS: &str = "EntityAlreadyExists";
    /// 401: the token is for another tenant or audience, or has expired.
    pub const INVALID_AUTHENTICATION_INFO: &str = "InvalidAuthenticationInfo";
    /// 403: the account takes no shared keys, only identities.
    pub const KEY_BASED_AUTHENTICATION_NOT_PERMITTED: &str = "KeyBasedAuthenticationNotPermitted";
    /// 404: there is no entity with these keys.
    pub const RESOURCE_NOT_FOUND: &str = "ResourceNotFound";
    /// 503: the account or the partition takes no more for now.
    pub const SERVER_BUSY: &str = "ServerBusy";
    /// 409: the table exists.
    pub const TABLE_ALREADY_EXISTS: &str = "TableAlreadyExists";
    /// 409: the table was deleted less than about 40 seconds ago; its name is not free yet.
    pub const TABLE_BEING_DELETED: &str = "TableBeingDeleted";
    /// 404: there is no such table.
    pub const TABLE_NOT_FOUND: &str = "TableNotFound";
    /// 412: the entity has another etag than `If-Match` expects.
    pub const UPDATE_CONDITION_NOT_SATISFIED: &str = "UpdateConditionNotSatisfied";
}

/// Why a call failed. Carries no secret: not the credential, not the URL, not what was sent.
#[derive(Debug)]
pub struct Error(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    code: Option<String>,
    failed_index: Option<usize>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request breaks a rule of the service, or an argument makes no sense. Nothing was sent.
    InvalidRequest,
    /// No token could be had. Nothing was sent.
    Credential,
    /// No connection could be made. Nothing was sent.
    Connect,
    /// The time for one try was over, and the request may have been sent.
    Timeout,
    /// The connection broke after the request, or part of it, may have been sent.
    Io,
    /// An answer came that can't be understood.
    Response,
    /// An answer came that is larger than [`MAX_RESPONSE_BYTES`](crate::MAX_RESPONSE_BYTES).
    ResponseTooLarge,
    /// The service answered with an error.
    Service,
}

/// What sending the same request again can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was applied, and the same request may succeed later (not before this long, if the service says so).
    Safe(Option<Duration>),
    /// The answer was lost: a write may have been applied, may still be, or not. The same request may succeed, but may
    /// be sent again only if applying it twice does no harm or can be recognised.
    Ambiguous(Option<Duration>),
    /// Nothing was applied, and the same request will fail again.
    Never,
}

/// The one table of which errors a retry heals.
pub fn heals(error: &Error) -> Retry {
    let after = error.retry_after();
    match error.kind() {
        ErrorKind::InvalidRequest => Retry::Never,
        ErrorKind::Credential | ErrorKind::Connect => Retry::Safe(after),
        ErrorKind::Timeout | ErrorKind::Io | ErrorKind::Response | ErrorKind::ResponseTooLarge => {
            Retry::Ambiguous(after)
        }
        ErrorKind::Service => match (error.status().unwrap_or_default(), error.code()) {
            (409, Some(error_code::TABLE_BEING_DELETED)) | (503, Some(error_code::SERVER_BUSY)) | (429, _) => {
                Retry::Safe(after)
            }
            // 500 covers the service's own OperationTimedOut. A 502, 503 or 504 without the service's code comes from
            // something between, which says so also when the service has taken the request.
            (408 | 500 | 502..=599, _) => Retry::Ambiguous(after),
            _ => Retry::Never,
        },
    }
}

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status, of the failing change for a transaction.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's code, from the body of its answer; see [`error_code`].
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Which action of a transaction failed, counted from 0, when the service says so: the first that fails.
    pub fn failed_index(&self) -> Option<usize> {
        self.0.failed_index
    }

    /// How long the service asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The service's id of the request, for a support case.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Whether a write may have been applied although this error came back.
    pub fn is_ambiguous(&self) -> bool {
        matches!(heals(self), Retry::Ambiguous(_))
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            status: None,
            code: None,
            failed_index: None,
            retry_after: None,
            request_id: None,
        }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    pub(crate) fn response(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Response, message)
    }

    /// An answer with an error status, of the service or of something in between.
    pub(crate) fn service(status: u16, headers: &Headers, body: &[u8], now: OffsetDateTime) -> Self {
        const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
        let mut error = Self::service_part(status, body);
        error.0.retry_after = retry_after(headers, now);
        error.0.request_id = headers.get_optional_string(&REQUEST_ID).or(error.0.request_id);
        error
    }

    /// The answer to one change inside a transaction's answer.
    pub(crate) fn service_part(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message) = parse_body(&text);
        let mut lines = message.lines();
        let first = lines.next().unwrap_or_default();
        let (failed_index, first) = split_index(first);
        let mut error = Self::new(ErrorKind::Service, shorten(first));
        error.0.status = Some(status);
        error.0.code = code;
        error.0.failed_index = failed_index;
        error.0.request_id = lines
            .find_map(|line| line.strip_prefix("RequestId:"))
            .map(|id| shorten(id.trim()));
        error
    }

    /// Takes over where one transaction's answer stands inside a response.
    pub(crate) fn with_outer(mut self, outer: &Headers, now: OffsetDateTime, only_action: bool) -> Self {
        self.0.retry_after = retry_after(outer, now);
        // The service numbers the failing change of a transaction, but not when it has one change only
        // (seen with UpdateConditionNotSatisfied).
        if only_action {
            self.0.failed_index = Some(0);
        }
        self
    }

    /// What the pipeline failed with. Its own text and source can hold the URL, so only the innermost cause is kept.
    pub(crate) fn from_pipeline(error: &azure_core::Error) -> Self {
        use azure_core::error::ErrorKind as Core;
        if let Some(attempt) = error.downcast_ref::<AttemptError>() {
            let kind = match attempt {
                AttemptError::Timeout(_) => ErrorKind::Timeout,
                AttemptError::TooLarge => ErrorKind::ResponseTooLarge,
            };
            return Self::new(kind, attempt.to_string());
        }
        let kind = match error.kind() {
            Core::Credential => ErrorKind::Credential,
            Core::Connection => ErrorKind::Connect,
            Core::DataConversion => ErrorKind::Response,
            Core::Other => ErrorKind::InvalidRequest,
            _ => ErrorKind::Io,
        };
        Self::new(kind, innermost(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { kind, message, .. } = &*self.0;
        match kind {
            ErrorKind::InvalidRequest => write!(f, "not sent to Table Storage: {message}"),
            ErrorKind::Credential => write!(f, "no token for Table Storage: {message}"),
            ErrorKind::Connect => write!(f, "no connection to Table Storage: {message}"),
            ErrorKind::Timeout | ErrorKind::Io => write!(f, "no answer from Table Storage: {message}"),
            ErrorKind::Response | ErrorKind::ResponseTooLarge => {
                write!(f, "unusable answer from Table Storage: {message}")
            }
            ErrorKind::Service => {
                write!(f, "Table Storage answered {}", self.0.status.unwrap_or_default())?;
                if let Some(code) = self.code() {
                    write!(f, " {code}")?;
                }
                if let Some(index) = self.failed_index() {
                    write!(f, " for change {index}")?;
                }
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                if let Some(id) = self.request_id() {
                    write!(f, " (request {id})")?;
                }
                Ok(())
            }
        }
    }
}

impl StdError for Error {}

/// Code and message of an error body: `{"odata.error":{"code":…,"message":{"value":…}}}` as the service sends,
/// `{"code":…,"message":…}` bare or under `error`, or the XML that the service and Azurite send when a request fails
/// before its `Accept` is read.
fn parse_body(text: &str) -> (Option<String>, String) {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        let code = xml_text(text, "code").filter(|code| is_code(code));
        let message = code.as_ref().and_then(|_| xml_text(text, "message"));
        return (code.map(str::to_owned), message.unwrap_or_default().to_owned());
    };
    let error = json.get("odata.error").or_else(|| json.get("error")).unwrap_or(&json);
    let code = error.get("code").and_then(Value::as_str).filter(|code| is_code(code));
    let message = error
        .get("message")
        .map(|message| message.get("value").unwrap_or(message));
    let message = message.and_then(Value::as_str).unwrap_or_default();
    (code.map(str::to_owned), message.to_owned())
}

/// The text of the first element of this name, whatever its prefix and case.
fn xml_text<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split('<').find_map(|part| {
        let (tag, content) = part.split_once('>')?;
        let tag = tag.split_ascii_whitespace().next()?;
        let local = tag.rsplit(':').next()?;
        local.eq_ignore_ascii_case(name).then_some(content)
    })
}

fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `1:The specified entity already exists.` names the second change of a transaction.
fn split_index(line: &str) -> (Option<usize>, &str) {
    match line.split_once(':') {
        Some((number, rest)) if number.len() <= 3 => match number.parse() {
            Ok(index) => (Some(index), rest),
            Err(_) => (None, line),
        },
        _ => (None, line),
    }
}

/// Milliseconds or seconds from now, or a date.
fn retry_after(headers: &Headers, now: OffsetDateTime) -> Option<Duration> {
    const X_MS_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
    let number = |name: HeaderName| headers.get_optional_str(&name)?.trim().parse().ok();
    if let Some(millis) = number(X_MS_RETRY_AFTER_MS).or_else(|| number(RETRY_AFTER_MS)) {
        return Some(Duration::from_millis(millis));
    }
    if let Some(seconds) = number(RETRY_AFTER) {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_rfc7231(headers.get_optional_str(&RETRY_AFTER)?).ok()?;
    Some((date - now).try_into().unwrap_or_default())
}

fn innermost(error: &azure_core::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    without_urls(&cause.to_string())
}

/// A URL has no space in it. What is left is what a person needs: `azure_identity` ends each of its errors with a link.
fn without_urls(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("://")).collect();
    shorten(&words.join(" "))
}

/// One line of at most 300 characters.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn service(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
        let mut map = Headers::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Error::service(status, &map, body.as_bytes(), NOW)
    }

    /// The documented shape, which Azurite has too, with the header that only Azurite sends.
    fn shapes(status: u16, code: &str, message: &str) -> [Error; 5] {
        let tail = "RequestId:00153365-4002-0014-3eb8-b321f1000000\\nTime:2026-11-22T15:00:00.6468125Z";
        let odata = format!(
            r#"{{"odata.error":{{"code":"{code}","message":{{"lang":"en-US","value":"{message}\n{tail}"}}}}}}"#
        );
        [
            service(status, &[], &odata),
            service(status, &[("x-ms-error-code", "Misleading")], &odata),
            service(
                status,
                &[("content-type", "application/xml")],
                &format!(
                    "<?xml version=\"1.0\" encoding=\"utf-8\"?><m:error xmlns:m=\"http://schemas.microsoft.com/ado/2007/08\
                     /dataservices/metadata\"><m:code>{code}</m:code><m:message xml:lang=\"en-US\">{message}\n\
                     RequestId:00153365-4002-0014-3eb8-b321f1000000\nTime:2026-11-22T15:00:00Z</m:message></m:error>"
                ),
            ),
            service(
                status,
                &[("x-ms-error-code", "Misleading")],
                &format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Error>\n  <Code>{code}</Code>\n  \
                     <Message>{message}\nRequestId:00153365-4002-0014-3eb8-b321f1000000\nTime:2026-11-22T15:00:00Z\
                     </Message>\n</Error>"
                ),
            ),
            service(
                status,
                &[("x-ms-request-id", "00153365-4002-0014-3eb8-b321f1000000")],
                &format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#),
            ),
        ]
    }

    #[test]
    fn what_an_identity_lacks_is_told_without_its_link() {
        let text = "AzureCliCredential authentication failed. Please run 'az login'\n. To troubleshoot, visit https://aka.ms/x#azure-cli";
        let error = azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, text);
        assert_eq!(
            Error::from_pipeline(&error).to_string(),
            "no token for Table Storage: AzureCliCredential authentication failed. Please run 'az login' . To troubleshoot, visit"
        );
        let text = "error sending request for url (https://a.example/t(PartitionKey='secret'))";
        let error = azure_core::Error::with_message(azure_core::error::ErrorKind::Io, text);
        assert!(!Error::from_pipeline(&error).to_string().contains("secret"));
    }

    #[track_caller]
    fn check(status: u16, code: &str, expected: Retry) {
        for error in shapes(status, code, "3:Something to read.") {
            assert_eq!(heals(&error), expected, "{error:?}");
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.code(), Some(code), "{error:?}");
            assert_eq!(error.failed_index(), Some(3), "{error:?}");
            assert_eq!(
                error.request_id(),
                Some("00153365-4002-0014-3eb8-b321f1000000"),
                "{error:?}"
            );
            assert_eq!(
                error.to_string(),
                format!(
                    "Table Storage answered {status} {code} for change 3: Something to read. (request \
                     00153365-4002-0014-3eb8-b321f1000000)"
                )
            );
        }
    }

    #[test]
    fn the_table_of_retries_reads_every_shape_of_body() {
        check(409, error_code::TABLE_BEING_DELETED, Retry::Safe(None));
        check(503, error_code::SERVER_BUSY, Retry::Safe(None));
        check(429, "TooManyRequests", Retry::Safe(None));
        check(500, "InternalError", Retry::Ambiguous(None));
        check(500, "OperationTimedOut", Retry::Ambiguous(None));
        check(504, "GatewayTimeout", Retry::Ambiguous(None));
        check(408, "RequestTimeout", Retry::Ambiguous(None));
        for (status, code) in [
            (400, "InvalidInput"),
            (400, "EntityTooLarge"),
            (401, error_code::INVALID_AUTHENTICATION_INFO),
            (403, error_code::AUTHENTICATION_FAILED),
            (403, error_code::AUTHORIZATION_FAILURE),
            (403, error_code::AUTHORIZATION_PERMISSION_MISMATCH),
            (403, error_code::KEY_BASED_AUTHENTICATION_NOT_PERMITTED),
            (404, error_code::RESOURCE_NOT_FOUND),
            (404, error_code::TABLE_NOT_FOUND),
            (409, error_code::ENTITY_ALREADY_EXISTS),
            (409, error_code::TABLE_ALREADY_EXISTS),
            (412, error_code::CONDITION_NOT_MET),
            (412, error_code::UPDATE_CONDITION_NOT_SATISFIED),
            (413, "RequestBodyTooLarge"),
            (501, "NotImplemented"),
        ] {
            check(status, code, Retry::Never);
        }
    }

    #[test]
    fn an_answer_from_something_in_between_is_ambiguous_and_has_no_code() {
        for body in [
            "",
            "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            "<html><head><title>503 Service Unavailable</title></head></html>",
            "{\"odata.error\":{\"code\":\"",
            "[]",
        ] {
            for status in [500, 502, 503, 504] {
                let error = service(status, &[("x-ms-error-code", "ServerBusy")], body);
                assert_eq!(error.code(), None);
                assert!(error.is_ambiguous(), "{error:?}");
            }
            assert_eq!(
                heals(&service(404, &[("x-ms-error-code", "ResourceNotFound")], body)),
                Retry::Never
            );
            assert_eq!(service(404, &[], body).code(), None);
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (name, value, expected) in [
            ("retry-after", "7", Some(Duration::from_secs(7))),
            (
                "retry-after",
                "Thu, 01 Jan 1970 00:00:09 GMT",
                Some(Duration::from_secs(9)),
            ),
            ("retry-after", "Wed, 31 Dec 1969 23:59:59 GMT", Some(Duration::ZERO)),
            ("x-ms-retry-after-ms", "1500", Some(Duration::from_millis(1500))),
            ("retry-after-ms", "250", Some(Duration::from_millis(250))),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
        ] {
            let body = r#"{"odata.error":{"code":"ServerBusy"}}"#;
            assert_eq!(
                heals(&service(503, &[(name, value)], body)),
                Retry::Safe(expected),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn only_a_leading_number_is_an_index() {
        let index = |message| {
            let body = format!(r#"{{"odata.error":{{"code":"X","message":{{"value":"{message}"}}}}}}"#);
            Error::service_part(409, body.as_bytes()).failed_index()
        };
        assert_eq!(index("0:The specified entity already exists."), Some(0));
        assert_eq!(index("99:The specified entity already exists.\\nRequestId:1"), Some(99));
        assert_eq!(
            index("The update condition was not satisfied.\\nRequestId:7\\nTime:1"),
            None
        );
        assert_eq!(index("2026-11-22: no"), None);
        assert_eq!(index(""), None);
    }

    #[test]
    fn what_the_pipeline_says_is_kept_without_the_url() {
        use azure_core::error::ErrorKind as Core;
        let url = "error sending request for url (https://a.table.core.windows.net/t?sig=s3cret)";
        for (core, kind, retry) in [
            (Core::Connection, ErrorKind::Connect, Retry::Safe(None)),
            (Core::Credential, ErrorKind::Credential, Retry::Safe(None)),
            (Core::Io, ErrorKind::Io, Retry::Ambiguous(None)),
            (Core::Other, ErrorKind::InvalidRequest, Retry::Never),
        ] {
            let error = Error::from_pipeline(&azure_core::Error::with_error(
                core,
                std::io::Error::other(url),
                "failed",
            ));
            assert_eq!((error.kind(), heals(&error)), (kind, retry));
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
