//! The settings: environment variables, or flags of the same meaning. The only reader of the environment.
#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "the documentation of a setting is what --help prints"
)]

use std::{convert::Infallible, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Command};
use data_encoding::HEXLOWER;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use sha2::{Digest, Sha256};

use crate::http::{BasePath, is_host};

/// Least requests a second that a tenant can be held to: what Microsoft asks of an endpoint in Entra's gallery.
const LEAST_RATE: u32 = 25;

/// The proxy that HTTPS_PROXY or ALL_PROXY name for an https address that NO_PROXY does not except; as curl reads them.
pub fn forward_proxy(address: &Uri) -> Option<Intercept> {
    Matcher::from_env().intercept(address)
}

/// Where the resources are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSetting {
    /// `sqlite:<path>`: one file on a local disk.
    Sqlite(PathBuf),
    /// `memory:`: gone with the process.
    Memory,
    /// `tables:`: Azure Table Storage.
    Tables,
    /// Something else. It is not repeated in the error: it may be a connection string, put into the wrong setting.
    Unknown,
}

impl FromStr for StoreSetting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Self::Sqlite(PathBuf::from(path)),
            Some(("memory", "")) => Self::Memory,
            Some(("tables", "")) => Self::Tables,
            _ => Self::Unknown,
        })
    }
}

/// Their place in the help.
pub const SETTINGS: &str = "Settings";

