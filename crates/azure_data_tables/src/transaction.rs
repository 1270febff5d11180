//! Changes of entities, alone or as an entity group transaction: all or none.

use std::{collections::HashSet, fmt::Write as _};

use azure_core::{
    http::{Etag, Method, Url, headers::Headers},
    time::OffsetDateTime,
};

use crate::{
    entity::Entity,
    error::{Error, Result},
    rules::{MAX_TRANSACTION_ACTIONS, MAX_TRANSACTION_BYTES, check_entity, check_key},
};

/// The body is JSON and HTTP headers, both without raw line breaks of the caller's, so a fixed boundary is safe, and
/// the same transaction is the same bytes each time.
const BATCH: &str = "batch_azure-data-tables-rust";
const CHANGESET: &str = "changeset_azure-data-tables-rust";

const INFALLIBLE: &str = "writing to a String does not fail";

/// One change of one entity.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionAction {
    /// Makes an entity; fails with 409 `EntityAlreadyExists` when there is one.
    Insert(Entity),
    /// Changes an entity; fails with 404 `ResourceNotFound` when there is none, with 412
    /// `UpdateConditionNotSatisfied` when it is another version.
    Update(Entity, UpdateMode, IfMatch),
    /// Makes or changes an entity, whatever was there.
    Upsert(Entity, UpdateMode),
    /// Removes an entity; fails like [`Self::Update`].
    Delete {
        /// The entity's partition.
        partition_key: String,
        /// The entity's key in it.
        row_key: String,
        /// Which version.
        if_match: IfMatch,
    },
}

/// What happens to properties that the new entity doesn't name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// They stay. Without any property only the etag and the timestamp change.
    Merge,
    /// They go.
    Replace,
}

/// Which version of an entity is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever is there.
    Any,
    /// This one only.
    Etag(Etag),
}

/// A change as an HTTP request, without what every request has.
pub(crate) struct ActionRequest {
    pub(crate) method: Method,
    /// Behind the endpoint, percent-encoded.
    pub(crate) path: String,
    pub(crate) if_match: Option<String>,
    pub(crate) body: Option<String>,
}

impl TransactionAction {
    fn keys(&self) -> (&str, &str) {
        match self {
            Self::Insert(entity) | Self::Update(entity, ..) | Self::Upsert(entity, _) => {
                (&entity.partition_key, &entity.row_key)
            }
            Self::Delete {
                partition_key, row_key, ..
            } => (partition_key, row_key),
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Insert(entity) | Self::Update(entity, ..) | Self::Upsert(entity, _) => check_entity(entity),
            Self::Delete {
                partition_key, row_key, ..
            } => {
                check_key("partition key", partition_key)?;
                check_key("row key", row_key)
            }
        }
    }

    pub(crate) fn to_request(&self, table: &str) -> Result<ActionRequest> {
        self.check()?;
        let (partition_key, row_key) = self.keys();
        let (method, if_match, body) = match self {
            Self::Insert(entity) => (Method::Post, None, Some(entity)),
            Self::Update(entity, mode, if_match) => (mode.method(), Some(if_match.header()?), Some(entity)),
            // Without If-Match a PUT or PATCH is the service's "insert or replace", "insert or merge".
            Self::Upsert(entity, mode) => (mode.method(), None, Some(entity)),
            Self::Delete { if_match, .. } => (Method::Delete, Some(if_match.header()?), None),
        };
        Ok(ActionRequest {
            path: match method {
                Method::Post => table.to_owned(),
                _ => entity_path(table, partition_key, row_key),
            },
            method,
            if_match,
            body: body.map(Entity::to_json),
        })
    }
}

impl UpdateMode {
    fn method(self) -> Method {
        match self {
            Self::Merge => Method::Patch,
            Self::Replace => Method::Put,
        }
    }
}

impl IfMatch {
    fn header(&self) -> Result<String> {
        match self {
            Self::Any => Ok("*".to_owned()),
            Self::Etag(etag) if etag.as_ref().bytes().all(|b| (b' '..=b'~').contains(&b)) => Ok(etag.to_string()),
            Self::Etag(_) => Err(Error::invalid("the etag has other than printable ASCII characters")),
        }
    }
}

/// `table(PartitionKey='…',RowKey='…')`, quotes doubled and everything but RFC 3986's unreserved characters encoded.
pub(crate) fn entity_path(table: &str, partition_key: &str, row_key: &str) -> String {
    let quoted = |key| percent_encode(&crate::filter::double_quotes(key));
    format!(
        "{table}(PartitionKey='{}',RowKey='{}')",
        quoted(partition_key),
        quoted(row_key)
    )
}

pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect(INFALLIBLE);
        }
    }
    encoded
}

/// The content type that [`encode`]'s body has.
pub(crate) fn content_type() -> String {
    format!("multipart/mixed; boundary={BATCH}")
}

/// The `$batch` body. `url` makes the full URL of a path.
pub(crate) fn encode(actions: &[TransactionAction], table: &str, url: impl Fn(&str) -> Url) -> Result<String> {
    check_together(actions)?;
    let mut body = format!("--{BATCH}\r\nContent-Type: multipart/mixed; boundary={CHANGESET}\r\n\r\n");
    for action in actions {
        encode_action(&mut body, action.to_request(table)?, &url).expect(INFALLIBLE);
    }
    write!(body, "--{CHANGESET}--\r\n--{BATCH}--\r\n").expect(INFALLIBLE);
    if body.len() > MAX_TRANSACTION_BYTES {
        return Err(Error::invalid(format!(
            "a transaction of {} bytes, {MAX_TRANSACTION_BYTES} are allowed",
            body.len()
        )));
    }
    Ok(body)
}

fn encode_action(body: &mut String, request: ActionRequest, url: impl Fn(&str) -> Url) -> std::fmt::Result {
    let (method, url) = (request.method, url(&request.path));
    write!(
        body,
        "--{CHANGESET}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
         {method} {url} HTTP/1.1\r\nAccept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n"
    )?;
    if let Some(if_match) = request.if_match {
        write!(body, "If-Match: {if_match}\r\n")?;
    }
    match request.body {
        Some(json) => write!(
            body,
            "Prefer: return-no-content\r\nContent-Type: application/json\r\n\r\n{json}\r\n"
        ),
        None => write!(body, "\r\n\r\n"),
    }
}

/// 1 to 100 actions, one partition, each entity once.
fn check_together(actions: &[TransactionAction]) -> Result<()> {
    let Some(first) = actions.first() else {
        return Err(Error::invalid("a transaction without actions"));
    };
    if actions.len() > MAX_TRANSACTION_ACTIONS {
        return Err(Error::invalid(format!(
            "a transaction of {} actions, {MAX_TRANSACTION_ACTIONS} are allowed",
            actions.len()
        )));
    }
    let mut row_keys = HashSet::with_capacity(actions.len());
    for action in actions {
        let (partition_key, row_key) = action.keys();
        if partition_key != first.keys().0 {
            return Err(Error::invalid("a transaction over more than one partition"));
        }
        if !row_keys.insert(row_key) {
            return Err(Error::invalid("a transaction with an entity twice"));
        }
    }
    Ok(())
}

/// Reads the answer to a transaction of `count` actions: the new etags, where the service tells them, or the first
/// failure. A committed transaction has one part for each action, a failed one has one part in all.
pub(crate) fn decode(body: &[u8], headers: &Headers, now: OffsetDateTime, count: usize) -> Result<Vec<Option<Etag>>> {
    let text = String::from_utf8_lossy(body);
    let parts: Vec<Part> = text.split("\r\nHTTP/1.1 ").skip(1).filter_map(Part::read).collect();
    if let Some(failed) = parts.iter().find(|part| !(200..300).contains(&part.status)) {
        let error = Error::service_part(failed.status, failed.body.as_bytes());
        return Err(error.with_outer(headers, now, count == 1));
    }
    if parts.len() != count {
        return Err(Error::response(format!(
            "a transaction's answer with {} parts for {count} actions",
            parts.len()
        )));
    }
    Ok(parts.into_iter().map(|part| part.etag.map(Etag::from)).collect())
}

/// One HTTP response inside the multipart body.
struct Part<'a> {
    status: u16,
    etag: Option<&'a str>,
    body: &'a str,
}

