//! The command line: what can be said, one file a command.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    ambient::{Ambient, System},
    app,
    config::{SETTINGS, Settings, StoreSetting, without_empty_variables},
    directory::{Denied, Directory},
    store::Store,
    telemetry,
    tenants::{self, Access, Catalogs, Tenant, Tenants},
};

mod changed;
mod check;
mod doctor;
mod erase;
mod explain;
mod export;
mod history;
mod import;
mod input;
mod load;
mod purge;
mod restore;
mod schema;
mod serve;
mod show;
mod subject;
mod tenant;
mod token;

/// Exit code of who was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// SCIM 2.0 for SaaS vendors, on Azure Functions and Table Storage.
#[derive(Parser)]
#[command(name = "scimgate", version, about, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve SCIM requests; the default
    Serve(serve::Serve),
    /// Make, show, rename, pause and remove tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Make, show, revoke and import secret tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Set, show and remove a tenant's own attributes: extension schemas
    #[command(subcommand)]
    Schema(schema::Command),
    /// Tell what happened to a user: never sent, refused, done and undone, or done, with every request that did it
    ///
    /// First the answer; then what is there now, and every change in order with who did it and the Reference of the request,
    /// membership by membership, and what was refused; last the query that finds the same person's requests in Application
    /// Insights.
    /// With --all instead everything in the log: changes, refusals, and what operators did to the tenant and its tokens;
    /// with --json one JSON object a line. Values are not shown; --names shows what the user and groups are called.
    History(history::History),
    /// Take over users and groups from another service: ids, times, memberships and managers as they are
    ///
    /// One JSON object a line: a User, a Group, or what this tenant's schemas add to them; {"userName": "bjensen@example.com"} is
    /// enough. An id stays what the identity provider has remembered. Every line is checked before the first one is written. What
    /// is there already with the same content is left alone: whatever cut an import off, the same command goes on, and a second
    /// import changes nothing. The exit code is 0 when everything in the file is in the tenant, or could be, and 1 when a line is in
    /// conflict.
    Import(import::Import),
    /// Look whether a tenant's rows fit together, also while it is in use; changes nothing
    ///
    /// Every row is read: each membership must stand on both sides, what it links must be there, every value must have its
    /// index row, and so on. What seems wrong is looked at again until it is certain. The exit code is 0 when everything is
    /// sound, 1 when something is not, or when the check could not be finished.
    Check(check::Check),
    /// Mend what 'check' finds, also while the tenant is in use
    ///
    /// Changes of memberships that are still pending are finished; what anybody writes meanwhile is never undone, and every
    /// change is written down as an event. What a person must decide is left and shown, for example two users of one
    /// userName. The exit code is 0 when everything is sound in the end, else 1; with --dry-run as for 'check'.
    Repair(check::Repair),
    /// Print the keyed hash by which a person's requests are found in Application Insights (scim.subject)
    ///
    /// Telemetry has nobody's name. It has a hash of the userName, or of the externalId where a request says no more, made
    /// with a key of the tenant's own. Query 23 takes it and shows what was sent about that person, refused requests among it.
    Subject(subject::Subject),
    /// Bring a deleted user or group back, with its memberships
    ///
    /// What was deleted is kept for 30 days, or as many as the setting says; --list shows it. It comes back with its id, its values and its
    /// memberships, as far as those groups and members are still there, and with a new version. The identity provider is not
    /// told; when it provisions that person again, its look-up finds the account. A restore that was cut off goes on when the
    /// command is given again. The exit code is 0 when it is back, else 1.
    Restore(restore::Restore),
    /// Remove a person at once and for good: the user, deleted or not, and everything that is kept of it but ids and times
    ///
    /// The log keeps keyed hashes of names until its time is over. Whoever is still in the identity provider's scope comes back
    /// with its next cycle: take the person out of it first.
    Erase(erase::Erase),
    /// Write a backup of a tenant, or of the whole store: everything that a restore needs, while others go on writing
    ///
    /// Users, groups, memberships, what is deleted and kept, schemas, versions, the log, and the hashes of credentials. Whoever
    /// has the file has all personal data in it, so it is made for its owner's eyes only (mode 0600); keep it like the store
    /// itself. Without --output it goes to standard output, for a program that encrypts it. With --all the exit code
    /// is 3 when a tenant could not be read: it is named, and the file is a whole backup of the others.
    Export(export::Export),
    /// Load a backup that 'export' made: all of it into an empty store, or one tenant that is not there
    ///
    /// The file is read to its end before anything is written, so one that was cut off is refused. When loading itself is cut
    /// off, the same command goes on with it. A tenant takes requests when all of it is there, with its old tokens. The exit
    /// code is 0 when everything is sound, 1 when something is not.
    Load(load::Load),
    /// Remove what nobody needs any more: deleted users and groups whose retention is over, events older than they are kept, and
    /// what requests have left behind
    ///
    /// Every running service does this now and then by itself; nothing else need call it.
    Purge(purge::Purge),
    /// Say who wrote an error in a provisioning log, what it means, and what to look at next
    ///
    /// Takes the text, for example: scimgate explain '502 bad gateway: upstream connect error or disconnect/reset before
    /// headers. retried and the latest reset reason: protocol error'. With --log it takes a whole provisioning log, counts
    /// causes over time, and lists the rows that never reached the application; with a second one it compares the two. Works
    /// for any SCIM endpoint, and prints no names of persons.
    Explain(explain::Explain),
    /// Examine a SCIM endpoint from outside, ours or any other: what is wrong with it on the wire, and as Entra uses it
    ///
    /// Every byte of every answer is read, over TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, with connections used again at once, left alone,
    /// and shared by many requests. Then a test user lives its life as Entra lives it. Each finding says what was seen, which hop
    /// wrote it, what it causes and what to do. At most 5,000 requests, at most 25 a second, and once 50 together. The exit code
    /// is 0 when nothing is wrong, 1 when errors are found, 3 when only warnings are, 2 when that can't be said.
    Doctor(doctor::Doctor),
}

