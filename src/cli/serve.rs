//! `scimgate serve`: the custom handler.

use std::{convert::Infallible, io::IsTerminal, net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use tokio::time::{Instant, sleep, timeout};

use super::tenant_urls;
use crate::{
    ambient::System,
    app::{self, App, Service},
    config::{Settings, StoreSetting},
    telemetry,
    tenants::{self, NewTenant, Terms},
};

/// Exit code that asks the Functions host to start the process again without counting a failure.
const RESTART: u8 = 200;
/// Ctrl-C: somebody waits for the end.
const INTERRUPT: u8 = 2;
/// From whoever runs the process, behind whatever sends it requests.
const TERMINATE: u8 = 15;
/// How long the end of the process waits for what was counted to be written down.
const COUNTS: Duration = Duration::from_secs(2);

#[derive(Args, Default)]
pub(super) struct Serve {
    /// Print the bodies of requests and responses, which hold personal data; for local debugging, embedded stores only
    #[arg(long)]
    show_bodies: bool,
}

/// Serves until a signal comes. Never returns 0: the Functions host would not start the process again.
pub(super) async fn run(mut settings: Settings, serve: &Serve) -> anyhow::Result<u8> {
    if serve.show_bodies && settings.store() == StoreSetting::Tables {
        bail!("--show-bodies prints personal data: it works with sqlite: and memory: only");
    }
    settings.show_bodies = serve.show_bodies;
    let address = (settings.address, settings.port());
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "can't listen on {}:{} (SCIMGATE_PORT sets another port)",
            address.0, address.1
        )
    })?;
    settings.listens_on(listener.local_addr()?.port());
    let app = App::new(settings, Arc::new(System));
    let identified = Arc::clone(&app);
    tokio::task::spawn_local(async move { app::prove_who_we_are(&identified.settings).await });
    let server = app::run(&app, listener)?;
    let handle = server.handle();
    let mut server = tokio::task::spawn_local(server);
    telemetry::event(
        "ProcessStarted",
        [
            ("startup.ms", telemetry::uptime().as_millis().to_string()),
            ("config", app.settings.fingerprint()),
        ],
    );
    let opening = tokio::task::spawn_local(open(Arc::clone(&app)));
    let mut signals = Signals::new()?;
    let signal = tokio::select! {
        signal = signals.next() => signal,
        ended = &mut server => {
            ended??;
            bail!("the server ended by itself");
        }
        failed = failure(opening) => return Err(failed),
    };
    app.drain();
    telemetry::event("ShutdownStarted", [under_way()]);
    // Who was never ready has nobody to send elsewhere.
    if signal == TERMINATE && app.service().is_some() {
        tokio::select! {
            () = sleep(app.settings.drain()) => {}
            _ = signals.next() => {}
        }
    }
    tokio::select! {
        () = handle.stop(true) => {}
        // Requests under way end with the process: the server hears nothing any more while it waits for them.
        _ = signals.next() => {}
    }
    if let Some(service) = app.service() {
        // Counts are no reason to stay.
        let _ = timeout(COUNTS, service.tenants.write_counts()).await;
    }
    telemetry::event("ShutdownFinished", [under_way()]);
    Ok(if app.settings.is_custom_handler() {
        RESTART
    } else {
        128 + signal
    })
}

/// Requests that are not answered yet.
fn under_way() -> (&'static str, String) {
    ("scim.inflight", telemetry::requests_under_way().to_string())
}

/// Only comes back when the store can never be opened.
async fn failure(opening: tokio::task::JoinHandle<anyhow::Result<Infallible>>) -> anyhow::Error {
    match opening.await {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error,
        Err(panic) => panic.into(),
    }
}

/// The signals that ask to stop, from when this is made: none is missed between two looks.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
        }
    }
}

/// The same where there is only one.
#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> u8 {
        self.0.recv().await;
        INTERRUPT
    }
}

/// Opens the store and looks after it from then on; only ever ends with a failure.
async fn open(app: Arc<App>) -> anyhow::Result<Infallible> {
    let store = app::open_store_patiently(&app.settings).await?;
    let service = app.over(store);
    // Who is known from the settings is never refused; what fails here is met again below.
    let _ = app::bootstrap(&app, &service).await;
    let service = app.start(service);
    loop {
        match prepare(&app, service).await {
            Ok(()) => return Ok(app::finish_left_behind(&app, service).await),
            Err(error @ (tenants::Error::Store(_) | tenants::Error::Format(_))) => {
                tracing::error!(%error, "the first tenant can't be made yet");
                sleep(Duration::from_secs(2)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes the first tenant where one is wanted.
async fn prepare(app: &App, service: &Service) -> Result<(), tenants::Error> {
    app::bootstrap(app, service).await?;
    let settings = &app.settings;
    if settings.is_custom_handler() {
        println!("{}", listens(settings));
        return Ok(());
    }
    let deadline = Instant::now() + settings.deadline();
    if settings.store() == StoreSetting::Tables || !service.tenants.is_empty(deadline).await? {
        say_where(settings);
        return Ok(());
    }
    let new = NewTenant {
        name: "demo".to_owned(),
        title: "Demonstration".to_owned(),
        ..NewTenant::default()
    };
    let terms = Terms {
        label: "demo".to_owned(),
        expires: None,
    };
    match service
        .tenants
        .create(&new, None, &terms, "first start", deadline)
        .await
    {
        Ok((tenant, issued)) => greet(&tenant_urls(settings, &tenant.name), &issued.secret),
        // Another process started at the same moment.
        Err(tenants::Error::NameTaken(_)) => say_where(settings),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn say_where(settings: &Settings) {
    println!(
        "{}\n'scimgate tenant list' shows the tenants, 'scimgate token create <tenant>' makes a new token for one.",
        listens(settings)
    );
}

fn listens(settings: &Settings) -> String {
    let listens = format!("scimgate listens on port {}", settings.port());
    if settings.is_custom_handler() && settings.public_url.is_none() {
        // The address that customers use is the host's, not this port's.
        return listens;
    }
    format!(
        "{listens}; Tenant URLs are {}",
        tenant_urls(settings, "<tenant>").join(" and ")
    )
}

fn greet(urls: &[String], secret: &str) {
    let url = &urls[0];
    let all = urls.join("\n                ");
    let terminal = std::io::stdout().is_terminal();
    let (bold, plain) = if terminal { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!(
        "scimgate is running, with a first tenant 'demo'. This token is shown once.

  {bold}Tenant URL{plain}    {all}
  {bold}Secret token{plain}  {secret}

Try it:

  curl -sS -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/scim+json' \\
    -d '{{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":\"bjensen@example.com\"}}' \\
    '{url}/Users'
"
    );
}
