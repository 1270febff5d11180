//! What is wrong on purpose with what is answered, and what is left behind.

use crate::{
    http1::Row,
    upstream::{Act, When, Wrong},
};

fn row(name: &'static str, line: &'static str, status: &str, body: &str, finds: &'static [&'static str]) -> Row {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/scim+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let wrong = Wrong {
        when: When::Asked(line),
        act: Act::Say(answer.into_bytes()),
    };
    Row { name, wrong, finds }
}

const LIST: &str =
    r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}"#;
const USER: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"1","active":true}"#;

pub(crate) fn rows() -> Vec<Row> {
    reads().into_iter().chain(writes()).collect()
}

fn reads() -> Vec<Row> {
    let filter = "GET /scim/acme/Users?filter=userName%20eq%20%22";
    let users = "GET /scim/acme/Users?filter=";
    vec![
        row(
            "nobody_is_404",
            filter,
            "404 Not Found",
            "",
            &["test-connection", "look-up-fails", "wrong-status"],
        ),
        row(
            "nobody_is_500",
            filter,
            "500 Internal Server Error",
            "",
            &["server-error"],
        ),
        row(
            "filters_are_not_implemented",
            filter,
            "501 Not Implemented",
            "",
            &["test-connection", "look-up-fails", "wrong-status"],
        ),
        row(
            "a_proxy_says_502",
            filter,
            "502 Bad Gateway",
            "upstream connect error or disconnect/reset before headers. reset \
            reason: protocol error",
            &["proxy-text"],
        ),
        row(
            "a_gateway_says_502",
            filter,
            "502 Bad Gateway",
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n\
            <hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>",
            &["proxy-text"],
        ),
        row(
            "a_host_without_its_handler",
            filter,
            "503 Service Unavailable",
            "Function host is not running.",
            &["proxy-text"],
        ),
        row(
            "nobody_is_found",
            users,
            "200 OK",
            LIST,
            &["look-up-fails", "wrong-status"],
        ),
        row(
            "too_many",
            "GET /scim/acme/Schemas",
            "429 Too Many Requests\r\nretry-after: 0",
            "",
            &["throttled"],
        ),
        row(
            "a_token_is_refused",
            "GET /scim/acme/Users",
            "401 Unauthorized",
            "",
            &["credential-refused"],
        ),
    ]
}

fn writes() -> Vec<Row> {
    let (post, patch, delete) = (
        "POST /scim/acme/Users",
        "PATCH /scim/acme/Users/",
        "DELETE /scim/acme/Users/",
    );
    vec![
        row(
            "changes_are_lost",
            patch,
            "200 OK",
            "{}",
            &["patch-lost", "wrong-status"],
        ),
        row(
            "changes_are_refused",
            patch,
            "400 Bad Request",
            "",
            &["patch-fails", "wrong-status"],
        ),
        row("creates_are_refused", post, "400 Bad Request", "", &["create-fails"]),
        row(
            "a_made_up_user",
            post,
            "201 Created",
            USER,
            &[
                "disable-lost",
                "created-answer",
                "look-up-fails",
                "broken-accepted",
                "left-behind",
            ],
        ),
        row(
            "deletes_are_lost",
            delete,
            "204 No Content",
            "",
            &["deleted-shown", "left-behind"],
        ),
        row(
            "deletes_are_refused",
            delete,
            "403 Forbidden",
            "",
            &["delete-fails", "left-behind", "wrong-status"],
        ),
    ]
}
