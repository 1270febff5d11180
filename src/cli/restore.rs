//! `scimgate restore`

use std::fmt::Write;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{Operator, denied, purge::Kept, show};
use crate::directory::{Denied, Restorable, Restored};

#[derive(Args)]
pub(super) struct Restore {
    /// The tenant's name
    tenant: String,
    /// The id of the user or group, which --list shows
    #[arg(conflicts_with = "list")]
    id: Option<String>,
    /// Change nothing; show what would come back
    #[arg(long)]
    dry_run: bool,
    /// Show what can be brought back
    #[arg(long, conflicts_with = "dry_run")]
    list: bool,
    /// In the list, also each userName or displayName: personal data
    #[arg(long, requires = "list")]
    names: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, restore: &Restore) -> anyhow::Result<()> {
    let tenant = operator.tenants.find(&restore.tenant, operator.deadline()).await?;
    let name = tenant.name.clone();
    let directory = operator.directory(tenant);
    if restore.id.is_none() && !restore.list {
        bail!("whom? Name an id; 'scimgate restore {name} --list' shows what can be brought back");
    }
    let kept = Kept::read(operator).await?;
    let retention = kept.days.retention();
    let Some(id) = &restore.id else {
        let restorable = directory.restorable(retention).await?;
        return list(&restorable, restore, &kept);
    };
    let restored = directory.restore(id, retention, restore.dry_run).await;
    let restored = restored.map_err(|why| {
        let kept = matches!(why, Denied::Past(..)).then(|| format!(" ({})", kept.of_deleted()));
        let what = format!("{id} is not restored in tenant '{name}'{}", kept.unwrap_or_default());
        denied(why, what, &name)
    })?;
    restore.output.print(
        &json!({
            "tenant": name,
            "id": id,
            "type": restored.kind.keyword(),
            "restored": !restore.dry_run,
            "inactive": restored.inactive,
            "groups": restored.groups,
            "waitingGroups": restored.waiting_groups,
            "lostGroups": restored.lost_groups,
            "waitingMembers": restored.waiting_members,
            "lostMembers": restored.lost_members,
        }),
        &text(&name, id, &restored, restore.dry_run),
    )
}

fn text(tenant: &str, id: &str, restored: &Restored, is_dry_run: bool) -> String {
    let deed = if is_dry_run { "would come back" } else { "is back" };
    let mut text = format!(
        "{} {id} {deed} in tenant '{tenant}'{}, as a member of {}.",
        restored.kind.keyword(),
        if restored.inactive { ", inactive as it was" } else { "" },
        show::some(restored.groups.len(), "group")
    );
    for (lost, what) in [
        (
            &restored.waiting_groups,
            "It is a member again of these groups, which are deleted, when they are restored too",
        ),
        (
            &restored.waiting_members,
            "These of its members are deleted, and are its members again when they are restored too",
        ),
        (&restored.lost_groups, "It was a member of groups that are gone"),
        (&restored.lost_members, "It had members that are gone"),
    ] {
        if !lost.is_empty() {
            let _ = write!(text, "\n{what}:");
            for id in lost {
                let _ = write!(text, "\n  {id}");
            }
        }
    }
    text
}

fn list(restorable: &[Restorable], restore: &Restore, kept: &Kept) -> anyhow::Result<()> {
    let array = restorable.iter().map(|one| {
        let mut json = json!({
            "id": one.id,
            "type": one.kind.keyword(),
            "deleted": show::exact(one.deleted),
            "by": one.by,
            "until": show::exact(one.until),
        });
        if restore.names {
            json["name"] = Value::from(one.name.as_str());
        }
        json
    });
    let rows = restorable.iter().map(|one| {
        [
            one.id.clone(),
            one.kind.keyword().to_owned(),
            show::minute(one.deleted),
            show::or_dash(one.by.clone()),
            show::minute(one.until),
            if restore.names { one.name.clone() } else { String::new() },
        ]
    });
    let name = if restore.names { "NAME" } else { "" };
    let rows: Vec<_> = rows.collect();
    let text = if rows.is_empty() {
        format!("Nothing that was deleted here is kept ({}).", kept.of_deleted())
    } else {
        let table = show::table(["ID", "TYPE", "DELETED", "BY", "KEPT UNTIL", name], &rows);
        format!("{table}\n({}.)", kept.of_deleted())
    };
    restore.output.print(&array.collect(), &text)
}
