//! The services under test: started when the first case needs one, shared by all cases, stopped at the end.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{dev::ServerHandle, rt::System as ActixSystem};
use clap::Parser;
use functions_test_host::{Host, Mode, Options};
use scimgate::{
    ambient::{Skewed, System},
    app::{self, App},
    config::Settings,
    store::Store,
    tenants::Tenants,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

use crate::envoy::{Envoy, Version};

/// How long a service may take until it is ready.
const START_TIME: Duration = Duration::from_secs(30);

/// Where the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A file in a temporary folder.
    Sqlite,
    /// A table of its own on Azurite.
    Tables,
}

/// How requests reach the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// The service runs in this process.
    Direct,
    /// The executable runs behind the Functions host, which passes requests on as a proxy.
    Proxy,
    /// The executable runs behind the Functions host, which builds requests anew.
    Forward,
    /// The service runs in this process, behind an Envoy that speaks this version to it and retries nothing.
    Envoy(Version),
}

/// The settings beside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setup {
    Standard,
    /// An earlier endpoint's base paths, with and without the tenant in them.
    BasePaths,
    /// The public URL is set.
    PublicUrl,
    /// What a proxy says is believed.
    TrustProxy,
    /// The vendor says where its customers get help.
    Support,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Sqlite, Kind::Tables];
pub(crate) const WAYS: [Way; 5] = [
    Way::Direct,
    Way::Proxy,
    Way::Forward,
    Way::Envoy(Version::Http1),
    Way::Envoy(Version::Http2),
];
pub(crate) const PUBLIC_URL: &str = "https://scim.example.com";
pub(crate) const SUPPORT: &str = "https://example.com/help";

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Sqlite => "sqlite",
            Kind::Tables => "tables",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Direct => "direct",
            Way::Proxy => "proxy",
            Way::Forward => "forward",
            Way::Envoy(Version::Http1) => "envoy-h1",
            Way::Envoy(Version::Http2) => "envoy-h2",
        })
    }
}

/// Behind an Envoy, whichever version it speaks.
pub(crate) const ENVOY: Way = Way::Envoy(Version::Http1);

impl Way {
    /// Whether a case can't tell the two apart.
    pub(crate) fn is_like(self, other: Way) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The Functions host's mode; none without that host.
    pub(crate) fn mode(self) -> Option<Mode> {
        match self {
            Way::Direct | Way::Envoy(_) => None,
            Way::Proxy => Some(Mode::Proxy),
            Way::Forward => Some(Mode::Forward),
        }
    }
}

impl Setup {
    fn settings(self) -> Vec<(&'static str, String)> {
        match self {
            Setup::Standard => Vec::new(),
            Setup::BasePaths => vec![(
                "base-paths",
                "/api/scim,/api/{tenant}/scim/v2,/tenants/{any}/scim,/".to_owned(),
            )],
            Setup::PublicUrl => vec![("public-url", PUBLIC_URL.to_owned())],
            Setup::TrustProxy => vec![("trust-proxy", String::new())],
            Setup::Support => vec![("support", SUPPORT.to_owned())],
        }
    }
}

