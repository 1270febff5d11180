//! `scimgate purge`

use clap::Args;
use serde_json::{Value, json};

use super::{Operator, show};
use crate::{
    directory::{Kept, Purged, history},
    tenants::Tenant,
};

#[derive(Args)]
pub(super) struct Purge {
    /// The tenant's name
    #[arg(required_unless_present = "all", conflicts_with = "all")]
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

pub(super) async fn run(operator: &Operator, purge: &Purge) -> anyhow::Result<()> {
    let tenants = match &purge.tenant {
        Some(name) => vec![operator.tenants.find(name, operator.deadline()).await?],
        None => operator.tenants.all(operator.deadline()).await?,
    };
    if !purge.yes {
        let settings = &operator.settings;
        let what = format!(
            "This removes for good what was deleted {} days ago and earlier, and the log of {} days ago and earlier. A service with \
             other settings (SCIMGATE_RETENTION_DAYS, SCIMGATE_HISTORY_DAYS) may keep it longer",
            settings.retention_days, settings.history_days
        );
        let which = purge.tenant.as_deref().unwrap_or("all");
        show::confirm(&what, "name of the tenant, or 'all',", which)?;
    }
    let mut rows = Vec::new();
    let mut array = Vec::new();
    for tenant in tenants {
        let name = tenant.name.clone();
        let purged = one(operator, tenant).await?;
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
        forget_deeds(operator).await?;
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
    if rows.iter().any(|[.., later]| later != "0") {
        text.push_str("\nWhat goes later waits a minute for requests that may be reading its memberships.");
    }
    purge.output.print(&Value::Array(array), &text)
}

fn kept(operator: &Operator) -> Kept {
    Kept {
        deleted: operator.settings.retention(),
        events: operator.settings.history(),
    }
}

/// The log of what operators did with tenants.
async fn forget_deeds(operator: &Operator) -> anyhow::Result<()> {
    let before = operator.ambient.now() - kept(operator).events;
    while history::forget_deeds(&operator.store, before, operator.deadline()).await? > 0 {}
    Ok(())
}

async fn one(operator: &Operator, tenant: Tenant) -> anyhow::Result<Purged> {
    let mut all = Purged::default();
    let mut place = None;
    loop {
        let directory = operator.directory(tenant.clone());
        let (purged, next) = directory.purge(kept(operator), place.as_deref()).await?;
        all += purged;
        show::progress(&format!("{}: {} rows looked at", tenant.name, all.looked_at));
        if next.is_none() {
            return Ok(all);
        }
        place = next;
    }
}
