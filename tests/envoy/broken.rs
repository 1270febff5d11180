//! Upstreams that are wrong on purpose, each in one of the ways that a proxy calls a protocol error.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn},
    time::sleep,
};

use crate::proxy::Version;

/// What goes wrong; everything else the upstream answers well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A 204 is followed by a body, when its connection waits for the next request already.
    LateBytes,
    /// A 204 announces a body.
    LengthOf204,
    /// Two `Content-Length`, both right.
    TwoLengths,
    /// The connection ends in the middle of a head.
    HalfAHead,
    /// HTTP/1.1 where HTTP/2 is spoken.
    Text,
    /// A header in HTTP/2 that belongs to a connection.
    ConnectionHeader,
}

pub(crate) const FAULTS: [Fault; 6] = [
    Fault::LateBytes,
    Fault::LengthOf204,
    Fault::TwoLengths,
    Fault::HalfAHead,
    Fault::Text,
    Fault::ConnectionHeader,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::LateBytes => "late_bytes_after_a_204",
            Fault::LengthOf204 => "a_204_with_a_length",
            Fault::TwoLengths => "two_lengths",
            Fault::HalfAHead => "half_a_head",
            Fault::Text => "http_1_text_where_http_2_is_spoken",
            Fault::ConnectionHeader => "an_invalid_http_2_header",
        })
    }
}

impl Fault {
    /// What a proxy that runs into it speaks.
    pub(crate) fn version(self) -> Version {
        match self {
            Fault::Text | Fault::ConnectionHeader => Version::Http2,
            _ => Version::Http1,
        }
    }

    /// Starts an upstream that is wrong in this way.
    pub(crate) async fn serve(self) -> io::Result<(SocketAddr, AbortHandle)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(async move {
                    let ended = match self.version() {
                        Version::Http1 => self.http_1(stream).await,
                        Version::Http2 => self.http_2(stream).await,
                    };
                    // The proxy closes connections that it does not understand.
                    drop(ended);
                });
            }
        });
        Ok((address, serving.abort_handle()))
    }

    /// GETs are answered well, DELETEs are not.
    async fn http_1(self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let head = head(&mut stream).await?;
            if !head.starts_with(b"DELETE") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    .await?;
                continue;
            }
            let answer: &[u8] = match self {
                Fault::LateBytes => b"HTTP/1.1 204 No Content\r\n\r\n",
                Fault::LengthOf204 => b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
                Fault::TwoLengths => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
                _ => b"HTTP/1.1 200 OK\r\ncontent-le",
            };
            stream.write_all(answer).await?;
            match self {
                Fault::LateBytes => {
                    sleep(Duration::from_millis(3)).await;
                    stream.write_all(b"{}").await?;
                }
                Fault::HalfAHead => return stream.shutdown().await,
                _ => {}
            }
        }
    }

    /// One stream in eight is answered badly (RFC 9113 §4.1: a frame is length, type, flags, stream, payload).
    async fn http_2(self, mut stream: TcpStream) -> io::Result<()> {
        stream.read_exact(&mut [0; 24]).await?;
        if self == Fault::Text {
            let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(refusal).await?;
            return stream.shutdown().await;
        }
        stream.write_all(&frame(4, 0, [0; 4], b"")).await?;
        loop {
            let mut start = [0; 9];
            stream.read_exact(&mut start).await?;
            let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await?;
            let id = [start[5], start[6], start[7], start[8]];
            match (start[3], start[4]) {
                // HEADERS; the answer is `:status: 200` (RFC 7541, appendix A) with the end of head and stream.
                (1, _) if id[3] % 16 == 15 => {
                    let header = b"\x88\x00\x0aconnection\x0akeep-alive";
                    stream.write_all(&frame(1, 5, id, header)).await?;
                }
                (1, _) => stream.write_all(&frame(1, 5, id, b"\x88")).await?,
                // SETTINGS, to be acknowledged.
                (4, 0) => stream.write_all(&frame(4, 1, [0; 4], b"")).await?,
                _ => {}
            }
        }
    }
}

/// The next request up to the end of its head; those here have no body.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn frame(kind: u8, flags: u8, stream: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("frames here are short")
        .to_be_bytes();
    let start = [length[1], length[2], length[3], kind, flags];
    [&start, &stream[..], payload].concat()
}
