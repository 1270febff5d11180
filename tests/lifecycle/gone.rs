//! A client that goes away in the middle of a request: half a request is none, and a whole one is done or not.

use std::{
    convert::Infallible,
    pin::Pin,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    Request,
    body::{Bytes, Frame},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{
    Desk, SECRET, Server, TENANT,
    client::{Scene, members, new_group, new_user, patch},
};

/// Requests of each kind, at each moment, on each way.
const ROUNDS: usize = 12;
/// Clients at once.
const CLIENTS: usize = 16;

/// What a client was about to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Create,
    /// Two values of a user.
    Change,
    /// A group's name, and its first member.
    Join,
    Delete,
}

/// What it has sent when it goes away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Head,
    HalfABody,
    Everything,
}

/// How it goes away.
#[derive(Clone, Copy, Debug)]
enum Way {
    Close,
    Reset,
    /// `RST_STREAM`, on a connection that others use.
    Stream,
}

type Body = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

/// A request that will not be answered.
struct Attempt {
    deed: Deed,
    sent: Sent,
    way: Way,
    name: String,
    method: Method,
    path: String,
    body: String,
}

impl Attempt {
    /// With what it is about, which is made undisturbed.
    async fn new(scene: &Scene, number: usize, deed: Deed, sent: Sent, way: Way) -> Self {
        let name = format!("{deed:?}{number}").to_lowercase();
        let mut place = String::new();
        if deed != Deed::Create {
            let user = scene.write(Method::POST, "/Users", Some(&new_user(&name))).await;
            place = id(&user.unwrap());
        }
        let both = ["displayName", "nickName"].map(|path| json!({ "op": "replace", "path": path, "value": "changed" }));
        let (method, path, body) = match deed {
            Deed::Create => (Method::POST, "/Users".to_owned(), new_user(&name).to_string()),
            Deed::Change => (
                Method::PATCH,
                format!("/Users/{place}"),
                patch(&json!(both)).to_string(),
            ),
            Deed::Delete => (Method::DELETE, format!("/Users/{place}"), String::new()),
            Deed::Join => {
                let group = scene.write(Method::POST, "/Groups", Some(&new_group(&name))).await;
                let add = json!({ "op": "add", "path": "members", "value": [{ "value": place }] });
                let path = format!("/Groups/{}", id(&group.unwrap()));
                (Method::PATCH, path, patch(&json!([add, both[0]])).to_string())
            }
        };
        Self {
            deed,
            sent,
            way,
            name,
            method,
            path,
            body,
        }
    }

    /// What of the body is sent.
    fn part(&self) -> &str {
        &self.body[..match self.sent {
            Sent::Head => 0,
            Sent::HalfABody => self.body.len() / 2,
            Sent::Everything => self.body.len(),
        }]
    }

    /// Sends it, waits at random, mostly not long, and goes away.
    async fn go_away(&self, port: u16, shared: SendRequest<Body>, longest: Duration) {
        let patience = sleep(longest.mul_f64(fastrand::f64().powi(3)));
        if let Way::Stream = self.way {
            return self.reset_stream(shared, patience).await;
        }
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!(
            "{} /scim/{TENANT}{} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: \
             application/scim+json\r\nContent-Length: {}\r\n\r\n{}",
            self.method,
            self.path,
            self.body.len(),
            self.part()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        patience.await;
        if let Way::Reset = self.way {
            stream.set_zero_linger().unwrap();
        }
    }

    async fn reset_stream(&self, mut shared: SendRequest<Body>, patience: impl Future<Output = ()>) {
        let part = Bytes::from(self.part().to_owned());
        let rest = stream::pending().take(usize::from(self.sent != Sent::Everything));
        let body = stream::iter([Ok(Frame::data(part))]).chain(rest);
        let request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("http://localhost/scim/{TENANT}{}", self.path))
            .header("authorization", format!("Bearer {SECRET}"))
            .header("content-type", "application/scim+json")
            .header("content-length", self.body.len())
            .body(StreamBody::new(Box::pin(body) as Pin<Box<_>>));
        shared.ready().await.unwrap();
        tokio::select! {
            // An answer in time is nothing that it would look at.
            answer = shared.send_request(request.unwrap()) => drop(answer.unwrap()),
            () = patience => {}
        }
    }

    /// Whether the deed is done; it is never half done.
    async fn is_done(&self, scene: &Scene) -> bool {
        let user = scene.user(&self.name).await;
        match self.deed {
            Deed::Create => user.is_some(),
            Deed::Delete => user.is_none(),
            Deed::Change => user.unwrap()["displayName"] == "changed",
            Deed::Join => {
                let group = scene.read(&self.path).await.unwrap();
                let (is_named, has_member) = (group["displayName"] == "changed", !members(&group).is_empty());
                assert_eq!(is_named, has_member, "half a change: {group}");
                assert_eq!(user.unwrap().get("groups").is_some(), has_member);
                is_named
            }
        }
    }
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_complete_write_or_none() {
    let desk = Desk::sqlite();
    let server = Server::start(&desk, "SCIMGATE_PORT");
    let scene = Scene::new(format!("http://127.0.0.1:{}", server.port));
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let (shared, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let mut connection = tokio::spawn(connection);
    let (mut attempts, began) = (Vec::new(), Instant::now());
    for deed in [Deed::Create, Deed::Change, Deed::Join, Deed::Delete] {
        for sent in [Sent::Head, Sent::HalfABody, Sent::Everything] {
            for way in [Way::Close, Way::Reset, Way::Stream] {
                // A DELETE has nothing but a head.
                let rounds = if deed == Deed::Delete && sent != Sent::Everything {
                    0
                } else {
                    ROUNDS
                };
                for _ in 0..rounds {
                    attempts.push(Attempt::new(&scene, attempts.len(), deed, sent, way).await);
                }
            }
        }
    }
    // What was made for one took about as long as one takes; that many at once take longer.
    let longest = began.elapsed() / u32::try_from(attempts.len() / CLIENTS).unwrap();
    fastrand::shuffle(&mut attempts);
    let gone = attempts
        .iter()
        .map(|attempt| attempt.go_away(server.port, shared.clone(), longest));
    let gone = stream::iter(gone).buffer_unordered(CLIENTS).collect::<()>();
    tokio::select! {
        biased;
        ended = &mut connection => panic!("the others on the connection lose it: {ended:?}"),
        () = gone => {}
    }
    // What was under way still is over then.
    drop(server);
    let server = Server::start(&desk, "SCIMGATE_PORT");
    *scene.origin.lock().unwrap() = format!("http://127.0.0.1:{}", server.port);
    let mut counts = [0; 2];
    for attempt in &attempts {
        let is_done = attempt.is_done(&scene).await;
        let Attempt { deed, sent, way, .. } = attempt;
        assert!(!is_done || *sent == Sent::Everything, "{deed:?} by {sent:?}, {way:?}");
        counts[usize::from(is_done)] += 1;
    }
    desk.is_sound();
    let [not, done] = counts;
    assert!(done > 0, "nobody was late enough");
    println!(
        "{} clients went away: {done} writes are done, {not} are not, 0 by half; {} had sent everything",
        attempts.len(),
        attempts
            .iter()
            .filter(|attempt| attempt.sent == Sent::Everything)
            .count(),
    );
}
