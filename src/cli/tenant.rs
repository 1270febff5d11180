//! `scimgate tenant …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Operator, changed,
    show::{self, date, or_dash},
    token::{self, Validity},
};
use crate::tenants::{Counted, Error, Issued, Listed, NewTenant, Progress, Tenant};

mod pause;
mod writes;

use writes::Writes;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a tenant and its first secret token
    Create(Create),
    /// Show all tenants: users, last request, next expiry of a token
    List {
        #[command(flatten)]
        output: show::Output,
    },
    /// Show which tenants' users or groups changed since a time: who must restart provisioning when a backup of then is restored
    Changed(changed::Changed),
    /// Show one tenant
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        output: show::Output,
    },
    /// Give a tenant another name; its Tenant URL changes with it
    Rename {
        /// Its name now
        name: String,
        /// Its name from now on
        to: String,
        #[command(flatten)]
        output: show::Output,
    },
    /// Let a tenant send more or fewer requests a second than others; in force within 60 s
    Limit {
        /// Its name
        name: String,
        /// Requests a second to each process, at least 25; 0 is no limit [default: what all others may]
        #[arg(value_parser = crate::config::rate)]
        rate: Option<u32>,
        #[command(flatten)]
        output: show::Output,
    },
    /// Stop tenants for a while: each of their requests is answered 503, which identity providers repeat by themselves
    ///
    /// Nothing is read or written for them but by operators' commands, which go on working. Returns after some two minutes, when
    /// every instance has noticed and no request is under way any more.
    Pause(pause::Pause),
    /// Let paused tenants go on; in force within 60 s
    Resume(pause::Resume),
    /// Remove a tenant with everything in it; refuses its requests within 60 s, and returns after some two minutes, when every
    /// instance has noticed
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Create {
    /// 2 to 63 characters of a-z, 0-9 and '-'; stands in the Tenant URL
    name: String,
    /// Succeed without doing anything when there is a tenant of this name
    #[arg(long)]
    if_absent: bool,
    /// The customer's name, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    title: String,
    /// Whom to write to at the customer's
    #[arg(long, default_value = "", hide_default_value = true)]
    contact: String,
    #[command(flatten)]
    validity: Validity,
    #[command(flatten)]
    output: show::Output,
}

#[derive(Args)]
pub(super) struct Delete {
    /// Its name
    name: String,
    /// Don't ask for the name again
    #[arg(long)]
    yes: bool,
    /// Don't wait until every instance has noticed; run the command again later to finish
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: show::Output,
}

pub(super) async fn run(operator: &Operator, command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Changed(command) => return changed::run(operator, &command).await,
        Command::Create(create) => self::create(operator, create).await,
        Command::List { output } => list(operator, &output).await,
        Command::Show { name, output } => show(operator, &name, &output).await,
        Command::Rename { name, to, output } => rename(operator, &name, &to, &output).await,
        Command::Limit { name, rate, output } => limit(operator, &name, rate, &output).await,
        Command::Pause(pause) => pause::pause(operator, &pause).await,
        Command::Resume(resume) => pause::resume(operator, &resume).await,
        Command::Delete(delete) => self::delete(operator, &delete).await,
    }
    .map(|()| 0)
}

async fn create(operator: &Operator, create: Create) -> anyhow::Result<()> {
    let new = NewTenant {
        name: create.name,
        title: create.title,
        contact: create.contact,
    };
    let terms = create.validity.terms(operator.ambient.now())?;
    let made = operator
        .tenants
        .create(&new, None, &terms, &operator.name, operator.deadline())
        .await;
    let (tenant, issued) = match made {
        Err(Error::NameTaken(name)) if create.if_absent => {
            let url = operator.tenant_url(&name);
            let text = format!("Tenant '{name}' is there already: {url}");
            let json = json!({ "name": name, "created": false, "tenantUrl": url });
            return create.output.print(&json, &text);
        }
        made => made?,
    };
    let url = operator.tenant_url(&tenant.name);
    let json = json!({
        "name": tenant.name,
        "created": true,
        "tenantUrl": url,
        "secretToken": issued.secret,
        "token": token::describe(&issued.credential),
    });
    let mut text = welcome(&tenant, &issued, &url);
    if operator.settings.public_url.is_none() {
        text.push_str(
            "\n\nThis Tenant URL is for this machine: SCIMGATE_PUBLIC_URL names the address that customers reach. Entra needs \
             https.",
        );
    }
    create
        .output
        .print_secret(&json, &text, &issued.credential.id, &tenant.name)
}

