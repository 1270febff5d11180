//! What is wrong on purpose in HTTP/2, by the names of the measured table, frame by frame.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn,
    time::timeout,
};

/// One way to be wrong.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) act: Act,
    /// The first must be found; nothing worse than a note but these may be.
    pub(crate) finds: &'static [&'static str],
}

/// What each request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A header block that ends the stream.
    Head(Vec<u8>),
    /// A header block, and data that ends the stream.
    Data(Vec<u8>, Vec<u8>),
    /// Frames; their stream is the request's where it is [`HERE`].
    Frames(Vec<(u8, u8, [u8; 4], Vec<u8>)>),
    /// Bytes, and the end.
    Text(&'static [u8]),
    /// The end.
    Close,
    /// Good answers to no more than so many at once, as the settings say behind the first request; others are refused.
    Limit(u8),
}

const A_MOMENT: Duration = Duration::from_millis(40);
/// Stands for the stream of the request.
const HERE: [u8; 4] = [0xff; 4];
const CONNECTION: [u8; 4] = [0; 4];
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW: u8 = 8;
/// End of stream, end of headers.
const WHOLE: u8 = 5;

/// `:status: 200` and `:status: 204` (RFC 7541, appendix A).
const OK: &[u8] = b"\x88";
const NO_CONTENT: &[u8] = b"\x89";

/// A literal without Huffman coding.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("fields here are short");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn with(status: &[u8], name: &str, value: &str) -> Act {
    Act::Head([status, &field(name, value)].concat())
}

fn frame(kind: u8, flags: u8, stream: [u8; 4], payload: &[u8]) -> Act {
    Act::Frames(vec![(kind, flags, stream, payload.to_vec())])
}

/// What else is lost with a connection.
const MALFORMED: &[&str] = &["http2-malformed", "http2-streams-lost"];
const BROKEN: &[&str] = &["http2-broken", "http2-streams-lost"];

pub(crate) fn rows() -> Vec<Row> {
    [heads(), frames(), vec![row("few_streams_at_once", Act::Limit(10), &[])]].concat()
}

fn row(name: &'static str, act: Act, finds: &'static [&'static str]) -> Row {
    Row { name, act, finds }
}

fn heads() -> Vec<Row> {
    vec![
        row("h2_connection_ka", with(OK, "connection", "keep-alive"), MALFORMED),
        row("h2_te_chunked", with(OK, "transfer-encoding", "chunked"), MALFORMED),
        row("h2_keepalive_hdr", with(OK, "keep-alive", "timeout=5"), MALFORMED),
        row("h2_upgrade_hdr", with(OK, "upgrade", "h2c"), MALFORMED),
        row("h2_uppercase", with(OK, "X-Foo", "1"), BROKEN),
        row("h2_no_status", Act::Head(field("x-foo", "1")), MALFORMED),
        row("h2_two_status", Act::Head([OK, OK].concat()), MALFORMED),
        row("h2_status_abc", Act::Head(field(":status", "abc")), BROKEN),
        row(
            "h2_pseudo_after",
            Act::Head([&field("x-foo", "1"), OK].concat()),
            MALFORMED,
        ),
        row("h2_cl_garbage", with(OK, "content-length", "abc"), MALFORMED),
        row(
            "h2_cl_short",
            Act::Data([OK, &field("content-length", "10")].concat(), b"{}".to_vec()),
            MALFORMED,
        ),
        row(
            "h2_cl_twice",
            Act::Data(
                [OK, &field("content-length", "2"), &field("content-length", "2")].concat(),
                b"{}".to_vec(),
            ),
            &["http2-content-length-twice", "http2-malformed", "http2-streams-lost"],
        ),
        row(
            "h2_204_body",
            Act::Data(NO_CONTENT.to_vec(), b"{}".to_vec()),
            &[
                "http2-body-of-204",
                "versions-differ",
                "http2-malformed",
                "http2-streams-lost",
            ],
        ),
        row("h2_val_nul", with(OK, "x-a", "a\0b"), BROKEN),
    ]
}

fn frames() -> Vec<Row> {
    let go_away = |code: u8| frame(GO_AWAY, 0, CONNECTION, &[0, 0, 0, 0, 0, 0, 0, code]);
    let pings = vec![(PING, 0, CONNECTION, vec![0; 8]); 5_000];
    vec![
        row(
            "h2_rst_protocol_error",
            frame(RESET, 0, HERE, &[0, 0, 0, 1]),
            &["http2-reset-protocol", "http2-streams-lost"],
        ),
        row(
            "h2_rst_internal_error",
            frame(RESET, 0, HERE, &[0, 0, 0, 2]),
            &["http2-reset", "http2-streams-lost"],
        ),
        row(
            "h2_rst_refused_stream",
            frame(RESET, 0, HERE, &[0, 0, 0, 7]),
            &["http2-reset", "http2-streams-lost"],
        ),
        row(
            "h2_goaway0_protocol_error",
            go_away(1),
            &["http2-goaway", "http2-streams-lost"],
        ),
        row(
            "h2_goaway0_http_1_1_required",
            go_away(13),
            &["http2-goaway", "http2-streams-lost"],
        ),
        row("h2_fin", Act::Close, &["http2-closed", "http2-streams-lost"]),
        row(
            "h2_bad_hpack",
            frame(HEADERS, WHOLE, HERE, b"\xff\xff\xff\xff\xff"),
            BROKEN,
        ),
        row("h2_push", frame(PUSH, 4, HERE, b"\x00\x00\x00\x02\x88"), BROKEN),
        row("h2_window_0", frame(WINDOW, 0, CONNECTION, &[0; 4]), BROKEN),
        row("h2_data_first", frame(0, 1, HERE, b"{}"), BROKEN),
        row(
            "h2_text_after",
            Act::Text(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
            &["http2-text", "http2-streams-lost"],
        ),
        row(
            "h2_ping_flood",
            Act::Frames([pings, vec![(HEADERS, WHOLE, HERE, OK.to_vec())]].concat()),
            &["http2-flood", "http2-streams-lost", "slow"],
        ),
    ]
}

/// Speaks HTTP/2 on this port, wrong in this way, and passes HTTP/1.1 on to the service.
pub(crate) async fn serve(act: Act, service: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let act = act.clone();
            spawn(async move {
                // A client that goes away is no failure of the proxy.
                drop(either(stream, &act, service).await);
            });
        }
    });
    address
}

