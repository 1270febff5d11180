//! What happens to a path: Kestrel decodes it, YARP or `System.Uri` encode it again.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What YARP's `EncodePath` encodes: all but `!$&'()*+,-./:;=@_~`, letters and digits. Also `%`.
const NOT_IN_PROXIED_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@')
    .remove(b'_')
    .remove(b'~');

/// What `System.Uri` encodes in a path or query: what is neither reserved nor unreserved (RFC 3986 section 2.2); `%`
/// is looked at separately.
const NOT_IN_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What is encoded in a rebuilt query's keys and values: all but the unreserved characters.
const NOT_IN_QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Kestrel's `PathString`: every escape decoded but `%2F` and what is not UTF-8, then dot segments removed. `None`
/// when the path holds `%00`: 400.
pub(crate) fn decode_path(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let run = escapes(&bytes[at..]);
        if run.is_empty() {
            decoded.push(bytes[at]);
            at += 1;
        } else if run.contains(&0) {
            return None;
        } else {
            decode_run(&run, &bytes[at..], &mut decoded);
            at += run.len() * 3;
        }
    }
    Some(remove_dot_segments(&String::from_utf8_lossy(&decoded)))
}

/// YARP's path on the wire.
pub(crate) fn proxied_path(decoded: &str) -> String {
    utf8_percent_encode(decoded, NOT_IN_PROXIED_PATH).to_string()
}

/// `new Uri(GetDisplayUrl()).AbsolutePath`: the decoded path parsed as part of a URL once more, so that `?` and `#`
/// end it, `\` is `/`, and an escape that decoding uncovered is taken as one (inferred).
pub(crate) fn forwarded_path(decoded: &str) -> String {
    let path = decoded.split(['?', '#']).next().unwrap_or_default().replace('\\', "/");
    let path = remove_dot_segments(&escape(&path));
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Escapes as `System.Uri` does: a `%` with two hexadecimal digits behind it stays.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (number, piece) in text.split('%').enumerate() {
        if number > 0 {
            let is_escape = piece.len() >= 2 && piece.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
            escaped.push_str(if is_escape { "%" } else { "%25" });
        }
        escaped.extend(utf8_percent_encode(piece, NOT_IN_URI));
    }
    escaped
}

/// The query parsed into a dictionary and written again: keys equal but for case and repeated ones become one, their
/// values joined by `,`; in the order and spelling of the first.
pub(crate) fn forwarded_query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode_form(key), decode_form(value));
        match pairs
            .iter_mut()
            .find(|(known, _)| known.to_uppercase() == key.to_uppercase())
        {
            Some((_, values)) => values.extend([",", &value]),
            None => pairs.push((key, value)),
        }
    }
    let encode = |text: &str| utf8_percent_encode(text, NOT_IN_QUERY_VALUE).to_string();
    pairs
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// The value of the query's first parameter of that name, ignoring case.
pub(crate) fn query_value(raw: &str, name: &str) -> Option<String> {
    let pairs = raw.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(key, value)| (decode_form(key), decode_form(value)))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn decode_form(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

/// The bytes of the escapes at the start of `bytes`.
fn escapes(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let one = |triple: &[u8]| match triple {
        [b'%', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    bytes.chunks(3).map_while(one).collect()
}

/// Decodes a run of escapes; `raw` starts with their text.
fn decode_run(run: &[u8], raw: &[u8], decoded: &mut Vec<u8>) {
    let mut at = 0;
    for chunk in run.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '/' {
                decoded.extend_from_slice(&raw[at * 3..at * 3 + 3]);
            } else {
                decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            at += character.len_utf8();
        }
        decoded.extend_from_slice(&raw[at * 3..(at + chunk.invalid().len()) * 3]);
        at += chunk.invalid().len();
    }
}

/// RFC 3986 section 5.2.4.
pub(crate) fn remove_dot_segments(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (number, segment) in segments.iter().enumerate() {
        let is_last = number + 1 == segments.len();
        match *segment {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, decoded: &str, forwarded: &str, proxied: &str) {
        let path = decode_path(raw).unwrap();
        assert_eq!(path, decoded, "Kestrel");
        assert_eq!(forwarded_path(&path), forwarded, "FORWARD");
        assert_eq!(proxied_path(&path), proxied, "PROXY");
    }

    #[test]
    fn ordinary_paths_survive_both_modes() {
        check("/Users/a%20b", "/Users/a b", "/Users/a%20b", "/Users/a%20b");
        check("/a/%C3%A4", "/a/ä", "/a/%C3%A4", "/a/%C3%A4");
        let schema = "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User";
        check(schema, schema, schema, schema);
        check("/a/x@y+z;1,2", "/a/x@y+z;1,2", "/a/x@y+z;1,2", "/a/x@y+z;1,2");
        check("/", "/", "/", "/");
    }

    #[test]
    fn an_encoded_slash_is_kept_by_forward_and_doubled_by_proxy() {
        check("/a%2Fb", "/a%2Fb", "/a%2Fb", "/a%252Fb");
        check("/a%2fb", "/a%2fb", "/a%2fb", "/a%252fb");
    }

    #[test]
    fn forward_decodes_twice() {
        check("/a%2520b", "/a%20b", "/a%20b", "/a%2520b");
        check("/100%25", "/100%", "/100%25", "/100%25");
    }

    #[test]
    fn forward_truncates_at_a_question_mark_and_a_hash() {
        check("/a%3Fb/c", "/a?b/c", "/a", "/a%3Fb/c");
        check("/a%23b", "/a#b", "/a", "/a%23b");
    }

    #[test]
    fn forward_turns_backslashes() {
        check("/a%5Cb", "/a\\b", "/a/b", "/a%5Cb");
    }

    #[test]
    fn brackets_bars_and_quotes_are_encoded_by_proxy() {
        check("/a[0]", "/a[0]", "/a[0]", "/a%5B0%5D");
        check("/a%7Cb%22", "/a|b\"", "/a%7Cb%22", "/a%7Cb%22");
    }

    #[test]
    fn kestrel_removes_dot_segments_also_encoded_ones() {
        check("/a/./b/../c", "/a/c", "/a/c", "/a/c");
        check("/a/%2E%2E/b", "/b", "/b", "/b");
        check("/a/..", "/", "/", "/");
        check("/../a", "/a", "/a", "/a");
    }

    #[test]
    fn what_is_not_utf8_stays_escaped() {
        check("/a%FFb", "/a%FFb", "/a%FFb", "/a%25FFb");
        check("/a%zz", "/a%zz", "/a%25zz", "/a%25zz");
    }

    #[test]
    fn a_null_byte_is_refused() {
        assert_eq!(decode_path("/a%00"), None);
        assert_eq!(decode_path("/%C3%A4%00"), None);
    }

    #[test]
    fn forward_rebuilds_the_query() {
        #[track_caller]
        fn check(raw: &str, expected: &str) {
            assert_eq!(forwarded_query(raw), expected);
        }
        check("a=1&a=2", "a=1%2C2");
        check("Filter=x&b=1&filter=y", "Filter=x%2Cy&b=1");
        check("flag", "flag=");
        check("filter=userName+eq+%22x%22", "filter=userName%20eq%20%22x%22");
        check("a=%C3%A4&&", "a=%C3%A4");
    }

    #[test]
    fn a_query_value_is_found_by_any_spelling_of_its_name() {
        assert_eq!(query_value("a=1&Code=x%20y", "code").as_deref(), Some("x y"));
        assert_eq!(query_value("decode=1", "code"), None);
    }
}
