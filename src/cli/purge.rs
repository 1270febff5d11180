//! `scimgate purge`

use std::fmt::Write;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{Operator, show};
use crate::{
    directory::{self, Purged, history},
    tenants::{KeptDays, Tenant},
};

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").args(["tenant", "all"]).required(true))]
pub(super) struct Purge {
    /// The tenant's name
    tenant: Option<String>,
    /// All tenants
    #[arg(long)]
    all: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: show::Output,
}

/// How long is kept what is past, and who says so.
pub(super) struct Kept {
    pub(super) days: KeptDays,
    is_services: bool,
}

impl Kept {
    /// As the service keeps it; before one has said so, as this command's own settings say.
    pub(super) async fn read(operator: &Operator) -> anyhow::Result<Self> {
        let said = operator.tenants.kept_days(operator.deadline()).await?;
        let own = KeptDays {
            deleted: operator.settings.retention_days,
            history: operator.settings.history_days,
        };
        Ok(Self {
            days: said.unwrap_or(own),
            is_services: said.is_some(),
        })
    }

    pub(super) fn of_deleted(&self) -> String {
        self.says("what was deleted is kept", self.days.deleted, "SCIMGATE_RETENTION_DAYS")
    }

    fn of_events(&self) -> String {
        self.says("the log is kept", self.days.history, "SCIMGATE_HISTORY_DAYS")
    }

    fn says(&self, what: &str, days: u16, setting: &str) -> String {
        let whose = if self.is_services {
            "by the service's"
        } else {
            "by this command's own, as no service has said so yet,"
        };
        format!("{what} for {}, {whose} {setting}", show::some(days, "day"))
    }

    fn both(&self) -> directory::Kept {
        directory::Kept {
            deleted: self.days.retention(),
            events: self.days.history(),
        }
    }
}

pub(super) async fn run(operator: &Operator, purge: &Purge) -> anyhow::Result<()> {
    let tenants = match &purge.tenant {
        Some(name) => vec![(
            name.clone(),
            Ok(operator.tenants.find(name, operator.deadline()).await?),
        )],
        None => operator.tenants.each(operator.deadline()).await?,
    };
    let kept = Kept::read(operator).await?;
    if !purge.yes {
        let what = format!(
            "This removes for good what is older than is kept: {}, {}",
            kept.of_deleted(),
            kept.of_events()
        );
        match &purge.tenant {
            Some(name) => show::confirm(&what, "the tenant's name", name)?,
            None => show::confirm(&what, "all", "all")?,
        }
    }
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for (name, tenant) in tenants {
        // One that fails keeps no other.
        let (purged, end) = match tenant {
            Ok(tenant) => one(operator, &tenant, &kept).await,
            Err(error) => (Purged::default(), Err(error.into())),
        };
        if let Err(error) = end {
            failed.push(show::printable(&format!("tenant '{name}': {error:#}")));
        }
        all.push((name, purged));
    }
    if purge.all {
        forget_deeds(operator, &kept).await?;
    }
    show::progress("");
    purge.output.print(&json(&all), &text(&all, &kept))?;
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not all of what is due is gone: {}", failed.join("; "))
}

fn json(all: &[(String, Purged)]) -> Value {
    let each = all.iter().map(|(name, purged)| {
        json!({
            "tenant": name,
            "tombstones": purged.tombstones,
            "memberships": purged.memberships,
            "marks": purged.marks,
            "events": purged.events,
            "leftBehind": purged.left_behind,
            "later": purged.later,
        })
    });
    each.collect()
}

fn text(all: &[(String, Purged)], kept: &Kept) -> String {
    let rows = all.iter().map(|(name, purged)| {
        [
            show::printable(name),
            purged.tombstones.to_string(),
            purged.memberships.to_string(),
            purged.marks.to_string(),
            purged.events.to_string(),
            purged.left_behind.to_string(),
            purged.later.to_string(),
        ]
    });
    let head = [
        "TENANT",
        "DELETED",
        "MEMBERSHIPS",
        "MARKS",
        "EVENTS",
        "LEFT BEHIND",
        "LATER",
    ];
    let mut text = show::table(head, &rows.collect::<Vec<_>>());
    let _ = write!(text, "\n({}; {}.)", kept.of_deleted(), kept.of_events());
    if all.iter().any(|(_, purged)| purged.later > 0) {
        text.push_str("\nWhat goes later waits a minute for requests that may be reading its memberships.");
    }
    text
}

/// The log of what operators did with tenants.
async fn forget_deeds(operator: &Operator, kept: &Kept) -> anyhow::Result<()> {
    let before = operator.ambient.now() - kept.days.history();
    while history::forget_deeds(&operator.store, before, operator.deadline()).await? > 0 {}
    Ok(())
}

/// What was removed until the end, or until it failed; either is written down.
async fn one(operator: &Operator, tenant: &Tenant, kept: &Kept) -> (Purged, anyhow::Result<()>) {
    let mut all = Purged::default();
    let mut end = steps(operator, tenant, kept, &mut all).await;
    if all.removed() > 0 {
        let written = operator.write_down("tenant-purge", tenant).await;
        end = end.and(written.map_err(Into::into));
    }
    (all, end)
}

async fn steps(operator: &Operator, tenant: &Tenant, kept: &Kept, all: &mut Purged) -> anyhow::Result<()> {
    let mut place = None;
    loop {
        let directory = operator.directory(tenant.clone());
        let (purged, next) = directory.purge(kept.both(), place.as_deref()).await?;
        *all += purged;
        show::progress(&format!(
            "{}: {} rows looked at, {} removed",
            tenant.name,
            all.looked_at,
            all.removed()
        ));
        if next.is_none() {
            return Ok(());
        }
        place = next;
    }
}
