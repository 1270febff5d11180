//! Random identifiers: invocation ids and trace contexts.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

/// A random GUID, version 4.
pub(crate) fn guid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hexadecimal(&bytes);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// The caller's W3C `traceparent`, or else one of the host's own. The flags are 00: the host's own activity is not
/// recorded without an exporter (inferred).
pub(crate) fn trace(headers: &HeaderMap) -> String {
    let sent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    sent.map_or_else(
        || format!("00-{}-{}-00", hexadecimal(&random::<16>()), span()),
        str::to_owned,
    )
}

/// Adds it unless the caller sent one.
pub(crate) fn inject_trace(headers: &mut HeaderMap, trace: &str) {
    if headers.contains_key("traceparent") {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(trace) {
        headers.insert("traceparent", value);
    }
}

/// A random span id.
pub(crate) fn span() -> String {
    hexadecimal(&random::<8>())
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
