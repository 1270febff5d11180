//! `scimgate erase`

use clap::Args;
use serde_json::json;

use super::{Operator, denied, show};

#[derive(Args)]
pub(super) struct Erase {
    /// The tenant's name
    tenant: String,
    /// The user's id
    id: String,
    /// Don't ask for the id again
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, erase: &Erase) -> anyhow::Result<()> {
    let Erase { id, output, .. } = erase;
    let tenant = operator.tenants.find(&erase.tenant, operator.deadline()).await?;
    let name = tenant.name.clone();
    if !erase.yes {
        let what = format!("This erases user {id} of tenant '{name}', with everything that is kept of it");
        show::confirm(&what, "its id", id)?;
    }
    let erased = operator.directory(tenant).erase(id).await;
    let erased = erased.map_err(|why| denied(why, format!("{id} is not erased in tenant '{name}'"), &name))?;
    let text = format!(
        "User {id} is erased in tenant '{name}': nothing of it is kept but its id, and when it was made, changed and deleted, \
         and, in the log until its time is over, keyed hashes of its names. \
         Whoever is still in the identity provider's scope comes back with its next cycle, as a new user: take the person out \
         of it there. Backups keep what they hold."
    );
    let json =
        json!({ "tenant": name, "id": id, "deleted": show::exact(erased.deleted), "wasThere": erased.was_there });
    output.print(&json, &text)
}
