//! `scimgate purge`

use std::fmt::Write;

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
        Some(name) => vec![operator.tenants.find(name, operator.deadline()).await?],
        None => operator.tenants.all(operator.deadline()).await?,
    };
    let kept = Kept::read(operator).await?;
    if !purge.yes {
        let what = format!(
            "This removes for good what is older than is kept: {}, {}",
            kept.of_deleted(),
            kept.of_events()
        );
        let which = purge.tenant.as_deref().unwrap_or("all");
        show::confirm(&what, "name of the tenant, or 'all',", which)?;
    }
    let mut rows = Vec::new();
    let mut array = Vec::new();
    for tenant in tenants {
        let name = tenant.name.clone();
        let purged = one(operator, &tenant, &kept).await?;
        if purged.has_removed() {
            operator.write_down("tenant-purge", &tenant).await?;
        }
        array.push(json!({
            "tenant": name,
            "tombstones": purged.tombstones,
            "memberships": purged.memberships,
            "marks": purged.marks,
            "events": purged.events,
            "leftBehind": purged.left_behind,
            "later": purged.later,
        }));
        let counts = [
            purged.tombstones,
            purged.memberships,
            purged.marks,
            purged.events,
            purged.left_behind,
            purged.later,
        ];
        let [deleted, memberships, marks, events, left_behind, later] = counts.map(|count| count.to_string());
        rows.push([name, deleted, memberships, marks, events, left_behind, later]);
    }
    if purge.all {
        forget_deeds(operator, &kept).await?;
    }
    show::progress("");
    let mut text = show::table(
        [
            "TENANT",
            "DELETED",
            "MEMBERSHIPS",
            "MARKS",
            "EVENTS",
            "LEFT BEHIND",
            "LATER",
        ],
        &rows,
    );
    let _ = write!(text, "\n({}; {}.)", kept.of_deleted(), kept.of_events());
    if rows.iter().any(|[.., later]| later != "0") {
        text.push_str("\nWhat goes later waits a minute for requests that may be reading its memberships.");
    }
    purge.output.print(&Value::Array(array), &text)
}

/// The log of what operators did with tenants.
async fn forget_deeds(operator: &Operator, kept: &Kept) -> anyhow::Result<()> {
    let before = operator.ambient.now() - kept.days.history();
    while history::forget_deeds(&operator.store, before, operator.deadline()).await? > 0 {}
    Ok(())
}

async fn one(operator: &Operator, tenant: &Tenant, kept: &Kept) -> anyhow::Result<Purged> {
    let mut all = Purged::default();
    let mut place = None;
    loop {
        let directory = operator.directory(tenant.clone());
        let (purged, next) = directory.purge(kept.both(), place.as_deref()).await?;
        all += purged;
        let removed = all.tombstones + all.memberships + all.marks + all.events;
        let looked_at = all.looked_at;
        show::progress(&format!(
            "{}: {looked_at} rows looked at, {removed} removed",
            tenant.name
        ));
        if next.is_none() {
            return Ok(all);
        }
        place = next;
    }
}
