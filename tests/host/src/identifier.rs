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

/// Adds a W3C `traceparent` unless the caller sent one. The flags are 00: the host's own activity is not
/// recorded without an exporter (inferred).
pub(crate) fn inject_trace(headers: &mut HeaderMap) {
    if headers.contains_key("traceparent") {
        return;
    }
    let context = format!("00-{}-{}-00", hexadecimal(&random::<16>()), hexadecimal(&random::<8>()));
    if let Ok(value) = HeaderValue::try_from(context) {
        headers.insert("traceparent", value);
    }
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
