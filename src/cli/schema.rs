//! `scimgate schema …`

use std::{io::Read, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Operator, show};
use crate::{
    directory::Survey,
    scim::json,
    tenants::{CLOCKS, Error, NewExtension, SchemaChange, Schemas},
};

mod report;

use report::{End, Outcome};

/// Bytes of a file that is read at all; the schema in it may have fewer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an extension to a tenant, or change the one with its URN
    ///
    /// The document is a schema as RFC 7643 §7 has it: id (the URN), name, and attributes with their characteristics. The
    /// change is announced, and comes into force on every instance at the same moment, 90 s later; the command returns when
    /// all follow it. Until then the attributes are dropped as before, and requests whose schemas name it are refused. From then on they are accepted, filtered, patched,
    /// shown, and told in discovery.
    Set(Set),
    /// Show a tenant's extensions, and which attributes it sent in vain in the last 24 hours
    List {
        /// The tenant's name
        tenant: String,
        #[command(flatten)]
        output: show::Output,
    },
    /// Print an extension's schema document; what 'schema set' takes
    Show {
        /// The tenant's name
        tenant: String,
        /// The extension's URN
        urn: String,
    },
    /// Remove an extension from a tenant
    ///
    /// Refused while resources have values of it. Values that are there all the same stay stored, unseen, and are there
    /// again when the extension is; they go with their resources.
    Remove(Remove),
}

#[derive(Args)]
pub(super) struct Set {
    /// The tenant's name
    tenant: String,
    /// The schema document; '-' reads it from standard input
    file: PathBuf,
    /// What is extended: User or Group [default: what it extends already, else User]
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    /// Refuse resources without this extension; those there are can then only be changed by giving it, or by PATCH
    #[arg(long)]
    required: bool,
    /// Take a document with required attributes: resources that have the extension without them are refused
    #[arg(long)]
    allow_required: bool,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Args)]
pub(super) struct Remove {
    /// The tenant's name
    tenant: String,
    /// The extension's URN
    urn: String,
    #[command(flatten)]
    manner: Manner,
}

/// How a change is carried out.
#[derive(Args)]
struct Manner {
    /// Change nothing; count the resources that would not fit any more, for each attribute
    #[arg(long)]
    dry_run: bool,
    /// Change it although values that are stored do not fit any more; they stay stored, unseen
    #[arg(long)]
    despite_data: bool,
    /// Don't wait until every instance follows
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(set) => self::set(operator, set).await,
        Command::List { tenant, output } => report::list(operator, &tenant, &output).await,
        Command::Show { tenant, urn } => report::show(operator, &tenant, &urn).await,
        Command::Remove(remove) => self::remove(operator, &remove).await,
    }
}

async fn set(operator: &Operator, set: Set) -> anyhow::Result<()> {
    let file = set.file.display().to_string();
    let new = NewExtension {
        document: read_document(&set.file).with_context(|| format!("{file} can't be used"))?,
        resource_type: set.resource_type,
        required: set.required,
        allow_required: set.allow_required,
    };
    let outcome = change(operator, &set.tenant, &set.manner, |schemas| schemas.set(&new)).await?;
    outcome.print(operator, &set.manner.output).await
}

async fn remove(operator: &Operator, remove: &Remove) -> anyhow::Result<()> {
    let outcome = change(operator, &remove.tenant, &remove.manner, |schemas| {
        schemas.remove(&remove.urn)
    })
    .await?;
    outcome.print(operator, &remove.manner.output).await
}

/// Carries a change to its end: looks at the data there is, announces it, and waits until it is in force. Whoever meets
/// another operator's change waits for that one first; whoever was interrupted goes on waiting.
async fn change(
    operator: &Operator,
    tenant: &str,
    manner: &Manner,
    of: impl for<'s> Fn(&'s Schemas) -> Result<SchemaChange<'s>, Error>,
) -> anyhow::Result<Outcome> {
    loop {
        let schemas = operator.tenants.schemas(tenant, operator.deadline()).await?;
        let change = match of(&schemas) {
            Err(Error::SchemasChanging(from)) if !manner.no_wait && !manner.dry_run => {
                operator.wait(from, "another change is in force").await;
                continue;
            }
            change => change?,
        };
        let mut outcome = Outcome::new(&change);
        if change.is_nothing() {
            return Ok(outcome);
        }
        if change.announced.is_none() || manner.dry_run {
            outcome.survey = survey(operator, &change).await?;
        }
        if manner.dry_run {
            outcome.end = End::DryRun;
            return Ok(outcome);
        }
        let from = match change.announced {
            Some(from) => from,
            None if outcome.survey.misfits > 0 && !manner.despite_data => bail!("{}", outcome.refusal()),
            None => {
                let deadline = operator.deadline();
                match operator.tenants.announce(&change, &operator.name, deadline).await {
                    Err(Error::SchemasChanged) if !manner.no_wait => continue,
                    from => from?,
                }
            }
        };
        outcome.end = End::Announced(from);
        if !manner.no_wait {
            operator.wait(from + CLOCKS, "every instance follows").await;
            outcome.end = End::InForce(from);
            outcome.late = late(operator, &change, &outcome.survey).await?;
        }
        return Ok(outcome);
    }
}

/// Resources that got values by the old schemas, while the new ones were announced, that do not fit.
async fn late(operator: &Operator, change: &SchemaChange<'_>, before: &Survey) -> anyhow::Result<usize> {
    if change.announced.is_some() {
        return Ok(0);
    }
    let after = survey(operator, change).await?;
    Ok(after.misfits.saturating_sub(before.misfits))
}

/// Looks at all resources that the change may concern.
async fn survey(operator: &Operator, change: &SchemaChange<'_>) -> anyhow::Result<Survey> {
    let Some(types) = change.resource_types().filter(|_| change.may_misfit()) else {
        return Ok(Survey::default());
    };
    let progress = |resources: usize| show::progress(&format!("{resources} resources looked at"));
    let partition = &change.schemas.tenant.id;
    let survey = Survey::of(&*operator.store, partition, types, || operator.deadline(), progress).await?;
    show::progress("");
    Ok(survey)
}

fn read_document(file: &PathBuf) -> anyhow::Result<Value> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES + 1;
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 == limit {
        bail!("it is longer than {MAX_FILE_BYTES} bytes");
    }
    json::parse(&bytes).map_err(|error| anyhow::anyhow!("{}", error.detail().replacen("The body", "the file", 1)))
}

/// A survey as JSON.
fn describe(survey: &Survey) -> Value {
    let reasons = survey.reasons.iter().map(
        |((path, misfit), resources)| json!({ "attribute": path, "reason": misfit.reason(), "resources": resources }),
    );
    json!({ "resources": survey.resources, "misfits": survey.misfits, "reasons": reasons.collect::<Vec<_>>() })
}
