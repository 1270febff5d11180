//! A proxy before a sound service that is wrong on purpose, in one way: what it spoils is answered here, all else by the service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn,
    time::sleep,
};

/// The one token.
pub(crate) const SECRET: &str = "sg_a_secret_that_is_long_enough_for_a_doctor";

/// What is done with a request that is to be spoiled.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// These bytes, and the connection goes on.
    Say(Vec<u8>),
    /// These bytes, a moment, and those.
    SayLate(Vec<u8>, Vec<u8>),
    /// These bytes, and an orderly end.
    SayAndClose(Vec<u8>),
    /// These bytes, and a reset.
    SayAndReset(Vec<u8>),
    /// These bytes, then the service's answer.
    SayFirst(Vec<u8>),
    /// The service's answer, then these bytes at once.
    SayAfter(Vec<u8>),
    /// The service's answer, a moment, and these bytes.
    SayLater(Vec<u8>),
    /// The service's answer, a moment, and these bytes with an orderly end.
    SayLaterAndClose(Vec<u8>),
}

/// Which requests are spoiled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Those with the token whose request line begins so.
    Asked(&'static str),
    /// Those with this header.
    Condition(&'static str),
    /// Those that announce a large body, before it is read.
    Large,
    /// All but the first of a connection.
    Again,
    /// Every connection, before anything is read.
    Connected,
}

#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) when: When,
    pub(crate) act: Act,
}

/// Starts it; it runs until the test process ends.
pub(crate) async fn serve(wrong: Wrong, service: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let wrong = Arc::new(wrong);
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let wrong = Arc::clone(&wrong);
            spawn(async move {
                // A client that goes away is no failure of the proxy.
                drop(relay(stream, &wrong, service).await);
            });
        }
    });
    address
}

/// A request as it came.
pub(crate) struct Asked {
    pub(crate) head: Vec<u8>,
    pub(crate) length: usize,
}

async fn relay(mut stream: TcpStream, wrong: &Wrong, service: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut count = 0;
    if matches!(wrong.when, When::Connected) {
        return act(&mut stream, &wrong.act, b"").await;
    }
    loop {
        let asked = head(&mut stream).await?;
        if asked.head.starts_with(b"PRI ") {
            let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(refusal).await?;
            return stream.shutdown().await;
        }
        count += 1;
        let is_spoiled = match wrong.when {
            When::Asked(line) => {
                asked.head.starts_with(line.as_bytes())
                    && asked.head.windows(SECRET.len()).any(|word| word == SECRET.as_bytes())
            }
            When::Condition(name) => {
                let head = String::from_utf8_lossy(&asked.head).to_ascii_lowercase();
                head.contains(&format!("\r\n{name}: "))
            }
            When::Large => asked.length > 1_000_000,
            When::Again => count > 1,
            When::Connected => false,
        };
        if is_spoiled && matches!(wrong.when, When::Large) {
            return act(&mut stream, &wrong.act, b"").await;
        }
        let mut body = vec![0; asked.length];
        stream.read_exact(&mut body).await?;
        let needs_answer = !matches!(
            wrong.act,
            Act::Say(_) | Act::SayAndClose(_) | Act::SayAndReset(_) | Act::SayLate(..)
        );
        let answer = if is_spoiled && !needs_answer {
            Vec::new()
        } else {
            answer_of(service, &asked, &body).await?
        };
        if is_spoiled {
            act(&mut stream, &wrong.act, &answer).await?;
            if !matches!(
                wrong.act,
                Act::Say(_) | Act::SayLate(..) | Act::SayFirst(_) | Act::SayAfter(_) | Act::SayLater(_)
            ) {
                return Ok(());
            }
        } else {
            stream.write_all(&answer).await?;
        }
    }
}

/// Long enough to be late, and short enough to be within the doctor's silence.
const A_MOMENT: Duration = Duration::from_millis(40);

async fn act(stream: &mut TcpStream, act: &Act, answer: &[u8]) -> io::Result<()> {
    match act {
        Act::Say(bytes) => stream.write_all(bytes).await,
        Act::SayLate(first, then) => {
            stream.write_all(first).await?;
            sleep(A_MOMENT).await;
            stream.write_all(then).await
        }
        Act::SayAndClose(bytes) => {
            stream.write_all(bytes).await?;
            stream.shutdown().await
        }
        Act::SayAndReset(bytes) => {
            stream.write_all(bytes).await?;
            // So that it is read before the reset takes it away.
            sleep(A_MOMENT).await;
            stream.set_zero_linger()
        }
        Act::SayFirst(bytes) => stream.write_all(&[bytes, answer].concat()).await,
        Act::SayAfter(bytes) => stream.write_all(&[answer, bytes].concat()).await,
        Act::SayLater(bytes) => {
            stream.write_all(answer).await?;
            sleep(A_MOMENT).await;
            stream.write_all(bytes).await
        }
        Act::SayLaterAndClose(bytes) => {
            stream.write_all(answer).await?;
            sleep(A_MOMENT).await;
            stream.write_all(bytes).await?;
            stream.shutdown().await
        }
    }
}

pub(crate) async fn head(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("the doctor sends numbers"));
    Ok(Asked { head, length })
}

/// The service's answer, as it came: it closes behind it when asked to.
async fn answer_of(service: SocketAddr, asked: &Asked, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(service).await?;
    let end = asked.head.len() - 2;
    let request = [&asked.head[..end], b"connection: close\r\n\r\n", body].concat();
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer).replace("connection: close\r\n", "");
    Ok(text.into_bytes())
}
