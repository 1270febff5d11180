//! The service in this process, its store behind the proxy.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use actix_web::rt::System as ActixSystem;
use clap::Parser;
use reqwest::{Client, Method, header};
use scimgate::{
    ambient::System,
    app::{self, App, Service},
    config::Settings,
    store::{Store, Waits},
    tenants::{NewTenant, Terms},
};
use serde_json::Value;

use crate::proxy::Proxy;

pub(crate) struct World {
    app: Arc<App>,
    /// Sockets that who had the proxy's port before left behind.
    others: BTreeSet<String>,
    pub(crate) proxy: Proxy,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) tenants: Vec<Tenant>,
    /// Not through the proxy.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) deadline: Duration,
}

pub(crate) struct Tenant {
    pub(crate) tenant: scimgate::tenants::Tenant,
    secret: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

impl Tenant {
    /// Somebody who makes up a secret of it.
    pub(crate) fn stranger(&self, secret: usize) -> Self {
        Self {
            tenant: self.tenant.clone(),
            secret: format!("made-up-{secret}"),
        }
    }
}

impl Answer {
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }
}

impl World {
    /// With so many tenants, and so many seconds for each request; nothing without an Azurite.
    pub(crate) async fn start(tenants: usize, deadline: u64) -> Option<Self> {
        let Some(direct) = azurite() else {
            println!("skipped: AZURITE_CONNECTION_STRING is not set");
            return None;
        };
        let (endpoint, upstream) = {
            let url = direct.split_once("TableEndpoint=").unwrap().1.trim_end_matches(';');
            let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
            (host.to_owned(), format!("http://{host}"))
        };
        let proxy = Proxy::start(&upstream).await;
        let others = sockets(proxy.address).unwrap_or_default();
        let behind = direct.replace(&endpoint, &proxy.address.to_string());
        let table = format!("t{}", fastrand::u64(..));
        let app = App::new(settings(&behind, &table, deadline), Arc::new(System));
        let address = serve(&app);
        let service = app.start(app.over(app::open_store(&app.settings).await.unwrap()));
        let mut all = Vec::new();
        for number in 0..tenants {
            all.push(create(service, &format!("tenant{number}")).await);
        }
        Some(Self {
            others,
            proxy,
            app,
            client: app::http_client().unwrap(),
            address,
            tenants: all,
            store: app::open_store(&settings(&direct, &table, deadline)).await.unwrap(),
            deadline: Duration::from_secs(deadline),
        })
    }

    /// Sends a request; whatever comes is a correct answer.
    pub(crate) async fn send(&self, tenant: &Tenant, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let asked = format!("{method} {path}");
        let url = format!("http://{}/scim/{}{path}", self.address, tenant.tenant.name);
        let mut request = self.client.request(method, url).bearer_auth(&tenant.secret);
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/scim+json")
                .body(body.to_string());
        }
        let began = Instant::now();
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let text = answer.text().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let took = began.elapsed();
        // Not to measure how fast it is: to see that it does not hang.
        assert!(took < 3 * self.deadline, "{asked}: {status} after {took:?}");
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status >= 400 {
            assert_eq!(
                headers[header::CONTENT_TYPE],
                "application/scim+json",
                "{asked}: {text}"
            );
            assert_eq!(
                body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error",
                "{asked}: {text}"
            );
            assert_eq!(body["status"], status.to_string(), "{asked}: {text}");
            assert_eq!(
                headers.contains_key(header::RETRY_AFTER),
                status == 503,
                "{asked}: {text}"
            );
        }
        Answer { status, body, took }
    }

    /// One more tenant.
    pub(crate) async fn create(&self, name: &str) -> Tenant {
        create(self.app.service().unwrap(), name).await
    }

    /// What the service does beside its requests; never ends.
    pub(crate) async fn background(&self) {
        app::finish_left_behind(&self.app, self.app.service().unwrap()).await;
    }

    /// How the service's requests to storage waited since this was asked last.
    pub(crate) fn waits(&self) -> Waits {
        self.app.service().unwrap().store.take_waits()
    }

    /// Sockets of this process to the store by their own addresses, whatever their state; nothing where there is no /proc.
    pub(crate) fn sockets(&self) -> Option<BTreeSet<String>> {
        Some(&sockets(self.proxy.address)? - &self.others)
    }
}

async fn create(service: &Service, name: &str) -> Tenant {
    let new = NewTenant {
        name: name.to_owned(),
        ..NewTenant::default()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let terms = Terms::default();
    let made = service.tenants.create(&new, None, &terms, "test", deadline);
    let (tenant, issued) = made.await.unwrap();
    Tenant {
        tenant,
        secret: issued.secret,
    }
}

/// Whose other end has this address. All processes' are shown, and those of the last minute.
fn sockets(remote: SocketAddr) -> Option<BTreeSet<String>> {
    let tcp = std::fs::read_to_string("/proc/self/net/tcp").ok()?;
    let port = format!(":{:04X}", remote.port());
    let pairs = tcp.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    });
    let found = pairs.filter(|(_, remote)| remote.ends_with(&port));
    Some(found.map(|(own, _)| own.to_owned()).collect())
}

fn settings(connection: &str, table: &str, deadline: u64) -> Settings {
    let deadline = deadline.to_string();
    let line = [
        "scimgate",
        "--store",
        "tables:",
        "--tables-connection",
        connection,
        "--table",
        table,
    ];
    let more = ["--tenant-rate", "0", "--deadline", &deadline];
    CommandLine::parse_from(line.into_iter().chain(more)).settings
}

/// Runs the service in a thread of its own, as `scimgate serve` does, until the process ends.
fn serve(app: &Arc<App>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (give, take) = mpsc::channel();
    let app = Arc::clone(app);
    std::thread::spawn(move || {
        ActixSystem::new().block_on(async move {
            let server = app::run(&app, listener).unwrap();
            give.send(()).unwrap();
            server.await
        })
    });
    take.recv().unwrap();
    address
}

fn azurite() -> Option<String> {
    functions_test_host::process_environment()
        .remove("AZURITE_CONNECTION_STRING")
        .filter(|text| !text.is_empty())
}
