//! `scimgate export`

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
    pin::pin,
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{INTERRUPTED, Operator, show};
use crate::backup::{Exporter, Target};

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").args(["tenant", "all"]).required(true))]
pub(super) struct Export {
    /// The tenant's name
    tenant: Option<String>,
    /// The whole store
    #[arg(long)]
    all: bool,
    /// The file to make; it must not be there [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A tenant is not in the file, which is whole for all others.
const INCOMPLETE: u8 = 3;

/// Returns the exit code.
pub(super) async fn run(operator: &Operator, export: &Export) -> anyhow::Result<u8> {
    let tenant = match &export.tenant {
        Some(name) => Some(operator.tenants.find(name, operator.deadline()).await?),
        None => None,
    };
    // Whoever is interrupted leaves no part of a file behind, from the moment on at which there is one.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let _ = futures::poll!(&mut interrupted);
    let target = match &export.output {
        Some(path) => Target::file(path).with_context(|| format!("{} can't be made", path.display()))?,
        None if stdout().is_terminal() => {
            bail!("a backup holds keys and personal data: say --output FILE, or pipe it on")
        }
        None => Target::Output,
    };
    let exporter = Exporter {
        store: Arc::clone(&operator.store),
        tenants: operator.tenants.clone(),
        ambient: Arc::clone(&operator.ambient),
        patience: operator.settings.deadline(),
        progress: |tenant, rows| show::progress(&format!("{tenant}: {} written", show::some(rows, "row"))),
    };
    let made = tokio::select! {
        made = exporter.write(tenant.as_ref(), target) => Some(made),
        _ = interrupted => None,
    };
    show::progress("");
    let Some(made) = made else {
        show::say(format_args!("No backup was made: interrupted.\n"));
        return Ok(INTERRUPTED);
    };
    let made = made.context("no backup was made")?;
    for name in &made.removed {
        show::say(format_args!(
            "Tenant '{name}' was removed meanwhile and is not in it.\n"
        ));
    }
    for (name, why) in &made.missing {
        show::say(format_args!(
            "Tenant '{}' is not in it: {}\n",
            show::printable(name),
            show::printable(why)
        ));
    }
    show::say(format_args!(
        "{}, {}. The file holds personal data, the tenants' keys and the hashes of their credentials: keep it \
         like the store itself.\n",
        show::some(made.tenants.len(), "tenant"),
        show::some(made.rows, "row")
    ));
    Ok(if made.missing.is_empty() { 0 } else { INCOMPLETE })
}
