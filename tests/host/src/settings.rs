//! host.json, local.settings.json and app settings, read and checked as the host does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::command_line;
use crate::config::Config;
use crate::log::Level;
use crate::row::Rows;
use crate::{Error, Mode};

/// How long the handler may take until it answers.
const DEFAULT_INITIALIZATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The time a function may run outside a Consumption plan.
const DEFAULT_FUNCTION_TIMEOUT: Duration = Duration::from_mins(30);

/// Kestrel's body limit as the host sets it, bytes.
const DEFAULT_BODY_LIMIT: u64 = 104_857_600;

/// What host.json and the app settings say.
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) mode: Mode,
    /// `enableForwardingHttpRequest` itself: the readiness probe follows redirects only without it.
    pub(crate) forwarding: bool,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) stderr_for_errors_only: bool,
    pub(crate) initialization_timeout: Duration,
    pub(crate) port: Option<u16>,
    pub(crate) route_prefix: String,
    /// `None`: unbounded.
    pub(crate) function_timeout: Option<Duration>,
    pub(crate) max_outstanding: Option<usize>,
    pub(crate) max_concurrent: Option<usize>,
    /// The lowest level of the handler's lines that passes.
    pub(crate) console_level: Level,
    /// The host's own rows; `None` where no connection string asks for them.
    pub(crate) rows: Option<Arc<Rows>>,
    /// The allow list `functions`.
    pub(crate) functions: Option<Vec<String>>,
    pub(crate) body_limit: u64,
    pub(crate) homepage: bool,
    /// The host's environment, which the handler inherits.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `root`. `environment` is the host's process environment; `address` is where the host listens.
    pub(crate) fn load(
        root: &Path,
        mode: Option<Mode>,
        environment: &BTreeMap<String, String>,
        address: SocketAddr,
    ) -> Result<Self, Error> {
        let environment = host_environment(root, mode, environment, address)?;
        let file = root.join("host.json");
        let invalid = |problem: String| Error::Invalid {
            file: file.clone(),
            problem,
        };
        let host_json = read_json(&file)?;
        if host_json.get("version").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid("'version' must be exactly \"2.0\"".into()));
        }
        let config = Config::new(&host_json, &environment);
        Self::parse(root, &config, environment).map_err(invalid)
    }

    fn parse(root: &Path, config: &Config, environment: BTreeMap<String, String>) -> Result<Self, String> {
        if config.has("customhandler:http:routes") {
            return Err("customHandler.http.routes is not imitated: write function.json files".into());
        }
        let proxying = config.flag("customhandler:enableproxyinghttprequest", false)?;
        let forwarding = config.flag("customhandler:enableforwardinghttprequest", false)?;
        let mode = match (proxying, forwarding) {
            (true, _) => Mode::Proxy,
            (false, true) => Mode::Forward,
            (false, false) => {
                return Err(
                    "neither enableProxyingHttpRequest nor enableForwardingHttpRequest is true, so requests \
                            would go out in JSON mode, which is not imitated"
                        .into(),
                );
            }
        };
        let (program, arguments, directory) = command(root, config, &environment)?;
        let unlimited = |path: &str| {
            config
                .integer(path)
                .map(|value| value.and_then(|n| usize::try_from(n).ok()))
        };
        let allowed = config.list("functions")?;
        Ok(Self {
            root: root.to_owned(),
            mode,
            forwarding,
            program,
            arguments,
            directory,
            stderr_for_errors_only: config.flag("customhandler:description:usestderrorstreamforerrorsonly", true)?,
            initialization_timeout: config
                .span("customhandler:initializationtimeout", DEFAULT_INITIALIZATION_TIMEOUT)?,
            port: fixed_port(config)?,
            route_prefix: config
                .text("extensions:http:routeprefix")
                .unwrap_or("api")
                .trim_matches('/')
                .to_owned(),
            function_timeout: match config.text("functiontimeout") {
                Some("-1") => None,
                _ => Some(config.span("functiontimeout", DEFAULT_FUNCTION_TIMEOUT)?),
            },
            max_outstanding: unlimited("extensions:http:maxoutstandingrequests")?,
            max_concurrent: unlimited("extensions:http:maxconcurrentrequests")?,
            console_level: level(config, "host.function.console")?,
            rows: Rows::new(&environment, level(config, "host.results")?).map(Arc::new),
            functions: config.has("functions").then_some(allowed),
            body_limit: match environment.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") {
                Some(text) => text
                    .parse()
                    .map_err(|_| "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is not a number")?,
                None => DEFAULT_BODY_LIMIT,
            },
            homepage: !is_true(environment.get("AzureWebJobsDisableHomepage")),
            environment,
        })
    }

    /// Whether an app setting switches the function off.
    pub(crate) fn disables(&self, function: &str) -> bool {
        is_true(self.environment.get(&format!("AzureWebJobs.{function}.Disabled")))
    }
}

