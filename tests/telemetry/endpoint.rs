//! A fake of Application Insights' ingestion endpoint. Where `SCIMGATE_ROWS` names a folder it leaves there what came, in a
//! file for each test: `./test infra` runs the queries on it (tests/infra/recorded.py).

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// How long rows may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Ok,
    /// Takes what comes and never answers.
    Hangs,
    /// Takes what comes and answers once it is told to go on.
    Waits,
    /// With this status, always.
    Fails(u16),
    /// The first time it takes nothing, by a 206 that asks for all of it again.
    TakesPart,
}

/// One that runs until the test ends.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    test: String,
}

#[derive(Default)]
struct Seen {
    goes_on: Mutex<bool>,
    going: Condvar,
    envelopes: Mutex<Vec<Value>>,
    heads: Mutex<Vec<String>>,
    changed: Condvar,
    posts: AtomicUsize,
}

impl Endpoint {
    pub(crate) fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, mode, &shared));
            }
        });
        let test = thread::current().name().unwrap_or_default().to_owned();
        Self { address, seen, test }
    }

    /// Lets one that waits answer from now on.
    pub(crate) fn go_on(&self) {
        *self.seen.goes_on.lock().unwrap() = true;
        self.seen.going.notify_all();
    }

    pub(crate) fn connection_string(&self) -> String {
        format!(
            "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=http://{}/;",
            self.address
        )
    }

    /// Uploads that were tried.
    pub(crate) fn posts(&self) -> usize {
        self.seen.posts.load(Ordering::SeqCst)
    }

    /// Request lines and headers of the uploads.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// Everything that came so far.
    pub(crate) fn envelopes(&self) -> Vec<Value> {
        self.seen.envelopes.lock().unwrap().clone()
    }

    /// Everything, as soon as it fulfils a condition.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        let mut envelopes = self.seen.envelopes.lock().unwrap();
        while !is_there(&envelopes) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what} did not come; {} envelopes did: {:#?}",
                envelopes.len(),
                *envelopes
            );
            envelopes = self.seen.changed.wait_timeout(envelopes, left).unwrap().0;
        }
        envelopes.clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let Some(folder) = functions_test_host::process_environment().remove("SCIMGATE_ROWS") else {
            return;
        };
        let path = Path::new(&folder).join(format!("{}.jsonl", self.test));
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        for envelope in self.envelopes() {
            writeln!(file, "{envelope}").unwrap();
        }
    }
}

fn serve(stream: &TcpStream, mode: Mode, seen: &Seen) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        let number = seen.posts.fetch_add(1, Ordering::SeqCst);
        seen.heads.lock().unwrap().push(head);
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        let envelopes = match serde_json::from_str(&text).unwrap() {
            Value::Array(envelopes) => envelopes,
            // The Functions host sends its rows one by one.
            one => vec![one],
        };
        let (status, answer) = match mode {
            Mode::Hangs => {
                thread::park();
                return;
            }
            Mode::TakesPart if number == 0 => {
                let again: Vec<Value> = (0..envelopes.len())
                    .map(|index| serde_json::json!({ "index": index, "statusCode": 503, "message": "" }))
                    .collect();
                let answer = serde_json::json!({ "itemsReceived": again.len(), "itemsAccepted": 0, "errors": again });
                (206, answer.to_string())
            }
            Mode::Fails(status) => (status, "{}".to_owned()),
            Mode::Ok | Mode::TakesPart | Mode::Waits => {
                if mode == Mode::Waits {
                    let goes_on = seen.goes_on.lock().unwrap();
                    drop(seen.going.wait_while(goes_on, |goes_on| !*goes_on).unwrap());
                }
                seen.envelopes.lock().unwrap().extend(envelopes);
                seen.changed.notify_all();
                (200, "{}".to_owned())
            }
        };
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request on a connection: its head, in lower case, and its body.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
