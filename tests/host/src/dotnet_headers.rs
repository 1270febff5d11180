//! Response headers as .NET's `HttpResponseHeaders` enumerates them: parsed, and written in its own spelling.
//! What does not parse stays as it is. Not imitated: products of `Server` and challenges of `WWW-Authenticate`, which
//! stay as they are.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, header};

use crate::decode::{escape, remove_dot_segments};

/// Lists of tokens.
const TOKEN_LISTS: [HeaderName; 9] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::PRAGMA,
    header::TRAILER,
    header::UPGRADE,
    header::VARY,
];

/// Directives in the order in which `CacheControlHeaderValue` writes them, extensions after them (from memory).
const CACHE_DIRECTIVES: [&str; 12] = [
    "no-store",
    "no-transform",
    "only-if-cached",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "no-cache",
    "max-age",
    "s-maxage",
    "max-stale",
    "min-fresh",
    "private",
];

/// The lines that come of one line.
pub(crate) fn enumerate(name: &HeaderName, value: &HeaderValue) -> Vec<HeaderValue> {
    let parsed = value.to_str().ok().and_then(|text| parse(name, text));
    let lines = parsed.map(|lines| {
        lines
            .into_iter()
            .map(HeaderValue::try_from)
            .collect::<Result<Vec<_>, _>>()
    });
    lines.and_then(Result::ok).unwrap_or_else(|| vec![value.clone()])
}

fn parse(name: &HeaderName, text: &str) -> Option<Vec<String>> {
    if TOKEN_LISTS.contains(name) {
        return tokens(text);
    }
    let one = match name {
        &header::VIA | &header::WARNING => return Some(list(text)),
        &header::CACHE_CONTROL => cache_control(text),
        &header::CONTENT_TYPE => media_type(text)?,
        &header::LOCATION | &header::CONTENT_LOCATION => url(text),
        &header::DATE | &header::EXPIRES | &header::LAST_MODIFIED | &header::RETRY_AFTER => date(text)?,
        _ => return None,
    };
    Some(vec![one])
}

/// The list's elements; commas inside quotes don't separate.
fn list(text: &str) -> Vec<String> {
    let mut is_quoted = false;
    let elements = text.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    });
    elements
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(str::to_owned)
        .collect()
}

fn tokens(text: &str) -> Option<Vec<String>> {
    let elements = list(text);
    let all_parse = elements.iter().all(|element| element.split(['=', '/']).all(is_token));
    (all_parse && !elements.is_empty()).then_some(elements)
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn cache_control(text: &str) -> String {
    let mut directives = list(text);
    directives.sort_by_key(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        CACHE_DIRECTIVES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .unwrap_or(CACHE_DIRECTIVES.len())
    });
    directives.join(", ")
}

fn media_type(text: &str) -> Option<String> {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next()?;
    let (kind, subtype) = essence.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let mut written = essence.to_owned();
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))?;
        let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
        if !is_token(name) || !(is_quoted || is_token(value)) {
            return None;
        }
        written.extend(["; ", name, "=", value]);
    }
    Some(written)
}

/// `Uri.AbsoluteUri`: scheme and host in lower case, no default port, dot segments removed, a path, all escaped.
fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_token(scheme)) else {
        return escape(text);
    };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, rest) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let (path, tail) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let path = remove_dot_segments(&escape(&path.replace('\\', "/")));
    let path = if path.is_empty() { "/" } else { &path };
    format!("{scheme}://{authority}{path}{}", escape(tail))
}

fn date(text: &str) -> Option<String> {
    let time: SystemTime = httpdate::parse_http_date(text).ok()?;
    Some(httpdate::fmt_http_date(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: &[&str]) {
        let lines = enumerate(&name.parse().unwrap(), &HeaderValue::try_from(value).unwrap());
        assert_eq!(lines, expected, "{name}: {value}");
    }

    #[test]
    fn lists_become_several_lines() {
        check("vary", "Accept, Authorization", &["Accept", "Authorization"]);
        check("allow", "GET,POST", &["GET", "POST"]);
        check("via", "1.1 a (x, y), 1.1 \"b,c\"", &["1.1 a (x", "y)", "1.1 \"b,c\""]);
    }

    #[test]
    fn a_content_type_gets_a_blank() {
        check(
            "content-type",
            "application/scim+json;charset=utf-8",
            &["application/scim+json; charset=utf-8"],
        );
        check("content-type", "text/html ;  a=b", &["text/html; a=b"]);
        check("content-type", "nonsense", &["nonsense"]);
    }

    #[test]
    fn a_location_is_normalised() {
        check(
            "location",
            "HTTPS://Example.COM:443/a/../b c?q=\"x\"",
            &["https://example.com/b%20c?q=%22x%22"],
        );
        check("location", "http://example.com", &["http://example.com/"]);
        check("location", "/a b", &["/a%20b"]);
    }

    #[test]
    fn dates_are_rewritten() {
        check(
            "last-modified",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            &["Sun, 06 Nov 1994 08:49:37 GMT"],
        );
        check("expires", "0", &["0"]);
        check("retry-after", "5", &["5"]);
    }

    #[test]
    fn cache_control_is_reordered() {
        check(
            "cache-control",
            "private, max-age=0, no-store",
            &["no-store, max-age=0, private"],
        );
    }

    #[test]
    fn other_headers_stay() {
        check("etag", "W/\"a, b\"", &["W/\"a, b\""]);
        check("etag", "not an etag", &["not an etag"]);
        check(
            "www-authenticate",
            "Bearer realm=\"x\", error=\"y\"",
            &["Bearer realm=\"x\", error=\"y\""],
        );
        check("set-cookie", "a=b, c", &["a=b, c"]);
        check("x-other", "a, b", &["a, b"]);
    }
}
