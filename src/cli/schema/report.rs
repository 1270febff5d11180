//! What is said of schemas, and of what became of a change.

use std::fmt::Write;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::describe;
use crate::{
    cli::{Operator, show},
    directory::Survey,
    tenants::{Coming, Count, Counted, Error, SchemaChange, TenantExtension},
};

/// Count attributes that a list shows to people.
const SHOWN: usize = 20;

/// How far a change came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything was like this already.
    Unchanged,
    /// It was looked at only.
    DryRun,
    /// It is in force everywhere from this time on.
    Announced(OffsetDateTime),
    /// It is in force everywhere, since this time.
    InForce(OffsetDateTime),
}

/// What became of a change.
pub(super) struct Outcome {
    tenant: String,
    /// Names the partition.
    tenant_id: String,
    urn: String,
    /// What the extension becomes; nothing: it is removed.
    extension: Option<TenantExtension>,
    pub(super) end: End,
    pub(super) survey: Survey,
    /// Resources that got values in the meantime that do not fit.
    pub(super) late: usize,
}

impl Outcome {
    pub(super) fn new(change: &SchemaChange<'_>) -> Self {
        Self {
            tenant: change.schemas.tenant.name.clone(),
            tenant_id: change.schemas.tenant.id.clone(),
            urn: change.urn.clone(),
            extension: change.extension.clone(),
            end: End::Unchanged,
            survey: Survey::default(),
            late: 0,
        }
    }

    /// Why the change was not made, in one line.
    pub(super) fn refusal(&self) -> String {
        let reasons = self.reasons();
        let reasons: Vec<&str> = reasons.iter().map(String::as_str).take(3).collect();
        let more = self.survey.reasons.len().saturating_sub(reasons.len());
        let more = if more == 0 {
            String::new()
        } else {
            format!("; and {more} more, which --dry-run shows")
        };
        format!(
            "{} of {} resources would not fit any more ({}{more}); nothing was changed: --despite-data changes it all the \
             same, and leaves such values stored, but unseen",
            self.survey.misfits,
            self.survey.resources,
            reasons.join("; ")
        )
    }

    pub(super) async fn print(&self, operator: &Operator, output: &show::Output) -> anyhow::Result<()> {
        let dropped = match &self.extension {
            Some(extension) => {
                let all = operator
                    .tenants
                    .lately(Counted::Dropped, &self.tenant_id, operator.deadline())
                    .await?;
                all.into_iter()
                    .filter(|dropped| is_of(extension, &dropped.name))
                    .collect()
            }
            None => Vec::new(),
        };
        output.print(&self.json(&dropped), &self.text(&dropped))
    }

    fn json(&self, dropped: &[Count]) -> Value {
        let from = match self.end {
            End::Announced(from) | End::InForce(from) => Some(from),
            End::Unchanged | End::DryRun => None,
        };
        let mut json = json!({
            "tenant": self.tenant,
            "urn": self.urn,
            "changed": from.is_some(),
            "removed": self.extension.is_none(),
            "dryRun": self.end == End::DryRun,
            "inForceFrom": from.map(show::exact),
            "inForce": matches!(self.end, End::InForce(_)),
            "survey": describe(&self.survey),
            "misfitsSince": self.late,
            "dropped": dropped.iter().map(describe_dropped).collect::<Vec<_>>(),
        });
        if let Some(extension) = &self.extension {
            json["extension"] = describe_extension(extension);
        }
        json
    }

    fn text(&self, dropped: &[Count]) -> String {
        let mut text = self.headline();
        if self.survey.misfits > 0 {
            let _ = write!(
                text,
                "\n\n{} of {} resources do not fit it:\n\n  {}",
                self.survey.misfits,
                self.survey.resources,
                self.reasons().join("\n  ")
            );
        }
        if self.late > 0 {
            let _ = write!(
                text,
                "\n\n{} more resources got such values while the change was announced.",
                self.late
            );
        }
        if self.extension.is_none() || matches!(self.end, End::Unchanged | End::DryRun) {
            return text;
        }
        text.push('\n');
        for Count { name, requests } in dropped {
            let _ = write!(
                text,
                "\n{name} was dropped {} in the last 24 h.",
                show::some(requests, "time")
            );
        }
        text.push_str(
            "\nEntra sends values that it has sent before only after Restart provisioning (Provisioning > Overview): ask the \
             customer to choose it.",
        );
        text
    }