async fn either(mut stream: TcpStream, act: &Act, service: SocketAddr) -> io::Result<()> {
    let mut first = [0; 3];
    stream.peek(&mut first).await?;
    if &first == b"PRI" {
        return http2(stream, act).await;
    }
    let mut behind = TcpStream::connect(service).await?;
    io::copy_bidirectional(&mut stream, &mut behind).await.map(drop)
}

/// Every request is answered in the one way.
pub(crate) async fn http2(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: &Act) -> io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    if let Act::Limit(limit) = act {
        return limited(stream, *limit).await;
    }
    stream.write_all(&bytes(SETTINGS, 0, CONNECTION, b"")).await?;
    loop {
        let mut start = [0; 9];
        stream.read_exact(&mut start).await?;
        let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        let id = [start[5], start[6], start[7], start[8]];
        match (start[3], start[4]) {
            (HEADERS, _) => answer(&mut stream, act, id).await?,
            (SETTINGS, 0) => stream.write_all(&bytes(SETTINGS, 1, CONNECTION, b"")).await?,
            _ => {}
        }
    }
}

/// Answers when nothing more comes for a moment (RFC 9113 §5.1.2).
async fn limited(mut stream: impl AsyncRead + AsyncWrite + Unpin, limit: u8) -> io::Result<()> {
    let mut open = Vec::new();
    let mut has_begun = false;
    loop {
        let mut start = [0; 9];
        let Ok(read) = timeout(A_MOMENT, stream.read_exact(&mut start[..1])).await else {
            if !has_begun && !open.is_empty() {
                has_begun = true;
                let settings = bytes(SETTINGS, 0, CONNECTION, &[0, 3, 0, 0, 0, limit]);
                stream.write_all(&settings).await?;
            }
            for id in open.drain(..) {
                stream.write_all(&bytes(HEADERS, WHOLE, id, OK)).await?;
            }
            continue;
        };
        read?;
        stream.read_exact(&mut start[1..]).await?;
        let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        let id = [start[5], start[6], start[7], start[8]];
        match (start[3], start[4]) {
            (HEADERS, _) if open.len() < usize::from(limit) => open.push(id),
            (HEADERS, _) => stream.write_all(&bytes(RESET, 0, id, &[0, 0, 0, 7])).await?,
            (SETTINGS, 0) => stream.write_all(&bytes(SETTINGS, 1, CONNECTION, b"")).await?,
            _ => {}
        }
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), act: &Act, id: [u8; 4]) -> io::Result<()> {
    match act {
        Act::Head(block) => stream.write_all(&bytes(HEADERS, WHOLE, id, block)).await,
        Act::Data(block, data) => {
            let both = [bytes(HEADERS, 4, id, block), bytes(0, 1, id, data)].concat();
            stream.write_all(&both).await
        }
        Act::Frames(frames) => {
            let all: Vec<_> = frames
                .iter()
                .map(|(kind, flags, stream, payload)| {
                    let stream = if *stream == HERE { id } else { *stream };
                    bytes(*kind, *flags, stream, payload)
                })
                .collect();
            stream.write_all(&all.concat()).await
        }
        Act::Text(text) => {
            stream.write_all(text).await?;
            stream.shutdown().await
        }
        Act::Limit(_) => unreachable!("it has a loop of its own"),
        Act::Close => {
            stream.shutdown().await?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}

fn bytes(kind: u8, flags: u8, stream: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("frames here are short")
        .to_be_bytes();
    let start = [length[1], length[2], length[3], kind, flags];
    [&start, &stream[..], payload].concat()
}