impl Cli {
    /// What was said, on the command line and in the environment; ends the process when it makes no sense.
    pub fn read() -> Self {
        let mut command = without_empty_variables(Self::command());
        command.build();
        command.get_subcommands_mut().for_each(without_settings);
        let matches = command.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// Settings stand in the help of the command itself and of 'serve'; all others would be nothing but settings.
fn without_settings(command: &mut clap::Command) {
    let reads = match command.get_name() {
        "serve" => return,
        "explain" | "doctor" => "",
        _ => {
            "Settings, such as which store, are variables (SCIMGATE_STORE) or flags (--store); 'scimgate --help' lists them."
        }
    };
    let is_setting = |argument: &clap::Arg| argument.get_help_heading() == Some(SETTINGS);
    *command = std::mem::take(command)
        .mut_args(|argument| {
            if is_setting(&argument) {
                argument.hide(true)
            } else {
                argument
            }
        })
        .after_help(reads);
    command.get_subcommands_mut().for_each(without_settings);
}

impl Cli {
    /// What is told of what is done. Behind the Functions host every line becomes a row of its log, and the host has one for
    /// each request already. An operator's command is nobody's instance.
    pub fn telemetry(&self) -> telemetry::Setup {
        let hosted = self.settings.is_custom_handler();
        let serves = matches!(self.command, None | Some(Command::Serve(_)));
        telemetry::Setup {
            requests: !hosted,
            hosted,
            export: serves.then(|| app::export(&self.settings)).flatten(),
        }
    }
}

/// Runs a command; what it returns is the exit code.
pub async fn run(cli: Cli) -> anyhow::Result<u8> {
    let settings = cli.settings;
    match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
        Command::Serve(serve) => serve::run(settings, &serve).await,
        Command::Tenant(command) => {
            let makes = matches!(command, tenant::Command::Create(_));
            tenant::run(&Operator::new(settings, makes).await?, command).await
        }
        Command::Token(command) => token::run(&Operator::new(settings, false).await?, command)
            .await
            .map(|()| 0),
        Command::Schema(command) => schema::run(&Operator::new(settings, false).await?, command)
            .await
            .map(|()| 0),
        Command::Subject(command) => subject::run(&Operator::new(settings, false).await?, &command)
            .await
            .map(|()| 0),
        Command::History(history) => history::run(&Operator::new(settings, false).await?, &history)
            .await
            .map(|()| 0),
        Command::Import(import) => import::run(&Operator::new(settings, false).await?, &import).await,
        Command::Check(check) => check::check(&Operator::new(settings, false).await?, &check).await,
        Command::Restore(restore) => restore::run(&Operator::new(settings, false).await?, &restore)
            .await
            .map(|()| 0),
        Command::Erase(erase) => erase::run(&Operator::new(settings, false).await?, &erase)
            .await
            .map(|()| 0),
        Command::Export(export) => export::run(&Operator::new(settings, false).await?, &export).await,
        Command::Load(load) => {
            // No store is made for a file that is not there.
            let file = load.open()?;
            load::run(&Operator::new(settings, true).await?, &load, file).await
        }
        Command::Purge(purge) => purge::run(&Operator::new(settings, false).await?, &purge)
            .await
            .map(|()| 0),
        Command::Doctor(doctor) => Ok(doctor::run(&doctor).await),
        Command::Repair(repair) => check::repair(&Operator::new(settings, false).await?, &repair).await,
        Command::Explain(command) => explain::run(&command),
    }
}

/// How long one step of a command may take that moves many rows. What is cut off goes on when the command is given again.
const STEP: Duration = Duration::from_mins(2);

/// What an operator's command works with.
struct Operator {
    settings: Settings,
    store: Arc<dyn Store>,
    tenants: Tenants,
    ambient: Arc<dyn Ambient>,
    /// Who it is, for the log of changes.
    name: String,
}

impl Operator {
    /// `makes`: the command may be the first on its store. Others must not make an empty file in the wrong folder.
    async fn new(settings: Settings, makes: bool) -> anyhow::Result<Self> {
        if let StoreSetting::Sqlite(path) = settings.store()
            && !makes
            && !path.exists()
        {
            bail!(
                "there is no store at {} (SCIMGATE_STORE names another); 'tenant create' makes it",
                path.display()
            );
        }
        if settings.store() == StoreSetting::Memory {
            bail!("memory: is gone with each process, so a command can do nothing on it; sqlite:<path> is kept");
        }
        let store = app::open_store(&settings).await.context("the store can't be opened")?;
        let ambient: Arc<dyn Ambient> = Arc::new(System);
        let tenants = Tenants::new(Arc::clone(&store), Arc::clone(&ambient));
        let name = app::operator(&settings);
        Ok(Self {
            settings,
            store,
            tenants,
            ambient,
            name,
        })
    }