/// What an operator reads after a tenant was made: the secret apart from what is forwarded to the customer.
fn welcome(tenant: &Tenant, issued: &Issued, url: &str) -> String {
    let expires = issued.credential.expires.map_or_else(|| "never".to_owned(), date);
    format!(
        "Tenant '{}' is ready.

Secret token, shown this once; hand it over separately from the rest:

  {}

To forward to the customer's administrator:

  ----
  In Microsoft Entra: Enterprise applications > your application > Provisioning.
  Set Provisioning Mode to Automatic and paste under Admin Credentials:

    Tenant URL    {url}
    Secret Token  (comes separately; expires: {expires})

  Paste the token without the word Bearer, choose Test Connection, then Save.
  ----",
        tenant.name, issued.secret
    )
}

async fn list(operator: &Operator, output: &show::Output) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut array = Vec::new();
    for listed in operator.tenants.list(operator.deadline()).await? {
        let users = users(operator, &listed).await?;
        array.push(describe(operator, &listed, users));
        rows.push([
            listed.tenant.name.clone(),
            or_dash(Some(listed.tenant.title.clone())),
            state(&listed),
            or_dash(users.map(|users| users.to_string())),
            or_dash(listed.last_request.map(show::minute)),
            or_dash(listed.next_expiry.map(date)),
        ]);
    }
    let table = show::table(
        ["TENANT", "TITLE", "STATE", "USERS", "LAST REQUEST", "NEXT EXPIRY"],
        &rows,
    );
    let text = if rows.is_empty() {
        "No tenants yet; 'scimgate tenant create <name>' makes one.".to_owned()
    } else {
        table
    };
    output.print(&Value::Array(array), &text)
}

async fn show(operator: &Operator, name: &str, output: &show::Output) -> anyhow::Result<()> {
    let tenant = operator.tenants.find(name, operator.deadline()).await?;
    let all = operator.tenants.list(operator.deadline()).await?;
    let listed = all
        .into_iter()
        .find(|listed| listed.tenant.id == tenant.id)
        .ok_or(Error::NoTenant(tenant.name))?;
    let users = users(operator, &listed).await?;
    let tenant = &listed.tenant;
    let lately = operator
        .tenants
        .lately(Counted::Writes, &tenant.id, operator.deadline());
    let writes = Writes::of(lately.await?);
    let earlier = operator.earlier_urls(&tenant.name).join("\n              ");
    let earlier = if earlier.is_empty() {
        earlier
    } else {
        format!("Earlier URLs  {earlier}\n")
    };
    let text = format!(
        "Tenant        {}\nTenant URL    {}\n{earlier}Title         {}\nContact       {}\nState         {}\nMade          {}\n\
         Users         {}\nLast request  {}\nWrites        {}\nNext expiry   {}\nPartition     {}",
        tenant.name,
        operator.tenant_url(&tenant.name),
        or_dash(Some(tenant.title.clone())),
        or_dash(Some(tenant.contact.clone())),
        state(&listed),
        show::minute(tenant.created),
        or_dash(users.map(|users| users.to_string())),
        or_dash(listed.last_request.map(show::minute)),
        writes.text(),
        or_dash(listed.next_expiry.map(date)),
        tenant.id,
    );
    let mut json = describe(operator, &listed, users);
    json["writes"] = writes.json();
    output.print(&json, &text)
}

/// What becomes of its requests.
fn state(listed: &Listed) -> String {
    match listed.tenant.paused {
        _ if listed.deleting => "being removed".to_owned(),
        Some(since) => format!("paused since {}", show::minute(since)),
        None => "in use".to_owned(),
    }
}

/// How many users the tenant has; nobody knows while it is being removed.
async fn users(operator: &Operator, listed: &Listed) -> Result<Option<u64>, Error> {
    if listed.deleting {
        return Ok(None);
    }
    let users = operator.tenants.count_users(&listed.tenant.id, operator.deadline());
    users.await.map(Some)
}

