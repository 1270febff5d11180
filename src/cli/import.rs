//! `scimgate import`

use std::{
    fmt::Write,
    io::{self, IsTerminal},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{INTERRUPTED, Operator, input, show};
use crate::{
    backup,
    directory::import::{Conflict, Count, End, Failed, How, Import as Run, Progress, Pulse, Report},
    tenants::{Error, TenantExtension, Tenants},
};

/// How often it says how far it is where no line can be overwritten.
const EVERY: Duration = Duration::from_secs(5);
/// How often it looks whether somebody changes the tenant's schemas: a change is announced for much longer.
const WATCH: Duration = Duration::from_secs(20);
/// How long it goes on without such a look, while the store does not answer.
const BLIND: Duration = Duration::from_mins(1);
/// Characters of a bar.
const BAR: usize = 30;

#[derive(Args)]
#[command(override_usage = "scimgate import [OPTIONS] <TENANT> <FILE>")]
pub(super) struct Import {
    /// The tenant's name
    tenant: String,
    /// JSON lines: one User or Group a line, as SCIM describes it, in any order; '-' is standard input
    #[arg(required_unless_present = "all")]
    file: Option<PathBuf>,
    /// What 'load' does, for whoever looks for it here
    #[arg(long, hide = true, action = ArgAction::Count)]
    all: u8,
    /// Write nothing; show what would be made, and every line that is in conflict with others or with the tenant
    #[arg(long)]
    dry_run: bool,
    /// Import what is in no conflict, and groups without the members who are in one; without it one conflict is enough for nothing
    /// to be written
    #[arg(long)]
    skip_conflicts: bool,
    /// To the application these are new users and groups, as if the identity provider had created them now
    #[arg(long)]
    as_new: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, command: &Import) -> anyhow::Result<u8> {
    let Some(path) = command.file.as_deref().filter(|_| command.all == 0) else {
        bail!("a backup of all tenants is loaded by 'scimgate load FILE --all'");
    };
    let schemas = operator.tenants.schemas(&command.tenant, operator.deadline()).await?;
    let name = schemas.tenant.name.clone();
    if let Some(coming) = &schemas.coming {
        bail!(
            "the schemas of tenant '{name}' change at {}; import after that",
            show::second(coming.from)
        );
    }
    let mut file = input::twice(path).with_context(|| format!("{} can't be read", path.display()))?;
    if backup::is_one(&mut file)? {
        bail!(
            "{} is a backup: 'scimgate load {0} --tenant {name}' brings it back",
            path.display()
        );
    }
    let import = Run {
        directory: operator.directory(schemas.tenant),
        catalog: Arc::new(schemas.catalog),
        step: operator.settings.deadline(),
        how: How {
            dry_run: command.dry_run,
            skip_conflicts: command.skip_conflicts,
            as_new: command.as_new,
        },
        stop: Arc::new(AtomicBool::new(false)),
        pulse: Pulse::default(),
    };
    let interrupted = tokio::spawn(stop_when_told(Arc::clone(&import.stop)));
    let watch = Watch {
        tenants: operator.tenants.clone(),
        patience: operator.settings.deadline(),
        id: import.directory.access.tenant.id.clone(),
        extensions: schemas.extensions,
    };
    let (stop, reason) = (Arc::clone(&import.stop), Arc::new(OnceLock::new()));
    let watched = tokio::spawn({
        let reason = Arc::clone(&reason);
        async move {
            _ = reason.set(watch.reason_to_stop().await);
            stop.store(true, Relaxed);
        }
    });
    let teller = Teller::default();
    let troubled = tokio::spawn(tell_trouble(import.pulse.clone()));
    let report = import.run(&mut file, |progress| teller.tell(progress)).await;
    for beside in [interrupted, watched, troubled] {
        beside.abort();
    }
    show::progress("");
    let is_over = matches!(&report, Ok(report) if report.end != End::Stopped);
    if let Some(reason) = reason.get().filter(|_| !is_over) {
        bail!("{reason}\nNot everything is imported; what is stays, and then the same command goes on");
    }
    let report = match report {
        Err(failed @ (Failed::Empty | Failed::Shape(_))) => bail!("{}: {failed}", path.display()),
        report => report.context("not everything is imported; what is stays, and the same command goes on")?,
    };
    let printed = command.output.print(&json(&name, &report), &text(&name, &report));
    printed.context("the import has ended, but its report is lost; --dry-run tells what there is")?;
    Ok(match report.end {
        End::Stopped => INTERRUPTED,
        _ => u8::from(!report.conflicts.is_empty()),
    })
}

/// The first interrupt lets what is under way be finished, the second one does not.
async fn stop_when_told(stop: Arc<AtomicBool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.swap(true, Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        show::say(format_args!("\nStopping, when what is under way is written.\n"));
    }
}

/// Says what is waited for, once.
async fn tell_trouble(pulse: Pulse) {
    let mut told = None;
    loop {
        sleep(EVERY).await;
        let trouble = pulse.trouble();
        if let Some(trouble) = trouble.as_ref().filter(|_| trouble != told) {
            show::progress("");
            show::say(format_args!("It waits, and tries again: {trouble}\n"));
        }
        told = trouble;
    }
}

/// Looks whether the lines were read by schemas that are in force no more, or not for long.
struct Watch {
    tenants: Tenants,
    /// How long one look may take.
    patience: Duration,
    /// The tenant's: its name may change meanwhile.
    id: String,
    /// What the lines were read by.
    extensions: Vec<TenantExtension>,
}

impl Watch {
    /// Comes back when there is a reason to stop.
    async fn reason_to_stop(&self) -> String {
        let mut last = Instant::now();
        loop {
            let now = Instant::now();
            match self.tenants.schemas_of(&self.id, now + self.patience).await {
                Ok(found) if found.coming.is_some() || found.extensions != self.extensions => {
                    let name = found.tenant.name;
                    return format!("the schemas of tenant '{name}' are about to change: wait until they have");
                }
                Ok(_) => last = now,
                Err(Error::Store(error)) if last.elapsed() > BLIND => {
                    return format!("nobody could look whether the tenant's schemas are about to change: {error}");
                }
                Err(Error::Store(_)) => {}
                Err(error) => return error.to_string(),
            }
            sleep(WATCH).await;
        }
    }
}

/// Says how far it is.
#[derive(Default)]
struct Teller(Mutex<Option<Instant>>);

impl Teller {
    fn tell(&self, progress: Progress) {
        let text = match progress {
            Progress::Read(lines) => format!("{lines} lines read"),
            Progress::LookedUp(done, all) => format!("{done} of {all} lines looked up that name members or managers"),
            Progress::Written(done, all) => bar(done, all, "users and groups"),
            Progress::Filled(done, all) => bar(done, all, "groups' members"),
        };
        if io::stderr().is_terminal() {
            return show::progress(&text);
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get_or_insert_with(Instant::now).elapsed() >= EVERY {
            *last = Some(Instant::now());
            show::say(format_args!("{text}\n"));
        }
    }
}

fn bar(done: u64, all: u64, what: &str) -> String {
    let part = |of: u64| usize::try_from(done.saturating_mul(of) / all.max(1)).unwrap_or(usize::MAX);
    let filled = part(BAR as u64).min(BAR);
    format!(
        "[{:<BAR$}] {:>3} %  {done} of {all} {what}",
        "#".repeat(filled),
        part(100)
    )
}

fn json(tenant: &str, report: &Report) -> Value {
    let count = |count: Count| json!({ "made": count.made, "unchanged": count.same });
    let listed = |all: &[Conflict]| {
        let one =
            |Conflict { line, why }: &Conflict| json!({ "line": line, "kind": why.name(), "says": why.to_string() });
        all.iter().map(one).collect::<Value>()
    };
    json!({
        "tenant": tenant,
        "end": match report.end {
            End::Planned => "planned",
            End::Refused => "refused",
            End::Stopped => "stopped",
            End::Done => "done",
        },
        "lines": report.lines,
        "users": count(report.users),
        "groups": count(report.groups),
        "memberships": count(report.memberships),
        "conflicts": listed(&report.conflicts),
        "conflictCount": report.conflicts.len() + report.unlisted,
        "notices": listed(&report.notices),
        "noticeCount": report.notices.len() + report.unlisted_notices,
    })
}

fn text(tenant: &str, report: &Report) -> String {
    let is_done = matches!(report.end, End::Done | End::Stopped);
    let mut text = String::new();
    for (all, unlisted, what) in [
        (&report.notices, report.unlisted_notices, "notice"),
        (&report.conflicts, report.unlisted, "conflict"),
    ] {
        for Conflict { line, why } in all {
            let _ = writeln!(text, "line {line}: {}", show::printable(&why.to_string()));
        }
        if unlisted > 0 {
            let _ = writeln!(text, "and {unlisted} more");
        }
        let count = all.len() + unlisted;
        if count > 0 {
            let (lines, keeps) = (
                report.lines,
                if what == "notice" {
                    ", which keep nothing from being imported"
                } else {
                    ""
                },
            );
            let _ = writeln!(text, "\n{} in {lines} lines{keeps}.\n", show::some(count, what));
        }
    }
    let _ = writeln!(text, "Tenant '{tenant}':");
    let rows = [
        ("users", report.users),
        ("groups", report.groups),
        ("memberships", report.memberships),
    ];
    let rows = rows.map(|(what, count)| [what.to_owned(), count.made.to_string(), count.same.to_string()]);
    let made = if is_done { "IMPORTED" } else { "TO IMPORT" };
    text.push_str(&show::table(["", made, "THERE ALREADY"], &rows));
    let advice = match report.end {
        End::Planned => "\nNothing was written.".to_owned(),
        End::Refused => {
            "\nNothing was written: correct the lines, or import the others with --skip-conflicts.".to_owned()
        }
        End::Stopped => "\nStopped. What is imported stays; the same command goes on.".to_owned(),
        End::Done => String::new(),
    };
    text + &advice
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::{
        ambient::System,
        scim::schema::Catalog,
        store::{
            faults::{Call, Fault, FaultStore},
            sqlite::SqliteStore,
        },
        tenants::{NewTenant, Terms},
    };

    const NAME: &str = "acme";

    struct World {
        store: Arc<FaultStore>,
        watch: Watch,
    }

    impl World {
        async fn new() -> Self {
            let store = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
            let tenants = Tenants::new(Arc::clone(&store) as _, Arc::new(System));
            let new = NewTenant {
                name: NAME.to_owned(),
                ..NewTenant::default()
            };
            let made = tenants.create(&new, None, &Terms::default(), "test", soon()).await;
            let watch = Watch {
                patience: Duration::from_secs(15),
                id: made.unwrap().0.id,
                extensions: Vec::new(),
                tenants,
            };
            Self { store, watch }
        }

        async fn reason_within(&self, minutes: u64) -> Option<String> {
            timeout(Duration::from_mins(minutes), self.watch.reason_to_stop())
                .await
                .ok()
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_only_gets_another_name_is_no_reason_to_stop() {
        let world = World::new().await;
        let tenants = &world.watch.tenants;
        tenants.rename(NAME, "globex", "test", soon()).await.unwrap();
        assert_eq!(world.reason_within(10).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_being_removed_is_a_reason_to_stop() {
        let world = World::new().await;
        let removal = world.watch.tenants.remove(NAME, "test", soon()).await;
        assert!(removal.is_ok());
        let reason = world.reason_within(1).await.unwrap();
        assert!(reason.contains(NAME), "{reason}");
    }

    #[tokio::test(start_paused = true)]
    async fn other_schemas_are_a_reason_to_stop() {
        let mut world = World::new().await;
        world.watch.extensions.push(TenantExtension {
            resource_type: "User".to_owned(),
            required: false,
            schema: Arc::clone(&Catalog::standard().resource_types[0].schema),
        });
        let reason = world.reason_within(1).await.unwrap();
        assert!(reason.contains("schemas"), "{reason}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_for_a_minute_is_a_reason_to_stop() {
        let world = World::new().await;
        world.store.inject(Call::Any, 1.., Fault::Unavailable);
        let reason = world.reason_within(3).await.unwrap();
        assert!(reason.contains("unavailable"), "{reason}");
        let heal = async {
            sleep(BLIND / 2).await;
            world.store.heal();
        };
        let (reason, ()) = tokio::join!(world.reason_within(10), heal);
        assert_eq!(reason, None);
    }
}
