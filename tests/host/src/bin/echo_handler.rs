//! A custom handler for the test host's own tests: answers what it received as JSON, and misbehaves on command.
//!
//! Environment: `ECHO_START_DELAY` (ms before it listens), `ECHO_START_EXIT` (exits with that code instead),
//! `ECHO_IDLE` (ms after which it closes a connection that has served), `ECHO_UNSOLICITED` (ms after which it sends
//! 408 on a connection that never served), `ECHO_ROOT` (hexadecimal: its answer to `GET /`), `ECHO_ROOT_DELAY` (ms).
//!
//! Request headers: `Echo-If` (`reused`: the others count only on a connection that has served; `first`: only when the
//! target is met for the first time), `Echo-Delay` (ms), `Echo-Raw` (hexadecimal: the answer, byte by byte; `none`: no
//! answer), `Echo-Then` (`close`, `reset`, or a number: the exit code), `Echo-Print`, `Echo-Complain` (a line on
//! stdout, stderr).
//!
//! It prints `METHOD target` for every request, then `answered METHOD target`, or `cancelled METHOD target` when the
//! client went away in a delay, and `unsolicited` after a 408 of its own accord.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

fn main() {
    if let Some(code) = setting("ECHO_START_EXIT") {
        std::process::exit(code.parse().expect("an exit code"));
    }
    thread::sleep(milliseconds(setting("ECHO_START_DELAY")).unwrap_or_default());
    let port = setting("FUNCTIONS_CUSTOMHANDLER_PORT")
        .expect("a port")
        .parse()
        .expect("a port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    for (number, stream) in listener.incoming().enumerate() {
        let stream = stream.expect("a connection");
        thread::spawn(move || serve(stream, number));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the handler's settings are environment variables"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn milliseconds(text: Option<String>) -> Option<Duration> {
    Some(Duration::from_millis(text?.parse().expect("milliseconds")))
}

/// What happens to the connection after a request.
enum Next {
    Keep,
    Close,
    Reset,
}

fn serve(stream: TcpStream, connection: usize) {
    let mut output = stream.try_clone().expect("a second handle");
    let mut input = BufReader::new(stream);
    for served in 0.. {
        let patience = if served == 0 { "ECHO_UNSOLICITED" } else { "ECHO_IDLE" };
        input
            .get_ref()
            .set_read_timeout(milliseconds(setting(patience)))
            .expect("a time-out");
        match input.fill_buf() {
            Ok([]) => return,
            Ok(_) => {}
            Err(error) if served == 0 && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let _ = output.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
                return println!("unsolicited");
            }
            Err(_) => return,
        }
        input.get_ref().set_read_timeout(None).expect("no time-out");
        let Ok(request) = Request::read(&mut input, &mut output) else {
            return;
        };
        match answer(&request, &mut input, &mut output, connection, served) {
            Next::Keep if request.header("connection").is_none_or(|value| value != "close") => {}
            Next::Keep | Next::Close => return,
            Next::Reset => return reset(input.into_inner(), output),
        }
    }
}

fn answer(
    request: &Request,
    input: &mut BufReader<TcpStream>,
    output: &mut TcpStream,
    connection: usize,
    served: usize,
) -> Next {
    println!("{} {}", request.method, request.target);
    let is_first = {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get_or_insert_default().insert(request.target.clone())
    };
    let counts = match request.header("echo-if") {
        Some("reused") => served > 0,
        Some("first") => is_first,
        _ => true,
    };
    let command = |name: &str| request.header(name).filter(|_| counts).map(str::to_owned);
    let is_probe = request.target == "/" && request.header("x-azure-functions-invocationid").is_none();
    let root = |name: &str| setting(name).filter(|_| is_probe);
    if let Some(text) = command("echo-print") {
        println!("{text}");
    }
    if let Some(text) = command("echo-complain") {
        eprintln!("{text}");
    }
    if let Some(delay) = milliseconds(command("echo-delay").or_else(|| root("ECHO_ROOT_DELAY"))) {
        input.get_ref().set_read_timeout(Some(delay)).expect("a time-out");
        let is_gone = match input.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if is_gone {
            println!("cancelled {} {}", request.method, request.target);
            return Next::Close;
        }
    }
    let bytes = match command("echo-raw").or_else(|| root("ECHO_ROOT")).as_deref() {
        Some("none") => Vec::new(),
        Some(hexadecimal) => decode(hexadecimal),
        None => echo(request, connection, served),
    };
    if output.write_all(&bytes).is_err() {
        return Next::Close;
    }
    println!("answered {} {}", request.method, request.target);
    match command("echo-then").as_deref() {
        None => Next::Keep,
        Some("close") => Next::Close,
        Some("reset") => Next::Reset,
        Some(code) => std::process::exit(code.parse().expect("an exit code")),
    }
}

fn echo(request: &Request, connection: usize, served: usize) -> Vec<u8> {
    let environment: serde_json::Map<String, Value> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned().into(),
            )
        })
        .collect();
    let body = json!({
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
        "connection": connection,
        "served": served,
        "pid": std::process::id(),
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
        "directory": std::env::current_dir().expect("a directory"),
        "environment": environment,
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let body = if request.method == "HEAD" { String::new() } else { body };
    (head + &body).into_bytes()
}

fn decode(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).expect("ASCII"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"))
        .collect()
}

/// Ends the connection with a reset: closing with unread data would need the client to have sent some, lingering for
/// no time does not.
fn reset(input: TcpStream, output: TcpStream) {
    drop(output);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        input.set_nonblocking(true).expect("a socket");
        let stream = tokio::net::TcpStream::from_std(input).expect("a socket");
        stream.set_zero_linger().expect("a socket");
    });
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> std::io::Result<Self> {
        let line = text_line(input)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, target) = words.next().zip(words.next()).ok_or(ErrorKind::InvalidData)?;
        let mut request = Self {
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = text_line(input)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            request.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if request.header("expect").is_some() {
            output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.header("transfer-encoding").is_some() {
            loop {
                let size = u64::from_str_radix(&text_line(input)?, 16).map_err(|_| ErrorKind::InvalidData)?;
                input.take(size).read_to_end(&mut request.body)?;
                text_line(input)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok()) {
            request.body = vec![0; length];
            input.read_exact(&mut request.body)?;
        }
        Ok(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

fn text_line(input: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