/// Everything that can be set. Each is an environment variable (an app setting of the Function App) and a flag.
#[derive(Args, Clone)]
#[command(next_help_heading = SETTINGS)]
pub struct Settings {
    /// Where tenants, users and groups are kept: sqlite:<path>, memory: or tables: [default: tables: on Azure, else
    /// sqlite:./scimgate.db]
    #[arg(
        long,
        env = "SCIMGATE_STORE",
        global = true,
        hide_env_values = true,
        value_name = "STORE"
    )]
    pub store: Option<StoreSetting>,

    /// Connection string of the storage account; UseDevelopmentStorage=true means Azurite [default: AzureWebJobsStorage]
    #[arg(
        long,
        env = "SCIMGATE_TABLES_CONNECTION",
        global = true,
        hide_env_values = true,
        value_name = "STRING"
    )]
    pub tables_connection: Option<String>,

    /// Table endpoint of the storage account, used with an identity instead of a connection string:
    /// https://<account>.table.core.windows.net
    #[arg(long, env = "SCIMGATE_TABLES_ENDPOINT", global = true, value_name = "URL")]
    pub tables_endpoint: Option<String>,

    /// Name of the table; made when it is missing
    #[arg(
        long,
        env = "SCIMGATE_TABLE",
        global = true,
        default_value = "scimgate",
        value_name = "NAME"
    )]
    pub table: String,

    /// Scheme and host that customers use, for example https://scim.example.com [default: from the request]
    #[arg(long, env = "SCIMGATE_PUBLIC_URL", global = true, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,

    /// Port on the loopback address [default: FUNCTIONS_CUSTOMHANDLER_PORT under the Functions host, else 8080]
    #[arg(long, env = "SCIMGATE_PORT", global = true, value_name = "PORT")]
    pub port: Option<u16>,

    /// Address to listen on
    #[arg(
        long,
        env = "SCIMGATE_ADDRESS",
        global = true,
        default_value = "127.0.0.1",
        value_name = "IP"
    )]
    pub address: IpAddr,

    /// Base paths of an earlier endpoint that keep working, separated by commas: /api/scim,/api/{tenant}/scim,/api/{any}/scim
    #[arg(
        long,
        env = "SCIMGATE_BASE_PATHS",
        global = true,
        value_delimiter = ',',
        value_name = "PATHS"
    )]
    pub base_paths: Vec<BasePath>,

    /// Believe X-Forwarded-Host and X-Forwarded-Proto; always on under the Functions host
    #[arg(long, env = "SCIMGATE_TRUST_PROXY", global = true, action = clap::ArgAction::SetTrue,
          value_parser = clap::builder::FalseyValueParser::new())]
    pub trust_proxy: bool,

    /// Where customers get help, a URL or an address; named in errors that they can't mend themselves
    #[arg(long, env = "SCIMGATE_SUPPORT", global = true, value_name = "TEXT", value_parser = support)]
    pub support: Option<String>,

    /// Seconds until a request is answered 503 with Retry-After; keep it below every front end's time-out
    #[arg(long, env = "SCIMGATE_DEADLINE", global = true, default_value_t = 15, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=200))]
    pub deadline: u64,

    /// Seconds after a SIGTERM in which requests are still taken while /health/ready says 503: longer than the load balancer
    /// in front needs to notice. Ctrl-C or a second signal ends them; under the Functions host there are none
    #[arg(long, env = "SCIMGATE_DRAIN", global = true, default_value_t = 10, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(0..=600))]
    pub drain: u64,

    /// Requests a second that each tenant may send to each process, twice as many at once; beyond it they are answered 429
    /// with Retry-After. 0 is no limit; 'tenant limit' sets another for one tenant
    #[arg(long, env = "SCIMGATE_TENANT_RATE", global = true, default_value_t = 200, value_name = "RATE", value_parser = rate)]
    pub tenant_rate: u32,

    /// Days for which a deleted user or group can be brought back with 'scimgate restore'; then nothing of it is kept but its
    /// part in the log of changes. 0: not at all
    #[arg(long, env = "SCIMGATE_RETENTION_DAYS", global = true, default_value_t = 30, value_name = "DAYS",
          value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub retention_days: u16,

    /// Days that the log of changes, refusals and operators' deeds is kept, which 'history' shows
    #[arg(long, env = "SCIMGATE_HISTORY_DAYS", global = true, default_value_t = 365, value_name = "DAYS",
          value_parser = clap::value_parser!(u16).range(1..=3_650))]
    pub history_days: u16,

    /// Tenant to make at the start when it is missing; needs SCIMGATE_BOOTSTRAP_TOKEN
    #[arg(
        long,
        env = "SCIMGATE_BOOTSTRAP_TENANT",
        global = true,
        value_name = "NAME",
        requires = "bootstrap_token"
    )]
    pub bootstrap_tenant: Option<String>,

    /// The first secret token of that tenant
    #[arg(
        long,
        env = "SCIMGATE_BOOTSTRAP_TOKEN",
        global = true,
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub bootstrap_token: Option<String>,

    /// Connection string of Application Insights, to which 'serve' then sends its telemetry
    #[arg(
        long,
        env = "APPLICATIONINSIGHTS_CONNECTION_STRING",
        global = true,
        hide_env_values = true,
        value_name = "STRING"
    )]
    pub telemetry_connection: Option<String>,

    /// How to sign in there, as the Functions host is told: Authorization=AAD, with ;ClientId=<id> for a user-assigned
    /// identity [default: the connection string is enough]
    #[arg(
        long,
        env = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        global = true,
        value_name = "STRING"
    )]
    pub telemetry_authentication: Option<String>,

    /// Of 100 fast, successful calls to storage, how many have a row there; requests and failures always have one
    #[arg(long, env = "SCIMGATE_TELEMETRY_SAMPLE", global = true, default_value_t = 10, value_name = "PERCENT",
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub telemetry_sample: u8,

    /// Whether bodies are printed; a flag of `serve`.
    #[arg(skip)]
    pub show_bodies: bool,

    #[arg(long, env = "FUNCTIONS_CUSTOMHANDLER_PORT", global = true, hide = true)]
    functions_port: Option<u16>,

    #[arg(
        long,
        env = "AzureWebJobsStorage",
        global = true,
        hide = true,
        hide_env_values = true
    )]
    web_jobs_storage: Option<String>,

    #[arg(long, env = "WEBSITE_SITE_NAME", global = true, hide = true)]
    site_name: Option<String>,

    #[arg(long, env = "WEBSITE_INSTANCE_ID", global = true, hide = true)]
    instance_id: Option<String>,

    #[arg(long, env = "COMPUTERNAME", global = true, hide = true)]
    computer_name: Option<String>,

    #[arg(long, env = "CONTAINER_NAME", global = true, hide = true)]
    container_name: Option<String>,

    #[arg(long, env = "USER", global = true, hide = true)]
    system_user: Option<String>,

    #[arg(long, env = "AZURE_CONFIG_DIR", global = true, hide = true)]
    azure_config: Option<PathBuf>,

    #[arg(long, env = "HOME", global = true, hide = true)]
    home: Option<PathBuf>,

    #[arg(long, env = "IDENTITY_ENDPOINT", global = true, hide = true)]
    identity_endpoint: Option<String>,

    /// Client id of a user-assigned managed identity [default: the system-assigned one]
    #[arg(long, env = "AZURE_CLIENT_ID", global = true, value_name = "ID")]
    pub identity_client_id: Option<String>,
}

/// The command with the environment's empty variables left out of it: an app setting that is there but empty means the
/// same as none.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment")]
pub fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|argument| {
        let is_empty = argument
            .get_env()
            .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        if is_empty { argument.env(None::<&str>) } else { argument }
    })
}

impl Settings {
    /// The store, set or by where this runs.
    pub fn store(&self) -> StoreSetting {
        match (&self.store, &self.site_name) {
            (Some(store), _) => store.clone(),
            (None, Some(_)) => StoreSetting::Tables,
            (None, None) => StoreSetting::Sqlite(PathBuf::from("./scimgate.db")),
        }
    }