/// One service under test.
pub(crate) struct World {
    pub(crate) way: Way,
    pub(crate) address: SocketAddr,
    /// Where clients find the service, as it should say itself.
    pub(crate) origin: String,
    /// With `direct` the service's own, so that what is done here is in force there at once.
    pub(crate) tenants: Tenants,
    store: Arc<dyn Store>,
    settings: Vec<(&'static str, String)>,
    running: Running,
    _folder: TempDir,
}

/// What has to be stopped.
pub(crate) enum Running {
    Thread(ServerHandle, JoinHandle<std::io::Result<()>>),
    Host(Host),
    Behind(Envoy, Box<Running>),
}

impl Running {
    /// Ends it, and says what an Envoy found wrong with it.
    pub(crate) async fn stop(self) -> Vec<String> {
        match self {
            Running::Thread(handle, thread) => {
                handle.stop(false).await;
                let ended = thread.join();
                assert!(matches!(ended, Ok(Ok(()))), "the service ended with {ended:?}");
                Vec::new()
            }
            Running::Host(host) => {
                host.stop().await;
                Vec::new()
            }
            Running::Behind(envoy, service) => {
                let findings = envoy.stop().await;
                Box::pin(service.stop()).await;
                println!("behind Envoy: {findings}");
                findings.faults()
            }
        }
    }
}

impl World {
    async fn start(kind: Kind, way: Way, setup: Setup) -> Result<World, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut settings = setup.settings();
        settings.extend(store(kind, folder.path())?);
        // Cases send as fast as they can.
        settings.push(("tenant-rate", "0".to_owned()));
        let (running, address, tenants, store) = match way.mode() {
            None => {
                let app = App::new(parse(&settings), Arc::new(System));
                let (running, address) = serve(&app);
                let store = app::open_store(&app.settings)
                    .await
                    .map_err(|error| error.to_string())?;
                let tenants = app.start(app.over(Arc::clone(&store))).tenants.clone();
                let (running, address) = match way {
                    Way::Envoy(version) => {
                        let envoy = Envoy::start(&[address], version, false).await?;
                        let address = envoy.address;
                        (Running::Behind(envoy, Box::new(running)), address)
                    }
                    _ => (running, address),
                };
                (running, address, tenants, store)
            }
            Some(mode) => {
                let host = host(mode, &settings).await?;
                let address = host.address();
                let store = app::open_store(&parse(&settings))
                    .await
                    .map_err(|error| error.to_string())?;
                let tenants = Tenants::new(Arc::clone(&store), Arc::new(System));
                (Running::Host(host), address, tenants, store)
            }
        };
        let origin = match setup {
            Setup::PublicUrl => PUBLIC_URL.to_owned(),
            _ => format!("http://{address}"),
        };
        let world = World {
            way,
            address,
            origin,
            tenants,
            store,
            settings,
            running,
            _folder: folder,
        };
        world.until_ready().await?;
        Ok(world)
    }

    /// A service over this store, reached as with [`Setup::PublicUrl`].
    pub(crate) async fn over(store: Arc<dyn Store>) -> Result<World, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let settings = Setup::PublicUrl.settings();
        let app = App::new(parse(&settings), Arc::new(System));
        let (running, address) = serve(&app);
        let tenants = app.start(app.over(Arc::clone(&store))).tenants.clone();
        let world = World {
            way: Way::Direct,
            address,
            origin: PUBLIC_URL.to_owned(),
            tenants,
            store,
            settings,
            running,
            _folder: folder,
        };
        world.until_ready().await?;
        Ok(world)
    }

    /// Where the rows are, as an operator's command reaches them.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// An operator whose clock is slow by this much: what is announced and comes into force later is in force by now.
    pub(crate) fn operator(&self, slow: time::Duration) -> Tenants {
        Tenants::new(Arc::clone(&self.store), Arc::new(Skewed(Arc::new(System), -slow)))
    }

    /// What an operator's command prints as JSON that is given this on standard input: the executable, on the service's store.
    pub(crate) async fn command(&self, words: &[&str], input: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command
            .args(words)
            .arg("--json")
            .env_clear()
            .envs(environment(&self.settings))
            // Many work at once here.
            .env("SCIMGATE_DEADLINE", "200");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the executable starts");
        let mut stdin = child.stdin.take().expect("it has a standard input");
        let (written, output) = tokio::join!(
            async move { stdin.write_all(input.as_bytes()).await },
            child.wait_with_output(),
        );
        let output = output.expect("the executable ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{words:?}: {said} {}",
            String::from_utf8_lossy(&output.stdout)
        );
        written.expect("the executable reads its input");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    async fn until_ready(&self) -> Result<(), String> {
        let url = format!("http://{}/health/ready", self.address);
        let ready = async {
            while !matches!(crate::http_client().get(&url).send().await, Ok(answer) if answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(START_TIME, ready).await.is_ok() {
            return Ok(());
        }
        Err(format!("not ready after {} s\n{}", START_TIME.as_secs(), self.log()))
    }

    /// What the host and the handler behind it wrote.
    fn log(&self) -> String {
        match &self.running {
            Running::Thread(..) | Running::Behind(..) => String::new(),
            Running::Host(host) => format!("{:#?}", host.log()),
        }
    }
}

/// What sets the store, as (setting, value).
fn store(kind: Kind, folder: &Path) -> Result<Vec<(&'static str, String)>, String> {
    Ok(match kind {
        Kind::Sqlite => vec![("store", format!("sqlite:{}", folder.join("rows.db").display()))],
        Kind::Tables => vec![
            ("store", "tables:".to_owned()),
            ("tables-connection", azurite().ok_or(NO_AZURITE)?.to_owned()),
            ("table", format!("t{}", unique())),
        ],
    })
}

/// Why nothing runs on tables.
pub(crate) const NO_AZURITE: &str = "AZURITE_CONNECTION_STRING is not set, so nothing runs on tables";

/// The connection string of the Azurite that `./test` starts.
pub(crate) fn azurite() -> Option<&'static str> {
    static AZURITE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    AZURITE
        .get_or_init(|| {
            functions_test_host::process_environment()
                .remove("AZURITE_CONNECTION_STRING")
                .filter(|text| !text.is_empty())
        })
        .as_deref()
}

/// A word that no other run uses. The standard library's hash keys are random.
pub(crate) fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}

