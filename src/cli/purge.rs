//! `scimgate purge`

use clap::Args;
use serde_json::{Value, json};

use super::{Operator, show};
use crate::{directory::Purged, tenants::Tenant};

#[derive(Args)]
pub(super) struct Purge {
    /// The tenant's name
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    tenant: Option<String>,
    /// All tenants
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, purge: &Purge) -> anyhow::Result<()> {
    let tenants = match &purge.tenant {
        Some(name) => vec![operator.tenants.find(name, operator.deadline()).await?],
        None => operator.tenants.all(operator.deadline()).await?,
    };
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
            "leftBehind": purged.left_behind,
            "later": purged.later,
        }));
        let counts = [
            purged.tombstones,
            purged.memberships,
            purged.marks,
            purged.left_behind,
            purged.later,
        ];
        let [deleted, memberships, marks, left_behind, later] = counts.map(|count| count.to_string());
        rows.push([name, deleted, memberships, marks, left_behind, later]);
    }
    show::progress("");
    let mut text = show::table(
        ["TENANT", "DELETED", "MEMBERSHIPS", "MARKS", "LEFT BEHIND", "LATER"],
        &rows,
    );
    if rows.iter().any(|[.., later]| later != "0") {
        text.push_str("\nWhat goes later waits a minute for requests that may be reading its memberships.");
    }
    purge.output.print(&Value::Array(array), &text)
}

async fn one(operator: &Operator, tenant: Tenant) -> anyhow::Result<Purged> {
    let retention = operator.settings.retention();
    let mut all = Purged::default();
    let mut place = None;
    loop {
        let directory = operator.directory(tenant.clone());
        let (purged, next) = directory.purge(retention, place.as_deref()).await?;
        all += purged;
        show::progress(&format!("{}: {} rows looked at", tenant.name, all.looked_at));
        if next.is_none() {
            return Ok(all);
        }
        place = next;
    }
}
