//! `scimgate tenant pause` and `scimgate tenant resume`

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{Operator, show},
    tenants::Error,
};

#[derive(Args)]
pub(in crate::cli) struct Pause {
    #[command(flatten)]
    which: Which,
    /// Don't wait until no request is under way any more
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: show::Output,
}

#[derive(Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: show::Output,
}

/// Of which tenants it is told.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").args(["names", "all"]).required(true))]
struct Which {
    /// Their names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All tenants
    #[arg(long)]
    all: bool,
}

impl Which {
    /// All of them are there, so that nobody is stopped beside a name that was misspelt.
    async fn names(&self, operator: &Operator) -> anyhow::Result<Vec<String>> {
        let all = operator.tenants.all(operator.deadline()).await?;
        let all: Vec<String> = all.into_iter().map(|tenant| tenant.name).collect();
        if self.all {
            return Ok(all);
        }
        if let Some(name) = self
            .names
            .iter()
            .find(|name| !all.iter().any(|one| one.eq_ignore_ascii_case(name)))
        {
            return Err(Error::NoTenant(name.clone()).into());
        }
        Ok(self.names.clone())
    }
}

pub(super) async fn pause(operator: &Operator, pause: &Pause) -> anyhow::Result<()> {
    let mut paused = Vec::new();
    for name in pause.which.names(operator).await? {
        let one = operator.tenants.pause(&name, &operator.name, operator.deadline());
        paused.push(one.await?);
    }
    let last = paused.iter().map(crate::tenants::Pause::quiet).max();
    if let Some(last) = last.filter(|_| !pause.no_wait) {
        operator.wait(last, "no request is under way any more").await;
    }
    let mut lines = Vec::new();
    let mut array = Vec::new();
    for one in &paused {
        lines.push(format!(
            "Tenant '{}' is paused since {} UTC. From {} UTC on every request is answered 503, and from {} UTC on none is under way.",
            one.tenant.name,
            show::second(one.since),
            show::second(one.in_force()),
            show::second(one.quiet()),
        ));
        array.push(json!({
            "name": one.tenant.name,
            "paused": show::exact(one.since),
            "inForceFrom": show::exact(one.in_force()),
            "quietFrom": show::exact(one.quiet()),
        }));
    }
    pause.output.print(&Value::Array(array), &lines.join("\n"))
}

pub(super) async fn resume(operator: &Operator, resume: &Resume) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut array = Vec::new();
    for name in resume.which.names(operator).await? {
        let resumed = operator.tenants.resume(&name, &operator.name, operator.deadline());
        let (tenant, was_paused) = resumed.await?;
        lines.push(if was_paused {
            format!("Tenant '{}' goes on, on every instance within 60 s.", tenant.name)
        } else {
            format!("Tenant '{}' was not paused; nothing changed.", tenant.name)
        });
        array.push(json!({ "name": tenant.name, "wasPaused": was_paused }));
    }
    resume.output.print(&Value::Array(array), &lines.join("\n"))
}
