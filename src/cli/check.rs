//! `scimgate check` and `scimgate repair`

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::{Operator, show};
use crate::directory::check::{Damage, Example, Findings, Inspection, Progress, Report};

/// Examples of each kind of damage that a check shows.
const EXAMPLES: usize = 3;
/// Examples that programs get, and that a dry run shows.
const MORE_EXAMPLES: usize = 100;

#[derive(Args)]
pub(super) struct Check {
    /// The tenant's name
    tenant: String,
    #[command(flatten)]
    output: show::Output,
}

#[derive(Args)]
pub(super) struct Repair {
    /// The tenant's name
    tenant: String,
    /// Change nothing; show what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: show::Output,
}

/// What is done about what is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Checked,
    Planned,
    Repaired,
}

pub(super) async fn check(operator: &Operator, check: &Check) -> anyhow::Result<u8> {
    run(operator, &check.tenant, Deed::Checked, &check.output).await
}

pub(super) async fn repair(operator: &Operator, repair: &Repair) -> anyhow::Result<u8> {
    let deed = if repair.dry_run { Deed::Planned } else { Deed::Repaired };
    run(operator, &repair.tenant, deed, &repair.output).await
}

/// Returns the exit code: 1 if anything is wrong in the end.
async fn run(operator: &Operator, tenant: &str, deed: Deed, output: &show::Output) -> anyhow::Result<u8> {
    let tenant = operator.tenants.find(tenant, operator.deadline()).await?;
    let name = tenant.name.clone();
    let directory = operator.directory(tenant);
    let inspection = Inspection::new(directory, operator.settings.deadline(), MORE_EXAMPLES, |progress| {
        show::progress(&match progress {
            Progress::Read(rows) => format!("{} read", show::some(rows, "row")),
            Progress::LookedAgain(rows, doubts) => {
                format!("{} looked at, up to row {rows}", show::some(doubts, "doubt"))
            }
        });
    });
    let report = match deed {
        Deed::Checked | Deed::Planned => inspection.check().await,
        Deed::Repaired => inspection.repair().await,
    };
    show::progress("");
    let report = report?;
    output.print(&json(&name, deed, &report), &text(&name, deed, &report))?;
    Ok(u8::from(!report.is_sound()))
}

fn json(tenant: &str, deed: Deed, report: &Report) -> Value {
    let findings = report.findings.iter().map(|(damage, findings)| {
        let entry = damage.entry();
        json!({
            "kind": entry.name,
            "count": findings.count,
            "says": entry.says,
            "repair": entry.repair,
            "examples": findings.examples.iter().map(describe).collect::<Vec<_>>(),
        })
    });
    let mut json = json!({
        "tenant": tenant,
        "sound": report.is_sound(),
        "rows": report.rows,
        "users": report.users,
        "groups": report.groups,
        "memberships": report.memberships,
        "findings": findings.collect::<Vec<_>>(),
    });
    if deed == Deed::Repaired {
        let mended = report.mended.iter();
        json["mended"] = mended
            .map(|(damage, count)| json!({ "kind": damage.entry().name, "count": count }))
            .collect();
    }
    json
}

fn describe(example: &Example) -> Value {
    json!({ "key": example.key, "ids": example.ids, "changes": example.changes })
}

fn text(tenant: &str, deed: Deed, report: &Report) -> String {
    let Report {
        rows,
        users,
        groups,
        memberships,
        ..
    } = report;
    let [rows, users, groups, memberships] = [
        (rows, "row"),
        (users, "user"),
        (groups, "group"),
        (memberships, "membership"),
    ]
    .map(|(count, of)| show::some(count, of));
    let seen = format!("{rows}: {users}, {groups}, {memberships}");
    let mut text = String::new();
    for (damage, count) in &report.mended {
        let _ = writeln!(
            text,
            "Mended {}, {count}: {}.",
            damage.entry().name,
            damage.entry().says
        );
    }
    if report.is_sound() {
        let _ = write!(text, "Tenant '{tenant}' is sound ({seen}).");
        return text;
    }
    let still = if deed == Deed::Repaired { " still" } else { "" };
    let _ = writeln!(text, "Tenant '{tenant}' is{still} not sound ({seen}).\n");
    let rows = report.findings.iter().map(|(damage, findings)| {
        let entry = damage.entry();
        let repair = entry.repair.unwrap_or("leaves it to you");
        [entry.name.to_owned(), findings.count.to_string(), repair.to_owned()]
    });
    let rows: Vec<_> = rows.collect();
    text.push_str(&show::table(["FINDING", "COUNT", "REPAIR"], &rows));
    text.push('\n');
    for (damage, findings) in &report.findings {
        text.push_str(&explain(*damage, findings, deed));
    }
    if deed == Deed::Checked {
        let _ = write!(
            text,
            "\n\n'scimgate repair {tenant} --dry-run' shows what a repair would change."
        );
    }
    text
}

/// What a finding means, and where it is.
fn explain(damage: Damage, findings: &Findings, deed: Deed) -> String {
    let entry = damage.entry();
    let mut text = format!("\n{}: {}", entry.name, entry.says);
    let planned = deed == Deed::Planned;
    let shown = if planned { MORE_EXAMPLES } else { EXAMPLES };
    for example in findings.examples.iter().take(shown) {
        let mut words = vec![example.key.as_str()];
        // Most keys say it already.
        let others = example.ids.iter().filter(|id| !example.key.contains(*id));
        words.extend(others.map(String::as_str));
        let _ = write!(text, "\n  {}", words.join("  "));
        for change in example.changes.iter().filter(|_| planned) {
            let _ = write!(text, "\n    {change}");
        }
    }
    if findings.count > shown {
        let _ = write!(text, "\n  and {} more", findings.count - shown);
    }
    text
}