pub(crate) fn read_json(file: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| Error::Invalid {
        file: file.to_owned(),
        problem: error.to_string(),
    })
}

fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
}

/// The process environment, the values of local.settings.json it does not set, and what core tools add.
fn host_environment(
    root: &Path,
    mode: Option<Mode>,
    environment: &BTreeMap<String, String>,
    address: SocketAddr,
) -> Result<BTreeMap<String, String>, Error> {
    let mut environment = environment.clone();
    if let Some(mode) = mode {
        for (flag, value) in [("Proxying", mode == Mode::Proxy), ("Forwarding", mode == Mode::Forward)] {
            let name = format!("AzureFunctionsJobHost__customHandler__enable{flag}HttpRequest");
            environment.retain(|other, _| !other.eq_ignore_ascii_case(&name));
            environment.insert(name, value.to_string());
        }
    }
    let file = root.join("local.settings.json");
    if file.exists() {
        let settings = read_json(&file)?;
        if settings.get("IsEncrypted").and_then(Value::as_bool) == Some(true) {
            return Err(Error::Invalid {
                file,
                problem: "encrypted settings are not imitated".into(),
            });
        }
        for (name, value) in settings.get("Values").and_then(Value::as_object).into_iter().flatten() {
            let Some(value) = value.as_str() else {
                return Err(Error::Invalid {
                    file,
                    problem: format!("Values.{name} is not a string"),
                });
            };
            environment.entry(name.clone()).or_insert_with(|| value.to_owned());
        }
    }
    for (name, value) in [
        ("WEBSITE_HOSTNAME", format!("localhost:{}", address.port())),
        ("AzureWebJobsScriptRoot", root.display().to_string()),
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Development".to_owned()),
    ] {
        environment.entry(name.to_owned()).or_insert(value);
    }
    Ok(environment)
}

/// `customHandler.description` as program, arguments and working directory.
fn command(
    root: &Path,
    config: &Config,
    environment: &BTreeMap<String, String>,
) -> Result<(PathBuf, Vec<String>, PathBuf), String> {
    if !config.has("customhandler:description") {
        return Err("Missing worker Description.".into());
    }
    let value = |name: &str| {
        config
            .text(&format!("customhandler:description:{name}"))
            .map(|text| command_line::expand(text, environment))
    };
    let path = value("defaultexecutablepath").filter(|path| !path.is_empty());
    let path = PathBuf::from(path.ok_or("WorkerDescription.DefaultExecutablePath cannot be empty")?);
    // `join` leaves an absolute path as it is.
    let found = root.join(value("workerdirectory").unwrap_or_default()).join(&path);
    let arguments = command_line::arguments(
        &config.list("customhandler:description:arguments")?,
        value("defaultworkerpath").as_deref(),
        &config.list("customhandler:description:workerarguments")?,
        environment,
    );
    let directory = root.join(value("workingdirectory").unwrap_or_default());
    Ok((if found.is_file() { found } else { path }, arguments, directory))
}

fn fixed_port(config: &Config) -> Result<Option<u16>, String> {
    config
        .integer("customhandler:port")?
        .map(|port| u16::try_from(port).map_err(|_| format!("customHandler.port: {port} is not a port")))
        .transpose()
}

/// The level of the longest prefix of a category in `logging.logLevel`, else `default`'s.
fn level(config: &Config, category: &str) -> Result<Level, String> {
    let mut best = (0, Level::Information);
    for (named, level) in config.below("logging:loglevel") {
        let length = match named {
            "default" => 1,
            _ if category.starts_with(named) => named.len() + 1,
            _ => continue,
        };
        if length > best.0 {
            best = (
                length,
                Level::parse(level).ok_or_else(|| format!("logging.logLevel: unknown level '{level}'"))?,
            );
        }
    }
    Ok(best.1)
}
