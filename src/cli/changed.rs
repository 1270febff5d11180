//! `scimgate tenant changed`

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Operator,
    history::{Since, since},
    show,
};
use crate::{
    backup::LATE,
    directory::history::{BEHIND, Events, Scope},
    tenants::Tenant,
};

#[derive(Args)]
pub(super) struct Changed {
    /// From when on: a date (2026-11-01, UTC), a time (2026-11-01T10:00:00Z), or so long ago (90m, 24h, 30d). What was noted in the
    /// quarter of an hour before may have come later, and is looked at too
    #[arg(long, value_parser = since, value_name = "WHEN")]
    since: Since,
    #[command(flatten)]
    output: show::Output,
}

/// What changed in one tenant.
struct Last {
    tenant: Tenant,
    changes: u64,
    time: OffsetDateTime,
}

/// Returns the exit code: 1 if a tenant could not be read.
pub(super) async fn run(operator: &Operator, command: &Changed) -> anyhow::Result<u8> {
    let since = command.since.from(operator.ambient.now());
    let from = (since - LATE).max(OffsetDateTime::UNIX_EPOCH);
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for (name, tenant) in operator.tenants.each(operator.deadline()).await? {
        show::progress(&show::printable(&name));
        let read = match tenant {
            Ok(tenant) => last(operator, tenant, from).await,
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(last) => found.extend(last),
            Err(error) => unread.push((show::printable(&name), show::printable(&format!("{error:#}")))),
        }
    }
    show::progress("");
    found.sort_by_key(|last| std::cmp::Reverse(last.time));
    let rows: Vec<_> = found
        .iter()
        .map(|last| {
            [
                last.tenant.name.clone(),
                show::minute(last.time),
                last.changes.to_string(),
                show::or_dash(Some(last.tenant.contact.clone())),
            ]
        })
        .collect();
    let mut text = if rows.is_empty() && !unread.is_empty() {
        format!("No tenant that can be read changed since {}.", show::minute(since))
    } else if rows.is_empty() {
        format!("No tenant changed since {}.", show::minute(since))
    } else {
        show::table(["TENANT", "LAST CHANGE", "CHANGES", "CONTACT"], &rows)
    };
    for (name, why) in &unread {
        let _ = write!(text, "\nTenant '{name}' can't be read: {why}");
    }
    command.output.print(&json(&found, &unread), &text)?;
    Ok(u8::from(!unread.is_empty()))
}

fn json(found: &[Last], unread: &[(String, String)]) -> Value {
    let found = found.iter().map(|last| {
        json!({
            "name": last.tenant.name,
            "contact": last.tenant.contact,
            "changes": last.changes,
            "lastChange": show::exact(last.time),
        })
    });
    let unread = unread
        .iter()
        .map(|(name, why)| json!({ "name": name, "unreadable": why }));
    found.chain(unread).collect()
}

/// Nothing if nobody changed a user or group since.
async fn last(operator: &Operator, tenant: Tenant, since: OffsetDateTime) -> anyhow::Result<Option<Last>> {
    let scope = Scope {
        tenant: Some(tenant.id.clone()),
        since,
        until: operator.ambient.now() + BEHIND,
    };
    let mut events = Events::new(operator.store.clone(), operator.settings.deadline(), scope);
    let (mut changes, mut time) = (0, None);
    while let Some(event) = events.next().await? {
        let is_resource = matches!(&*event.body.resource_type, "User" | "Group");
        if is_resource && event.body.refused.is_none() {
            changes += 1;
            time = time.max(Some(event.time()));
        }
    }
    Ok(time.map(|time| Last { tenant, changes, time }))
}
