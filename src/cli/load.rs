//! `scimgate load`

use std::{fmt::Write, fs::File, path::PathBuf, sync::Arc};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};

use super::{Operator, input, show};
use crate::{
    backup::{Loaded, Loader},
    directory::check::Report,
};

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").args(["tenant", "all"]).required(true))]
pub(super) struct Load {
    /// A backup; '-' is standard input
    file: PathBuf,
    /// Load only this tenant of it
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Load everything into an empty store
    #[arg(long)]
    all: bool,
    /// First remove what an unfinished load of another file has left
    #[arg(long)]
    discard: bool,
    #[command(flatten)]
    output: show::Output,
}

impl Load {
    /// The file to be loaded.
    pub(super) fn open(&self) -> anyhow::Result<File> {
        input::twice(&self.file).with_context(|| self.file.display().to_string())
    }
}

/// Returns the exit code: 1 if anything that was loaded is not sound, or not in the file.
pub(super) async fn run(operator: &Operator, load: &Load, file: File) -> anyhow::Result<u8> {
    let loader = Loader {
        tenants: operator.tenants.clone(),
        patience: operator.settings.deadline(),
        ambient: Arc::clone(&operator.ambient),
        by: operator.name.clone(),
        store: Arc::clone(&operator.store),
        progress: |tenant, line, of| show::progress(&format!("{tenant}: line {line} of {of}")),
        discards: load.discard,
    };
    let back = loader.load(file, load.tenant.as_deref()).await;
    show::progress("");
    // It may quote the file.
    let back = back.map_err(|error| anyhow!(show::printable(&error.to_string())));
    let back = back.with_context(|| load.file.display().to_string())?;
    let array = back.iter().map(describe).collect();
    let lines: Vec<String> = back.iter().map(text).collect();
    load.output.print(&Value::Array(array), &lines.join("\n"))?;
    let is_sound = |loaded: &Loaded| loaded.missing.is_none() && loaded.report.as_ref().is_none_or(Report::is_sound);
    Ok(u8::from(!back.iter().all(is_sound)))
}

fn describe(loaded: &Loaded) -> Value {
    if let Some(why) = &loaded.missing {
        return json!({ "tenant": loaded.name, "loaded": "missing", "why": why });
    }
    let Some(report) = &loaded.report else {
        return json!({ "tenant": loaded.name, "loaded": "before" });
    };
    let mended = report.mended.iter();
    json!({
        "tenant": loaded.name,
        "loaded": "now",
        "sound": report.is_sound(),
        "paused": loaded.paused,
        "users": report.users,
        "groups": report.groups,
        "memberships": report.memberships,
        "mended": mended
            .map(|(damage, count)| json!({ "kind": damage.entry().name, "count": count }))
            .collect::<Vec<_>>(),
    })
}

fn text(loaded: &Loaded) -> String {
    let name = &loaded.name;
    if let Some(why) = &loaded.missing {
        return show::printable(&format!(
            "Tenant '{name}' is not in the file: it could not be read when that was made: {why}"
        ));
    }
    let Some(report) = &loaded.report else {
        return format!("Tenant '{name}' was loaded before.");
    };
    let mut text = format!(
        "Tenant '{name}' is back: {}, {}, {}.",
        show::some(report.users, "user"),
        show::some(report.groups, "group"),
        show::some(report.memberships, "membership")
    );
    let mended: usize = report.mended.values().sum();
    if mended > 0 {
        let _ = write!(
            text,
            " Rows that changed while the backup was made, and were made to fit: {mended}."
        );
    }
    if loaded.paused {
        let _ = write!(
            text,
            " It is paused, as it was then: 'scimgate tenant resume {name}' lets it go on."
        );
    }
    if !report.is_sound() {
        let _ = write!(text, " Not everything fits: 'scimgate check {name}' shows it.");
    }
    text
}