    /// Until when one step may take.
    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.deadline()
    }

    /// Waits until the clock shows this time, when something happens.
    async fn wait(&self, until: OffsetDateTime, event: &str) {
        show::takes_long(&format!("waiting until {} UTC, when {event}", show::second(until)));
        loop {
            let left = until - self.ambient.now();
            if !left.is_positive() {
                return show::progress("");
            }
            show::progress(&format!("waiting {} s until {event}", left.whole_seconds() + 1));
            let step = left.min(time::Duration::SECOND);
            tokio::time::sleep(step.unsigned_abs()).await;
        }
    }

    /// Writes down what this operator did with all of a tenant's rows.
    async fn write_down(&self, kind: &str, tenant: &Tenant) -> Result<(), tenants::Error> {
        self.tenants.write_down(kind, tenant, &self.name, self.deadline()).await
    }

    /// A tenant's resources, for one step: what is changed there, this operator has done.
    fn directory(&self, tenant: Tenant) -> Directory {
        Directory {
            store: Arc::clone(&self.store),
            ambient: Arc::clone(&self.ambient),
            access: Arc::new(Access {
                tenant,
                credential: self.name.clone(),
                catalogs: Catalogs::standard(),
            }),
            deadline: Instant::now() + STEP,
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        }
    }

    /// What the customer pastes into its identity provider.
    fn tenant_url(&self, name: &str) -> String {
        tenant_url(&self.settings, name)
    }

    /// What it may have pasted for an earlier endpoint.
    fn earlier_urls(&self, name: &str) -> Vec<String> {
        tenant_urls(&self.settings, name).split_off(1)
    }
}

/// Why something was not done to a resource. Who is not found may have been asked for by another name than the id.
fn denied(denied: Denied, what: String, tenant: &str) -> anyhow::Error {
    let why = match denied {
        Denied::Unknown => {
            let hint =
                format!("'scimgate history {tenant} <name>' shows the id of who has, or had, a userName or externalId");
            anyhow!("{denied}; {hint}")
        }
        denied => denied.into(),
    };
    why.context(what)
}

fn tenant_url(settings: &Settings, name: &str) -> String {
    tenant_urls(settings, name).swap_remove(0)
}

/// At all base paths, the standard one first.
fn tenant_urls(settings: &Settings, name: &str) -> Vec<String> {
    let origin = match &settings.public_url {
        Some(url) => url.clone(),
        None => format!("http://localhost:{}", settings.port()),
    };
    let bases = settings.base_paths().into_iter();
    bases
        .map(|base| origin.clone() + &base.to_string().replace("{tenant}", name))
        .collect()
}
