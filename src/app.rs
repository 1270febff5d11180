//! The composition root: which store, which tenants, which server; and how they start and stop.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::SetOnce,
    time::{Instant, sleep, timeout_at},
};

pub mod admission;
mod azure;
mod background;
mod connections;
mod outgoing;
mod readiness;

pub use azure::{export, http_client, operator, prove_who_we_are};
pub use background::finish_left_behind;

pub use crate::http::run;

use admission::Admission;
use readiness::Readiness;

use crate::{
    ambient::Ambient,
    config::{Settings, StoreSetting},
    directory,
    http::BasePath,
    store::{self, Store, sqlite::SqliteStore},
    tenants::{self, Expiry, NewTenant, Tenants, Terms},
};

/// Pause between two tries to open the store.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

/// One running scimgate.
pub struct App {
    /// What was set.
    pub settings: Settings,
    /// Time and ids.
    pub ambient: Arc<dyn Ambient>,
    base_paths: Vec<BasePath>,
    service: SetOnce<Service>,
    opens_by: Instant,
    draining: AtomicBool,
}

/// What is there once the store is.
pub struct Service {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Who may come in.
    pub tenants: Tenants,
    /// What requests share.
    pub shared: Arc<directory::Shared>,
    /// How much of them is taken in.
    pub admission: Arc<Admission>,
    /// Whether the store answers.
    pub readiness: Readiness,
}

impl App {
    /// An app that has no store yet.
    pub fn new(settings: Settings, ambient: Arc<dyn Ambient>) -> Arc<Self> {
        Arc::new(Self {
            base_paths: settings.base_paths(),
            // So that the other half is left to answer who waited.
            opens_by: Instant::now() + settings.deadline() / 2,
            settings,
            ambient,
            service: SetOnce::new(),
            draining: AtomicBool::new(false),
        })
    }

    /// What this store makes possible, once it is [started](Self::start).
    pub fn over(&self, store: Arc<dyn Store>) -> Service {
        Service {
            tenants: Tenants::new(Arc::clone(&store), Arc::clone(&self.ambient)),
            shared: Arc::default(),
            admission: Arc::default(),
            readiness: Readiness::default(),
            store,
        }
    }

    /// From now on requests are answered.
    pub fn start(&self, service: Service) -> &Service {
        // The first one stays.
        let _ = self.service.set(service);
        self.service.get().expect("it was set")
    }

    /// Where tenants' endpoints stand.
    pub fn base_paths(&self) -> &[BasePath] {
        &self.base_paths
    }

    /// What the store's being there made possible; nothing before.
    pub fn service(&self) -> Option<&Service> {
        self.service.get()
    }

    /// The same, waited for in the first half of a deadline of this process's life: whoever stands in front sends requests as soon as
    /// the port is open, and an instance that is new, or takes over at a deployment, has its store a moment later.
    pub(crate) async fn service_soon(&self) -> Option<&Service> {
        timeout_at(self.opens_by, self.service.wait()).await.ok()
    }

    /// The process is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says that it isn't ready any more, so that front ends send requests elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No retry can heal it: the settings must change.
    Setting(String),
    /// It can't be reached now.
    Store(store::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(text) => f.write_str(text),
            Self::Store(error) => match azure::advice(error) {
                Some(advice) => write!(f, "{error}: {advice}"),
                None => error.fmt(f),
            },
        }
    }
}

impl std::error::Error for OpenError {}

/// Opens the store that is set.
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    match settings.store() {
        StoreSetting::Memory => Ok(Arc::new(SqliteStore::memory().map_err(OpenError::Store)?)),
        StoreSetting::Sqlite(path) => Ok(Arc::new(SqliteStore::open(&path).map_err(OpenError::Store)?)),
        StoreSetting::Tables => azure::open(settings).await,
        StoreSetting::Unknown => Err(OpenError::Setting(
            "SCIMGATE_STORE is none of sqlite:<path>, memory: and tables:".to_owned(),
        )),
    }
}

/// Opens the store, however long that takes: storage that can't be reached is no reason to exit, as the Functions host
/// gives a handler up for good at its third exit.
pub async fn open_store_patiently(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    loop {
        match open_store(settings).await {
            Err(error @ OpenError::Store(_)) if may_heal(settings, &error) => {
                tracing::error!(%error, "the store can't be opened; trying again in {} s", OPEN_AGAIN.as_secs());
                sleep(OPEN_AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// A file that can't be opened is the operator's mistake, and is best seen at once; behind the Functions host nobody
/// would see it, and an exit would make things worse.
fn may_heal(settings: &Settings, error: &OpenError) -> bool {
    let busy = matches!(error, OpenError::Store(store::Error::Busy(_)));
    settings.store() == StoreSetting::Tables || settings.is_custom_handler() || busy
}

/// Makes the tenant that the settings ask for, if it is missing.
pub async fn bootstrap(app: &App, service: &Service) -> Result<(), tenants::Error> {
    let settings = &app.settings;
    let (Some(name), Some(token)) = (&settings.bootstrap_tenant, &settings.bootstrap_token) else {
        return Ok(());
    };
    let new = NewTenant {
        name: name.clone(),
        ..NewTenant::default()
    };
    let terms = Terms {
        label: "bootstrap".to_owned(),
        expires: Some(Expiry::Never),
    };
    let deadline = Instant::now() + settings.deadline();
    match service
        .tenants
        .create(&new, Some(token.clone()), &terms, "bootstrap", deadline)
        .await
    {
        Ok(_) | Err(tenants::Error::NameTaken(_)) => Ok(()),
        // It was renamed or removed since; that is no reason not to serve the others.
        Err(error @ (tenants::Error::SecretTaken | tenants::Error::BeingDeleted(_))) => {
            tracing::warn!(%error, "the bootstrap tenant is not made");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
