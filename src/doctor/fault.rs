//! What can be wrong with an endpoint: one table, with what each row causes and what to do about it.

use super::faults;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Works with what was tried here, and fails with others, or now and then.
    Warning,
    /// Fails.
    Error,
}

impl Severity {
    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub fault: Fault,
    /// Its stable name.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is the case, in a sentence without its full stop.
    pub title: &'static str,
    /// What it causes.
    pub effect: Effect,
    /// What to do about it.
    pub advice: &'static str,
}

/// What a fault causes, as it was measured with an Envoy in front, with and without retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The answer is no answer: 502 "protocol error", each time.
    ProtocolError,
    /// Somebody else's request gets the 502.
    Neighbour,
    /// Every request on the HTTP/2 connection gets the 502.
    Collateral,
    /// The head is passed on, the body breaks off.
    CutOff,
    /// 503 "connection termination".
    Termination,
    /// 503 "remote reset".
    RemoteReset,
    /// 503 "connection failure".
    NoConnection,
    /// 504.
    TimeOut,
    /// Anything else.
    Says(&'static str),
}

impl Effect {
    /// For people.
    pub fn says(self) -> &'static str {
        match self {
            Self::ProtocolError => {
                "A proxy in front (Envoy) answers 502 \"upstream connect error or disconnect/reset before headers. reset reason: \
                 protocol error\", each time; with retries it is \"retried and the latest reset reason: protocol error\". The \
                 write may have taken effect: a retried create then shows 409, a retried delete 404."
            }
            Self::Neighbour => {
                "This request succeeds. Whoever gets the connection next, perhaps another customer, reads 502 \"upstream connect \
                 error or disconnect/reset before headers. … reset reason: protocol error\" from a proxy in front. Nobody can \
                 reproduce it."
            }
            Self::Collateral => {
                "A proxy in front (Envoy) gives up the whole HTTP/2 connection: this request and all others on it are answered \
                 502 \"… reset reason: protocol error\", with retries \"retried and the latest reset reason: protocol error\"."
            }
            Self::CutOff => {
                "The head has been passed on when the fault shows: the client reads a status that looks fine and half a body, and \
                 the connection ends."
            }
            Self::Termination => {
                "A proxy in front (Envoy) answers 503 \"upstream connect error or disconnect/reset before headers. reset reason: \
                 connection termination\"; a client without proxy sees the connection end."
            }
            Self::RemoteReset => {
                "A proxy in front (Envoy) answers 503 \"… reset reason: remote reset\" (or \"remote refused stream reset\")."
            }
            Self::NoConnection => "A proxy in front (Envoy) answers 503 \"… reset reason: remote connection failure\".",
            Self::TimeOut => "A proxy in front answers 504 \"upstream request timeout\"; Entra tries again later.",
            Self::Says(text) => text,
        }
    }

    /// Name of the cause that `scimgate explain` gives to a text of this effect.
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Self::ProtocolError | Self::Neighbour | Self::Collateral => Some("envoy-protocol-error"),
            Self::Termination => Some("envoy-connection-termination"),
            Self::RemoteReset => Some("envoy-remote-reset"),
            Self::NoConnection => Some("envoy-connection-failure"),
            Self::TimeOut => Some("envoy-timeout"),
            Self::CutOff | Self::Says(_) => None,
        }
    }
}

/// Everything that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table says what each one is")]
pub enum Fault {
    // Of an answer in HTTP/1.1
    NotHttp,
    TlsBytes,
    Http2Frames,
    BytesBefore,
    StatusLine,
    StatusRange,
    HeadCutOff,
    HeadTooLarge,
    TooManyHeaders,
    HeaderName,
    HeaderNoColon,
    HeaderValue,
    LengthInvalid,
    LengthTwice,
    LengthAndChunked,
    TransferEncoding,
    BodilessLength,
    BodilessChunked,
    BytesAfterBodiless,
    BytesAfterAnswer,
    SecondAnswer,
    LateBytes,
    BodyCutOff,
    ChunkInvalid,
    TrailerInvalid,
    BodyWithoutEnd,
    BodyOf205,
    SwitchingProtocols,
    InterimOnly,
    InterimFlood,
    ClosedWithoutAnswer,
    NoAnswer,
    Unasked,
    FoldedHeader,
    BareLineFeed,
    BareCarriageReturn,
    HeaderNotAscii,
    CloseUnannounced,
    ReuseFails,
    IdleReset,
    IdleClose,
    EarlyAnswerLost,
    EarlyAnswerStalls,
    // Of connections, TLS and HTTP/2
    NoConnection,
    TenantUrl,
    PlainHttp,
    PlainPort,
    ThroughProxy,
    Certificate,
    Handshake,
    Tls12Missing,
    Tls13Missing,
    VersionsDiffer,
    Http2Missing,
    Http2Text,
    Http2Malformed,
    Http2Broken,
    Http2ResetProtocol,
    Http2Reset,
    Http2GoAway,
    Http2Closed,
    Http2NoAnswer,
    Http2Bodiless,
    Http2LengthTwice,
    Http2Flood,
    Http2StreamsLost,
    // Of a restart
    RequestsLost,
    AnswerChanges,
    // Of what is answered
    ProxyText,
    ServerError,
    TenantPaused,
    Throttled,
    CredentialRefused,
    CredentialIgnored,
    NoChallenge,
    WrongStatus,
    BrokenAccepted,
    ErrorForm,
    MediaType,
    TestConnection,
    CreateFails,
    CreatedAnswer,
    LookUpFails,
    DuplicateAccepted,
    PatchFails,
    PatchLost,
    DisableLost,
    DeleteFails,
    DeletedShown,
    Slow,
    LeftBehind,
}

impl Fault {
    /// Its row of the table.
    pub fn entry(self) -> &'static Entry {
        entries()
            .find(|entry| entry.fault == self)
            .expect("every fault has a row; a test counts them")
    }
}

/// The whole table.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    [
        faults::http1::ENTRIES,
        faults::connection::ENTRIES,
        faults::answer::ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// What was found in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which row of the table.
    pub fault: Fault,
    /// What was seen, for people.
    pub seen: String,
    /// The bytes that show it.
    pub bytes: Vec<u8>,
}

impl Flaw {
    pub(super) fn new(fault: Fault, seen: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            fault,
            seen: seen.into(),
            bytes: bytes[..bytes.len().min(MAX_SHOWN)].to_vec(),
        }
    }
}

/// Bytes of an answer that are kept to be shown.
const MAX_SHOWN: usize = 240;

#[cfg(test)]
mod tests;
