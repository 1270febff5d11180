//! The way out of a network whose machines have none but a forward proxy.

use std::fmt;

use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::endpoint::Endpoint;

/// Bytes of the proxy's answer to CONNECT.
const MAX_ANSWER: usize = 8 * 1024;

/// A forward proxy that is spoken to without TLS, and makes tunnels (RFC 9110 §9.3.6).
#[derive(Clone)]
pub struct Proxy {
    /// Its name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What `Proxy-Authorization` says.
    pub authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Proxy {
    /// Makes a tunnel of a connection to the proxy; the error is for people.
    pub(super) async fn tunnel(&self, mut stream: TcpStream, endpoint: &Endpoint) -> Result<TcpStream, String> {
        let Endpoint { host, port, .. } = endpoint;
        let target = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend([b"proxy-authorization: ", authorization.as_bytes(), b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        stream.write_all(&request).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        // Byte by byte: what comes behind the empty line is the endpoint's.
        while !answer.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) if answer.len() < MAX_ANSWER => answer.push(byte),
                Ok(_) => return Err("its answer to CONNECT has no end".to_owned()),
                Err(error) => return Err(format!("no answer to CONNECT: {error}")),
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        let line = answer.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some(status) if status.len() == 3 && status.starts_with('2') => Ok(stream),
            _ => Err(format!("it answers CONNECT with {line}")),
        }
    }
}