/// Settings as the command line gives them.
pub(crate) fn parse(settings: &[(&'static str, String)]) -> Settings {
    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        settings: Settings,
    }
    let flags = settings.iter().map(|(name, value)| match value.as_str() {
        "" => format!("--{name}"),
        value => format!("--{name}={value}"),
    });
    CommandLine::parse_from(std::iter::once("scimgate".to_owned()).chain(flags)).settings
}

/// Runs the service in a thread of its own, as `scimgate serve` runs it.
pub(crate) fn serve(app: &Arc<App>) -> (Running, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let (give, take) = mpsc::channel();
    let app = Arc::clone(app);
    let thread = std::thread::spawn(move || {
        ActixSystem::new().block_on(async move {
            let server = app::run(&app, listener)?;
            give.send(server.handle()).expect("somebody waits for it");
            server.await
        })
    });
    let handle = take.recv().expect("the server starts");
    (Running::Thread(handle, thread), address)
}

/// Settings as an executable is told them.
fn environment(settings: &[(&'static str, String)]) -> BTreeMap<String, String> {
    let variable = |(name, value): &(&str, String)| {
        let name = format!("SCIMGATE_{}", name.replace('-', "_").to_uppercase());
        let value = if value.is_empty() { "1" } else { value };
        (name, value.to_owned())
    };
    settings.iter().map(variable).collect()
}

/// Runs the executable behind the host, with the product's own host.json and functions, and with these app settings.
pub(crate) async fn host(mode: Mode, settings: &[(&'static str, String)]) -> Result<Host, String> {
    let program = "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath";
    let mut environment = environment(settings);
    environment.insert(program.to_owned(), env!("CARGO_BIN_EXE_scimgate").to_owned());
    let options = Options {
        mode: Some(mode),
        environment,
        ..Options::new(env!("CARGO_MANIFEST_DIR"))
    };
    Host::start(options).await.map_err(|error| error.to_string())
}

type Cell = Arc<OnceCell<Result<Arc<World>, String>>>;

/// All services of this run.
#[derive(Default)]
pub(crate) struct Worlds(Mutex<BTreeMap<(Kind, Way, Setup), Cell>>);

impl Worlds {
    /// The service, started if nobody needed it before. The error is why it did not start.
    pub(crate) async fn world(&self, kind: Kind, way: Way, setup: Setup) -> Result<Arc<World>, String> {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry((kind, way, setup)).or_default())
        };
        let start = async || World::start(kind, way, setup).await.map(Arc::new);
        cell.get_or_init(start).await.clone()
    }

    /// Stops all of them; nobody may use them any more. Says what Envoys found wrong with those behind them.
    pub(crate) async fn stop(self) -> Vec<String> {
        let mut faults = Vec::new();
        for cell in self
            .0
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .into_values()
        {
            let world = Arc::into_inner(cell).and_then(OnceCell::into_inner);
            if let Some(Ok(world)) = world
                && let Some(world) = Arc::into_inner(world)
            {
                faults.extend(world.running.stop().await);
            }
        }
        faults
    }
}
