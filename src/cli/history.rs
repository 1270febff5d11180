//! `scimgate history`

use std::{collections::BTreeMap, time::Duration as Step};

use clap::Args;
use time::{Date, Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::{Operator, show};
use crate::{
    directory::history::{BEHIND, Event, Events, Follower, Scope, Search},
    tenants::Tenant,
};

mod event;
mod story;

use event::Teller;

/// Pause between two looks at what came.
const POLL: Step = Step::from_secs(5);

#[derive(Args)]
#[command(
    override_usage = "scimgate history [OPTIONS] <TENANT> <NAME>\n       scimgate history [OPTIONS] <TENANT>\n       scimgate history [OPTIONS] --all"
)]
pub(super) struct History {
    /// The tenant's name
    #[arg(required_unless_present = "all")]
    tenant: Option<String>,
    /// The userName, externalId or id of a user, or the displayName, externalId or id of a group [default: everything in the
    /// tenant's log]
    #[arg(conflicts_with = "all")]
    name: Option<String>,
    /// Everything in the tenant's log; without a tenant, in those of all tenants
    #[arg(long)]
    all: bool,
    /// From when on: a date (2026-11-01, UTC), a time (2026-11-01T10:00:00Z), or so long ago (90m, 24h, 30d) [default: as far as
    /// the log goes back]
    #[arg(long, value_parser = since, value_name = "WHEN")]
    since: Option<Since>,
    /// Go on with what comes, until Ctrl-C; it stays 30 s behind
    #[arg(long)]
    follow: bool,
    /// Show also the names of the user and of groups, which are personal data
    #[arg(long, requires = "name")]
    names: bool,
    #[command(flatten)]
    output: show::Output,
}

/// What `--since` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Time(OffsetDateTime),
    Ago(Duration),
}

pub(super) fn since(text: &str) -> Result<Since, String> {
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let number: u32 = number.parse().ok()?;
        Some(Since::Ago(Duration::seconds(i64::from(number) * seconds)))
    };
    let time = || OffsetDateTime::parse(text, &Rfc3339).ok().map(Since::Time);
    let date = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let date = || date().map(|date| Since::Time(date.midnight().assume_utc()));
    let found = ago().or_else(time).or_else(date);
    found.ok_or_else(|| "expected 2026-11-01, 2026-11-01T10:00:00Z, 90m, 24h or 30d".to_owned())
}

impl Since {
    /// The time that it says.
    pub(super) fn from(self, now: OffsetDateTime) -> OffsetDateTime {
        let time = match self {
            Self::Time(time) => time,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        };
        time.max(OffsetDateTime::UNIX_EPOCH)
    }
}

pub(super) async fn run(operator: &Operator, command: &History) -> anyhow::Result<()> {
    let now = operator.ambient.now();
    let since = command
        .since
        .map_or(OffsetDateTime::UNIX_EPOCH, |since| since.from(now));
    let tenants = match &command.tenant {
        Some(name) => vec![operator.tenants.find(name, operator.deadline()).await?],
        None => operator.tenants.all(operator.deadline()).await?,
    };
    // Who goes on later must find in the next part what is not in this one.
    let until = if command.follow { now - BEHIND } else { now + BEHIND };
    let mut followed = Vec::new();
    if command.tenant.is_none() {
        let scope = Scope {
            tenant: None,
            since,
            until,
        };
        let names = tenants.iter().map(|tenant| (tenant.id.clone(), tenant.name.clone()));
        let teller = Teller::new("", BTreeMap::new()).among(names.collect());
        followed.push(tell(operator, command, scope, teller).await?);
    }
    for tenant in tenants {
        let scope = Scope {
            tenant: Some(tenant.id.clone()),
            since,
            until,
        };
        let mut teller = teller(operator, &tenant).await?;
        if command.tenant.is_none() {
            teller = teller.among(BTreeMap::new());
        }
        followed.push(match &command.name {
            Some(name) => story::tell(operator, command, &tenant, (name, scope), teller).await?,
            None => tell(operator, command, scope, teller).await?,
        });
    }
    if command.follow {
        tokio::select! {
            followed = follow(operator, command, followed.into_iter().flatten().collect()) => return followed,
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    Ok(())
}

async fn teller(operator: &Operator, tenant: &Tenant) -> anyhow::Result<Teller> {
    let credentials = operator.tenants.credentials(&tenant.name, operator.deadline()).await?;
    let labels = credentials.into_iter().map(|one| (one.id, one.label)).collect();
    Ok(Teller::new(&tenant.name, labels))
}

/// A log that is followed.
struct Followed {
    /// What comes to it.
    follower: Follower,
    /// Whose story it is; nothing: everything.
    search: Option<Search>,
    teller: Teller,
}

/// Tells everything in a scope.
/// Returns nothing when nobody reads any more.
async fn tell(
    operator: &Operator,
    command: &History,
    scope: Scope,
    teller: Teller,
) -> anyhow::Result<Option<Followed>> {
    let step = operator.settings.deadline();
    let of_all = command.tenant.is_none();
    let mut follower = Follower::behind(operator.store.clone(), step, scope.clone());
    let is_tenants = scope.tenant.is_some();
    let mut events = Events::new(operator.store.clone(), step, scope);
    let mut rows = 0;
    while let Some(event) = events.next().await? {
        if std::mem::replace(&mut rows, events.rows) != events.rows {
            show::progress(&format!("{} read", show::some(rows, "row")));
        }
        follower.told(&event);
        // What operators did to a tenant is among those of all.
        if (of_all && is_tenants && event.body.tenant.is_some()) || print(command, &teller, &event)? {
            continue;
        }
        return Ok(None);
    }
    show::progress("");
    Ok(Some(Followed {
        follower,
        search: None,
        teller,
    }))
}

/// Prints one event; false when nobody reads any more.
fn print(command: &History, teller: &Teller, event: &Event) -> anyhow::Result<bool> {
    let (json, text) = (teller.json(event), teller.line(event));
    command.output.print_line(&json, &text)
}

/// Goes on with what comes.
async fn follow(operator: &Operator, command: &History, mut followed: Vec<Followed>) -> anyhow::Result<()> {
    show::takes_long("Following; Ctrl-C ends it.");
    let of_all = command.tenant.is_none();
    loop {
        tokio::time::sleep(POLL).await;
        for (number, log) in followed.iter_mut().enumerate() {
            for event in log.follower.news(operator.ambient.now() - BEHIND).await? {
                // The first one has what operators did.
                let is_twice = of_all && number > 0 && event.body.tenant.is_some();
                if !is_twice && !log.print(command, event)? {
                    return Ok(());
                }
            }
        }
    }
}

impl Followed {
    /// Prints what came; false when nobody reads any more.
    fn print(&mut self, command: &History, event: Event) -> anyhow::Result<bool> {
        let Some(search) = &mut self.search else {
            return print(command, &self.teller, &event);
        };
        for told in search.news(event) {
            let (json, text) = (self.teller.deed_json(&told), self.teller.news(&told));
            if !command.output.print_line(&json, &text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
