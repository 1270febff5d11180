//! The service under load behind Envoy: a life of a user, again and again, by many clients on one pool of connections.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

/// Clients at once; stray bytes only ever hit another one's request.
pub(crate) const CLIENTS: usize = 24;

pub(crate) const SECRET: &str = "sg_a_secret_that_is_long_enough_for_a_load";

/// Seconds that it is given to tell the proxy that it is about to stop.
const DRAIN: &str = "3";

/// The executable; ends with the value.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Starts one on the file in a folder, which several may share; port 0 is any.
    pub(crate) fn start(folder: &Path, port: u16) -> Result<Service, String> {
        let (store, port) = (format!("sqlite:{}", folder.join("rows.db").display()), port.to_string());
        let child = Command::new(env!("CARGO_BIN_EXE_scimgate"))
            .args([
                "serve",
                "--port",
                &port,
                "--drain",
                DRAIN,
                "--tenant-rate",
                "0",
                "--store",
                &store,
            ])
            .args(["--bootstrap-tenant", "acme", "--bootstrap-token", SECRET])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut service = Service {
            child,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let mut said = BufReader::new(service.child.stdout.take().expect("its output is ours"));
        // The proxy knows the port from before, and asks on it at once: its requests may have their lines first.
        let port = said.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let rest = line.strip_prefix("scimgate listens on port ")?;
            rest.split(';').next()?.parse::<u16>().ok()
        });
        let port = port.ok_or("scimgate ended before it listened")?;
        // One line for each request follows; somebody has to take them.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        service.address.set_port(port);
        Ok(service)
    }

    /// Asks it to stop, as whoever rolls out a new version does.
    pub(crate) fn terminate(&self) -> Result<(), String> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        let told = told.map_err(|error| error.to_string())?;
        told.success()
            .then_some(())
            .ok_or_else(|| "it can't be told".to_owned())
    }

    /// Its exit code, once it has stopped by itself.
    pub(crate) async fn ended(&mut self) -> Result<Option<i32>, String> {
        loop {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => return Ok(status.code()),
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends requests while so many are not enough; the error is the first answer that is not the expected one.
pub(crate) async fn run(
    client: &Client,
    proxy: SocketAddr,
    goes_on: impl Fn(usize) -> bool + Clone + Send + 'static,
) -> Result<usize, String> {
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, sent, goes_on) = (client.clone(), Arc::clone(&sent), goes_on.clone());
        let url = format!("http://{proxy}/scim/acme/Users");
        clients.spawn(async move {
            let mut lives = 0;
            while goes_on(sent.load(Ordering::Relaxed)) {
                let life = Life {
                    client: &client,
                    sent: &sent,
                    url: &url,
                };
                life.live(&format!("user{number}-{lives}")).await?;
                lives += 1;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(sent.load(Ordering::Relaxed))
}

/// Searches with a filter that is sent as it stands: all of the answer.
pub(crate) async fn ask_bare(proxy: SocketAddr, filter: &str) -> Result<String, String> {
    let request = format!(
        "GET /scim/acme/Users?filter={filter} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\
         Connection: close\r\n\r\n"
    );
    let said = async {
        let mut stream = TcpStream::connect(proxy).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await.map(|_| said)
    };
    said.await.map_err(|error: std::io::Error| format!("{filter}: {error}"))
}

struct Life<'a> {
    client: &'a Client,
    sent: &'a AtomicUsize,
    url: &'a str,
}

impl Life<'_> {
    /// Every status that a user's life can bring, three of them without a body.
    async fn live(&self, name: &str) -> Result<(), String> {
        let new = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": name,
        });
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "Replace", "path": "active", "value": "False" }],
        });
        let created = self.ask(Method::POST, "", &[], Some(&new), 201).await?;
        let id = format!("/{}", created["id"].as_str().unwrap_or_default());
        let known = [("if-none-match", "*")];
        let wrong = [("authorization", "Bearer wrong")];
        self.ask(Method::GET, &id, &[], None, 200).await?;
        self.ask(Method::GET, &id, &known, None, 304).await?;
        self.ask(Method::OPTIONS, "", &[], None, 204).await?;
        self.ask(Method::HEAD, &id, &[], None, 200).await?;
        self.ask(Method::PATCH, &id, &[], Some(&patch), 200).await?;
        let filter = format!("?filter=userName%20eq%20%22{name}%22");
        self.ask(Method::GET, &filter, &[], None, 200).await?;
        self.ask(Method::POST, "", &[], Some(&new), 409).await?;
        self.ask(Method::POST, "", &wrong, Some(&new), 401).await?;
        self.ask(Method::DELETE, &id, &[], None, 204).await?;
        self.ask(Method::GET, &id, &[], None, 404).await?;
        self.ask(Method::DELETE, &id, &[], None, 404).await?;
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
        status: u16,
    ) -> Result<Value, String> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let asked = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if headers.iter().all(|(name, _)| *name != "authorization") {
            request = request.bearer_auth(SECRET);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/scim+json")
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| format!("{asked}: {error:?}"))?;
        let came = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| format!("{asked}: {error:?}"))?;
        if came != status {
            return Err(format!("{asked}: {came} instead of {status}: {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}