impl<'a> Part<'a> {
    /// From behind `HTTP/1.1 ` to the next part's.
    fn read(text: &'a str) -> Option<Self> {
        let status = text.get(..3)?.parse().ok()?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let etag = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("etag").then(|| value.trim())
        });
        let body = body.split("\r\n--").next().unwrap_or_default();
        Some(Self {
            status,
            etag,
            body: body.trim(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Retry, heals};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const BODY: &str = "binary_with{braces}\r\n--changeset_azure-data-tables-rust--\r\n";

    fn url(path: &str) -> Url {
        format!("https://account.table.core.windows.net/{path}")
            .parse()
            .unwrap()
    }

    fn insert(row_key: &str) -> TransactionAction {
        TransactionAction::Insert(Entity::new("p", row_key))
    }

    fn delete(row_key: &str, if_match: IfMatch) -> TransactionAction {
        TransactionAction::Delete {
            partition_key: "p".to_owned(),
            row_key: row_key.to_owned(),
            if_match,
        }
    }

    #[test]
    fn a_transaction_is_spelled_as_documented() {
        let etag = IfMatch::Etag("W/\"datetime'2026-11-22T15%3A00%3A00.1Z'\"".into());
        let actions = [
            TransactionAction::Insert(Entity::new("p", "a").with("x", BODY)),
            TransactionAction::Update(Entity::new("p", "b"), UpdateMode::Merge, IfMatch::Any),
            TransactionAction::Update(Entity::new("p", "c"), UpdateMode::Replace, etag),
            TransactionAction::Upsert(Entity::new("p", "o'brien 100%"), UpdateMode::Replace),
            delete("e", IfMatch::Any),
        ];
        let json = r#"{"PartitionKey":"p","RowKey":"a","x":"binary_with{braces}\r\n--changeset_azure-data-tables-rust--\r\n"}"#;
        let part = |request: &str, more: &str| {
            format!(
                "--changeset_azure-data-tables-rust\r\nContent-Type: application/http\r\n\
                 Content-Transfer-Encoding: binary\r\n\r\n{request} HTTP/1.1\r\n\
                 Accept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n{more}\r\n"
            )
        };
        let with_json = |more: &str, json: &str| {
            format!("{more}Prefer: return-no-content\r\nContent-Type: application/json\r\n\r\n{json}")
        };
        let expected = [
            "--batch_azure-data-tables-rust\r\nContent-Type: multipart/mixed; \
             boundary=changeset_azure-data-tables-rust\r\n\r\n",
            &part(
                "POST https://account.table.core.windows.net/users",
                &with_json("", json),
            ),
            &part(
                "PATCH https://account.table.core.windows.net/users(PartitionKey='p',RowKey='b')",
                &with_json("If-Match: *\r\n", r#"{"PartitionKey":"p","RowKey":"b"}"#),
            ),
            &part(
                "PUT https://account.table.core.windows.net/users(PartitionKey='p',RowKey='c')",
                &with_json(
                    "If-Match: W/\"datetime'2026-11-22T15%3A00%3A00.1Z'\"\r\n",
                    r#"{"PartitionKey":"p","RowKey":"c"}"#,
                ),
            ),
            &part(
                "PUT https://account.table.core.windows.net/users(PartitionKey='p',RowKey='o%27%27brien%20100%25')",
                &with_json("", r#"{"PartitionKey":"p","RowKey":"o'brien 100%"}"#),
            ),
            &part(
                "DELETE https://account.table.core.windows.net/users(PartitionKey='p',RowKey='e')",
                "If-Match: *\r\n\r\n",
            ),
            "--changeset_azure-data-tables-rust--\r\n--batch_azure-data-tables-rust--\r\n",
        ];
        assert_eq!(encode(&actions, "users", url).unwrap(), expected.concat());
    }

    #[track_caller]
    fn check_refused(actions: &[TransactionAction], expected: &str) {
        let error = encode(actions, "users", url).unwrap_err();
        assert_eq!(heals(&error), Retry::Never);
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_azurite_lets_pass_is_refused_before_it_is_sent() {
        let many = |n: usize| -> Vec<_> { (0..n).map(|i| insert(&i.to_string())).collect() };
        assert!(encode(&many(100), "users", url).is_ok());
        check_refused(&many(101), "101 actions, 100 are allowed");
        check_refused(&[], "without actions");
        check_refused(&[insert("a"), delete("a", IfMatch::Any)], "an entity twice");
        let other = TransactionAction::Insert(Entity::new("q", "b"));
        check_refused(&[insert("a"), other], "more than one partition");
        check_refused(&[insert("a/b")], "a character that keys must not have");
        check_refused(&[delete("a?b", IfMatch::Any)], "a character that keys must not have");
        check_refused(
            &[delete("a", IfMatch::Etag("x\r\nHost: y".into()))],
            "the etag has other than",
        );

        let large = |n: usize| -> Vec<_> {
            let entity = |i: usize| {
                (0..8).fold(Entity::new("p", i.to_string()), |entity, b| {
                    entity.with(format!("b{b}"), vec![0; 64 * 1024])
                })
            };
            (0..n).map(|i| TransactionAction::Insert(entity(i))).collect()
        };
        assert!(encode(&large(5), "users", url).is_ok());
        check_refused(&large(6), "4194304 are allowed");
    }

    /// An answer as the service frames it.
    fn answer(parts: &[String]) -> String {
        let mut text =
            "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n".to_owned();
        for part in parts {
            text.push_str("--changesetresponse_1\r\nContent-Type: application/http\r\n");
            text.push_str("Content-Transfer-Encoding: binary\r\n\r\n");
            text.push_str(part);
            text.push_str("\r\n");
        }
        text + "--changesetresponse_1--\r\n--batchresponse_1--\r\n"
    }

    fn failure(status: &str, code: &str, message: &str) -> String {
        answer(&[format!(
            "HTTP/1.1 {status}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n\
             DataServiceVersion: 3.0;\r\nContent-Type: application/json;odata=minimalmetadata;streaming=true;charset=utf-8\
             \r\n\r\n{{\"odata.error\":{{\"code\":\"{code}\",\"message\":{{\"lang\":\"en-US\",\"value\":\
             \"{message}\\nRequestId:1\\nTime:2026-11-22T15:00:00.9466810Z\"}}}}}}"
        )])
    }

    #[test]
    fn a_committed_transaction_tells_the_new_etags() {
        let text = answer(&[
            "HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nETag: W/\"datetime'1'\"\r\n\r\n".to_owned(),
            "HTTP/1.1 204 No Content\r\netag:W/\"datetime'2'\"\r\n\r\n".to_owned(),
            "HTTP/1.1 204 No Content\r\nDataServiceVersion: 1.0;\r\n\r\n".to_owned(),
        ]);
        let etags = decode(text.as_bytes(), &Headers::new(), NOW, 3).unwrap();
        let expected = [Some("W/\"datetime'1'\""), Some("W/\"datetime'2'\""), None];
        assert_eq!(etags, expected.map(|etag| etag.map(Etag::from)));
    }

    #[track_caller]
    fn check_failed(text: &str, count: usize, status: u16, code: &str, index: Option<usize>) {
        let error = decode(text.as_bytes(), &Headers::new(), NOW, count).unwrap_err();
        assert_eq!(
            (error.status(), error.code(), error.failed_index()),
            (Some(status), Some(code), index),
            "{error:?}"
        );
    }

    #[test]
    fn a_failed_transaction_tells_which_action_and_why() {
        let exists = "The specified entity already exists.";
        for index in [0, 1, 99] {
            let text = failure("409 Conflict", "EntityAlreadyExists", &format!("{index}:{exists}"));
            check_failed(&text, 100, 409, "EntityAlreadyExists", Some(index));
        }
        let missing = failure(
            "404 Not Found",
            "ResourceNotFound",
            "2:The specified resource does not exist.",
        );
        check_failed(&missing, 3, 404, "ResourceNotFound", Some(2));
        let changed = "The update condition specified in the request was not satisfied.";
        let text = failure(
            "412 Precondition Failed",
            "UpdateConditionNotSatisfied",
            &format!("1:{changed}"),
        );
        check_failed(&text, 2, 412, "UpdateConditionNotSatisfied", Some(1));
        // The service leaves the number out when the transaction has one action.
        let text = failure("412 Precondition Failed", "UpdateConditionNotSatisfied", changed);
        check_failed(&text, 1, 412, "UpdateConditionNotSatisfied", Some(0));
        check_failed(&text, 2, 412, "UpdateConditionNotSatisfied", None);
    }

    #[test]
    fn an_answer_that_says_too_little_is_ambiguous() {
        let committed = answer(&["HTTP/1.1 204 No Content\r\n\r\n".to_owned()]);
        for text in ["", "--batchresponse_1\r\n", "\r\nHTTP/1.1 2", &committed] {
            let error = decode(text.as_bytes(), &Headers::new(), NOW, 2).unwrap_err();
            assert!(error.is_ambiguous(), "{error:?}");
        }
        let lost = failure("500 Internal Server Error", "InternalError", "0:Something broke.");
        assert!(
            decode(lost.as_bytes(), &Headers::new(), NOW, 2)
                .unwrap_err()
                .is_ambiguous()
        );
        let busy = failure("503 Service Unavailable", "ServerBusy", "The server is busy.");
        let mut headers = Headers::new();
        headers.insert("retry-after", "3");
        let error = decode(busy.as_bytes(), &headers, NOW, 2).unwrap_err();
        assert_eq!(heals(&error), Retry::Safe(Some(std::time::Duration::from_secs(3))));
    }
}