    /// The storage account's connection string, if there is one.
    pub fn tables_connection(&self) -> Option<&str> {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if set(&self.tables_connection) {
            return self.tables_connection.as_deref();
        }
        // An endpoint means an identity; the host's own storage is then none of our business.
        self.web_jobs_storage
            .as_deref()
            .filter(|text| !text.is_empty() && self.tables_endpoint.is_none())
    }

    /// Which setting [`Self::tables_connection`] came from.
    pub fn tables_connection_name(&self) -> &'static str {
        if self.tables_connection.as_ref().is_some_and(|text| !text.is_empty()) {
            "SCIMGATE_TABLES_CONNECTION"
        } else {
            "AzureWebJobsStorage"
        }
    }

    /// Whether this runs as an Azure Functions custom handler.
    pub fn is_custom_handler(&self) -> bool {
        self.functions_port.is_some()
    }

    /// Who runs this process, as the machine says.
    pub fn system_user(&self) -> Option<&str> {
        self.system_user.as_deref()
    }

    /// Where Azure's command line keeps who is signed in.
    pub fn azure_profile(&self) -> Option<PathBuf> {
        let folder = self.azure_config.clone();
        let folder = folder.or_else(|| Some(self.home.as_ref()?.join(".azure")))?;
        Some(folder.join("azureProfile.json"))
    }

    /// Whether Azure offers this process a managed identity.
    pub fn has_managed_identity(&self) -> bool {
        self.identity_endpoint.is_some()
    }

    /// What the platform calls this instance, by the names under which the Functions host looks for it.
    pub fn instance(&self) -> &str {
        let names = [&self.instance_id, &self.computer_name, &self.container_name];
        names.into_iter().flatten().next().map_or("local", String::as_str)
    }

    /// Whether telemetry is sent in the name of an identity, and the client id of a user-assigned one.
    pub fn telemetry_identity(&self) -> Option<Option<&str>> {
        let fields = self.telemetry_authentication.as_deref()?.split(';');
        let fields: Vec<_> = fields.filter_map(|field| field.trim().split_once('=')).collect();
        let is = |wanted: &str| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let by_identity = is("Authorization").is_some_and(|(_, how)| how.eq_ignore_ascii_case("AAD"));
        by_identity.then(|| is("ClientId").map(|(_, id)| *id))
    }

    /// What is set, without anything secret: equal for processes that behave alike.
    pub fn fingerprint(&self) -> String {
        let parts = [
            format!("{:?}", self.store()),
            self.table.clone(),
            format!("{:?} {:?}", self.tables_endpoint, self.public_url),
            self.base_paths().iter().map(ToString::to_string).collect(),
            format!("{} {} {}", self.deadline, self.tenant_rate, self.telemetry_sample),
            format!("{} {:?} {}", self.trusts_proxy(), self.support, self.retention_days),
        ];
        HEXLOWER.encode(&Sha256::digest(parts.join("\n"))[..8])
    }

    /// Whether a hop in front may say what the client's URL was.
    pub fn trusts_proxy(&self) -> bool {
        self.trust_proxy || self.is_custom_handler()
    }

    /// The port to listen on.
    pub fn port(&self) -> u16 {
        self.functions_port.or(self.port).unwrap_or(8080)
    }

    /// What the operating system made of port 0.
    pub fn listens_on(&mut self, port: u16) {
        self.functions_port = self.functions_port.map(|_| port);
        self.port = Some(port);
    }

    /// All base paths; the standard one first.
    pub fn base_paths(&self) -> Vec<BasePath> {
        [&[BasePath::standard()], &self.base_paths[..]].concat()
    }

    /// How long a request may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline)
    }

    /// How long whoever looks at our readiness has to send requests elsewhere before we stop. The Functions host has nowhere
    /// else to send them, and starts us again.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(if self.is_custom_handler() { 0 } else { self.drain })
    }
}

fn public_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let url = host.filter(|host| is_host(host)).map(|_| text.to_owned());
    url.ok_or_else(|| "expected scheme and host, for example https://scim.example.com".to_owned())
}

/// Requests a second: 0 for no limit, or as many as Entra asks for and more.
pub fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| *rate == 0 || *rate >= LEAST_RATE);
    rate.ok_or_else(|| format!("expected a whole number from {LEAST_RATE}, which Entra asks for, or 0 for no limit"))
}

fn support(text: &str) -> Result<String, String> {
    let fits = text.len() <= 200 && text.chars().all(|c| c.is_ascii() && !c.is_control());
    let text = fits.then(|| text.to_owned());
    text.ok_or_else(|| "expected at most 200 ASCII characters".to_owned())
}