    fn headline(&self) -> String {
        let Self { tenant, urn, .. } = self;
        let what = match &self.extension {
            Some(extension) => format!("for {}s the extension", extension.resource_type),
            None => "no extension".to_owned(),
        };
        match self.end {
            End::Unchanged => format!("Tenant '{tenant}' has {urn} like this already; nothing changed."),
            End::DryRun if self.survey.misfits == 0 => {
                format!("Nothing was changed. Tenant '{tenant}' would have {what} {urn}; every resource would fit.")
            }
            End::DryRun => format!(
                "Nothing was changed. Tenant '{tenant}' would have {what} {urn}, and that is refused without --despite-data."
            ),
            End::Announced(from) => format!(
                "Tenant '{tenant}' has {what} {urn} on every instance from {} UTC on.",
                show::second(from)
            ),
            End::InForce(_) => format!("Tenant '{tenant}' has {what} {urn} on every instance."),
        }
    }

    /// A line for each attribute and reason.
    fn reasons(&self) -> Vec<String> {
        let reasons = self.survey.reasons.iter();
        reasons
            .map(|((path, misfit), count)| format!("{path} {} in {count}", misfit.reason()))
            .collect()
    }
}

pub(super) async fn list(operator: &Operator, tenant: &str, output: &show::Output) -> anyhow::Result<()> {
    let schemas = operator.tenants.schemas(tenant, operator.deadline()).await?;
    let dropped = operator
        .tenants
        .lately(Counted::Dropped, &schemas.tenant.id, operator.deadline())
        .await?;
    let rows: Vec<_> = schemas.extensions.iter().map(row).collect();
    let mut text = if rows.is_empty() {
        format!("Tenant '{}' has no extensions of its own.", schemas.tenant.name)
    } else {
        show::table(["URN", "EXTENDS", "REQUIRED", "ATTRIBUTES"], &rows)
    };
    if let Some(Coming { from, urn, extension }) = &schemas.coming {
        let what = if extension.is_some() { "set" } else { "removed" };
        let _ = write!(text, "\n\n{urn} is {what} from {} UTC on.", show::second(*from));
    }
    if !dropped.is_empty() {
        text.push_str("\n\nAttributes that were dropped from requests in the last 24 h, as no schema had them:\n\n");
        let rows: Vec<_> = dropped.iter().take(SHOWN).map(dropped_row).collect();
        text.push_str(&show::table(["ATTRIBUTE", "REQUESTS"], &rows));
        if dropped.len() > SHOWN {
            let _ = write!(text, "\nand {} more, which --json shows", dropped.len() - SHOWN);
        }
    }
    let json = json!({
        "tenant": schemas.tenant.name,
        "extensions": schemas.extensions.iter().map(describe_extension).collect::<Vec<_>>(),
        "coming": schemas.coming.as_ref().map(describe_coming),
        "dropped": dropped.iter().map(describe_dropped).collect::<Vec<_>>(),
    });
    output.print(&json, &text)
}

pub(super) async fn show(operator: &Operator, tenant: &str, urn: &str) -> anyhow::Result<()> {
    let schemas = operator.tenants.schemas(tenant, operator.deadline()).await?;
    let coming = schemas.coming.as_ref().and_then(|coming| coming.extension.as_ref());
    let found = schemas
        .extension(urn)
        .or(coming.filter(|extension| extension.schema.id == urn));
    let extension = found.ok_or_else(|| Error::NoExtension(urn.to_owned()))?;
    let document = Value::Object(extension.schema.document());
    show::Output::json().print(&document, "")
}

fn row(extension: &TenantExtension) -> [String; 4] {
    [
        extension.schema.id.clone(),
        extension.resource_type.clone(),
        if extension.required { "yes" } else { "no" }.to_owned(),
        extension.schema.attributes.len().to_string(),
    ]
}

fn dropped_row(dropped: &Count) -> [String; 2] {
    let name = if dropped.name.is_empty() {
        "(others)"
    } else {
        &dropped.name
    };
    [name.to_owned(), dropped.requests.to_string()]
}

fn describe_extension(extension: &TenantExtension) -> Value {
    json!({
        "urn": extension.schema.id,
        "resourceType": extension.resource_type,
        "required": extension.required,
        "schema": extension.schema.document(),
    })
}

fn describe_coming(coming: &Coming) -> Value {
    json!({
        "from": show::exact(coming.from),
        "urn": coming.urn,
        "extension": coming.extension.as_ref().map(describe_extension),
    })
}

fn describe_dropped(dropped: &Count) -> Value {
    json!({ "name": dropped.name, "requests": dropped.requests })
}

/// Whether a name that a client sent means an attribute of this extension: with its URN or without, the whole or a part.
fn is_of(extension: &TenantExtension, name: &str) -> bool {
    let urn = &extension.schema.id;
    let qualified = name
        .split_at_checked(urn.len())
        .filter(|(head, _)| head.eq_ignore_ascii_case(urn));
    let names = match qualified {
        Some((_, rest)) => match rest.strip_prefix(':') {
            Some(names) => names,
            None => return rest.is_empty(),
        },
        None => name,
    };
    let first = names.split('.').next().unwrap_or_default();
    extension.schema.attribute(first).is_some()
}
