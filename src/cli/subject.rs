//! `scimgate subject`

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::{Operator, show};
use crate::directory::subject::subjects;

#[derive(Args)]
pub(super) struct Subject {
    /// The tenant's name
    tenant: String,
    /// The person's userName or externalId, or the displayName or externalId of a group; it is not printed
    name: String,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, subject: &Subject) -> anyhow::Result<()> {
    let tenant = operator.tenants.find(&subject.tenant, operator.deadline()).await?;
    let mut lines = String::new();
    let mut all = Vec::new();
    for (resource_type, attribute, subject) in subjects(&tenant, &subject.name) {
        let _ = writeln!(lines, "{subject}  as the {attribute} of a {resource_type}");
        all.push(json!({ "resourceType": resource_type, "attribute": attribute, "subject": subject }));
    }
    subject
        .output
        .print(&json!({ "tenant": tenant.name, "subjects": all }), lines.trim_end())
}