fn describe(operator: &Operator, listed: &Listed, users: Option<u64>) -> Value {
    json!({
        "name": listed.tenant.name,
        "title": listed.tenant.title,
        "contact": listed.tenant.contact,
        "tenantUrl": operator.tenant_url(&listed.tenant.name),
        "earlierUrls": operator.earlier_urls(&listed.tenant.name),
        "partition": listed.tenant.id,
        "created": show::exact(listed.tenant.created),
        "rate": listed.tenant.rate,
        "paused": listed.tenant.paused.map(show::exact),
        "users": users,
        "lastRequest": listed.last_request.map(show::exact),
        "nextExpiry": listed.next_expiry.map(show::exact),
        "deleting": listed.deleting,
    })
}

async fn rename(operator: &Operator, name: &str, to: &str, output: &show::Output) -> anyhow::Result<()> {
    let tenant = operator
        .tenants
        .rename(name, to, &operator.name, operator.deadline())
        .await?;
    let url = operator.tenant_url(&tenant.name);
    if tenant.name == name.to_ascii_lowercase() {
        let text = format!("The tenant is called '{}' already; nothing changed.", tenant.name);
        return output.print(&json!({ "name": tenant.name, "tenantUrl": url }), &text);
    }
    let text = format!(
        "The tenant's URL is now {url}\nIts old URL is refused within 60 s: the customer must paste the new one. \
         Users, ids and tokens stay as they are."
    );
    output.print(&json!({ "name": tenant.name, "tenantUrl": url }), &text)
}

async fn limit(operator: &Operator, name: &str, rate: Option<u32>, output: &show::Output) -> anyhow::Result<()> {
    let tenant = operator
        .tenants
        .limit(name, rate, &operator.name, operator.deadline())
        .await?;
    let text = format!(
        "Tenant '{}' may send {} to each process; in force within 60 s.",
        tenant.name,
        spell(rate)
    );
    output.print(&json!({ "name": tenant.name, "rate": rate }), &text)
}

/// A rate in words.
fn spell(rate: Option<u32>) -> String {
    match rate {
        None => "as many requests as SCIMGATE_TENANT_RATE says".to_owned(),
        Some(0) => "requests without limit".to_owned(),
        Some(rate) => format!("{rate} requests a second"),
    }
}

async fn delete(operator: &Operator, delete: &Delete) -> anyhow::Result<()> {
    if !delete.yes {
        // One whose removal was begun is no longer found, and is to be removed.
        if let Err(error @ (Error::NoTenant(_) | Error::BadName)) =
            operator.tenants.find(&delete.name, operator.deadline()).await
        {
            return Err(error.into());
        }
        let what = format!("This removes tenant '{}' with everything in it", delete.name);
        show::confirm(&what, "its name", &delete.name)?;
    }
    let mut removal = operator
        .tenants
        .remove(&delete.name, &operator.name, operator.deadline())
        .await?;
    if !delete.no_wait {
        show::takes_long("this takes some two minutes, until every instance has noticed");
    }
    let mut removed = 0;
    let finished = loop {
        match removal.step(operator.deadline()).await? {
            Progress::Removed(rows) => {
                removed = rows;
                show::progress(&format!("{} removed", show::some(rows, "row")));
            }
            Progress::Until(_) if delete.no_wait => break false,
            Progress::Until(time) => {
                let left = (time - operator.ambient.now()).whole_seconds().max(0) + 1;
                show::progress(&format!(
                    "{} removed; waiting {left} s until every instance has noticed",
                    show::some(removed, "row")
                ));
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Progress::Done => break true,
        }
    };
    show::progress("");
    let text = if finished {
        format!("Tenant '{}' is gone, with {}.", delete.name, show::some(removed, "row"))
    } else {
        format!(
            "Tenant '{0}' is refused, on every instance within 60 s, and {1} removed so far. In two minutes run 'scimgate tenant delete {0}' again to \
             finish.",
            delete.name,
            show::some(removed, "row")
        )
    };
    delete.output.print(
        &json!({ "name": delete.name, "rows": removed, "finished": finished }),
        &text,
    )
}
