//! `scimgate token …`

use std::io::{IsTerminal, Read};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use super::{
    Operator,
    show::{self, date, or_dash},
};
use crate::tenants::{CACHED, Credential, Expiry, Issued, Origin, Terms};

/// More does not fit into a request's head.
const MAX_SECRET_BYTES: u64 = 16 * 1024;
/// A secret shorter than this can be guessed.
const SHORT_SECRET: usize = 20;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make another secret token for a tenant; works on the next request
    Create {
        /// The tenant's name
        tenant: String,
        #[command(flatten)]
        validity: Validity,
        #[command(flatten)]
        output: show::Output,
    },
    /// Show a tenant's tokens; never their secrets
    List {
        /// The tenant's name
        tenant: String,
        #[command(flatten)]
        output: show::Output,
    },
    /// Refuse a token, within 60 s on every instance
    Revoke {
        /// The tenant's name
        tenant: String,
        /// The token's id, as 'token list' shows it
        id: String,
        #[command(flatten)]
        output: show::Output,
    },
    /// Take over a secret that customers use already: reads it from standard input; never expires unless told
    Import {
        /// The tenant's name
        tenant: String,
        /// What is read is not the secret but its SHA-256, without salt, in hexadecimal digits, as sha256sum prints it too
        #[arg(long)]
        sha256: bool,
        #[command(flatten)]
        validity: Validity,
        #[command(flatten)]
        output: show::Output,
    },
}

/// How long a token is valid, and what it is called.
#[derive(Args)]
pub(super) struct Validity {
    /// What to call the token, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// When the token stops working: a date (2027-12-31, its end in UTC), a number of days (90d) or never [default: in a year; never for one that
    /// is imported]
    #[arg(long, value_parser = expiry, value_name = "WHEN")]
    expires: Option<Until>,
}

/// What `--expires` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    End(Date),
    Days(u16),
    Never,
}

impl Validity {
    /// With days counted from `now`.
    pub(super) fn terms(&self, now: OffsetDateTime) -> anyhow::Result<Terms> {
        let expires = self.expires.map(|until| match until {
            Until::End(date) => Expiry::At(date.midnight().assume_utc() + Duration::days(1)),
            Until::Days(days) => Expiry::At(now + Duration::days(days.into())),
            Until::Never => Expiry::Never,
        });
        if matches!(expires, Some(Expiry::At(time)) if time <= now) {
            bail!("--expires names a day that is over");
        }
        Ok(Terms {
            label: self.label.clone(),
            expires,
        })
    }
}

fn expiry(text: &str) -> Result<Until, String> {
    let days = |text: &str| text.strip_suffix('d')?.parse().ok().filter(|days| *days > 0);
    let day = |text| Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    match text {
        "never" => Ok(Until::Never),
        _ => days(text)
            .map(Until::Days)
            .or_else(|| day(text).map(Until::End))
            .ok_or_else(|| "expected a date such as 2027-12-31, a number of days such as 90d, or never".to_owned()),
    }
}

pub(super) async fn run(operator: &Operator, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create {
            tenant,
            validity,
            output,
        } => create(operator, &tenant, &validity, None, &output).await,
        Command::List { tenant, output } => list(operator, &tenant, &output).await,
        Command::Revoke { tenant, id, output } => revoke(operator, &tenant, &id, &output).await,
        Command::Import {
            tenant,
            sha256,
            mut validity,
            output,
        } => {
            let secret = read_secret()?;
            // Nobody at the customer's knows that anything changed, so nothing may stop working by itself.
            validity.expires.get_or_insert(Until::Never);
            if sha256 {
                import_hashed(operator, &tenant, &secret, &validity, &output).await
            } else {
                create(operator, &tenant, &validity, Some(secret), &output).await
            }
        }
    }
}

async fn create(
    operator: &Operator,
    tenant: &str,
    validity: &Validity,
    secret: Option<String>,
    output: &show::Output,
) -> anyhow::Result<()> {
    let terms = validity.terms(operator.ambient.now())?;
    let short = secret.as_ref().is_some_and(|secret| secret.len() < SHORT_SECRET);
    let issued = operator
        .tenants
        .add_credential(tenant, secret, &terms, &operator.name, operator.deadline())
        .await?;
    let Issued { credential, secret } = &issued;
    let (mut json, mut text) = added(tenant, credential);
    if credential.origin == Origin::Issued {
        json["secretToken"] = secret.as_str().into();
        text = format!("{text}\n\nSecret token, shown this once:\n\n  {secret}");
    }
    if short {
        text.push_str("\n\nThis secret is short enough to be guessed: give the customer a new one soon.");
    }
    output.print_secret(&json, &text, &credential.id, tenant)
}

async fn import_hashed(
    operator: &Operator,
    tenant: &str,
    hash: &str,
    validity: &Validity,
    output: &show::Output,
) -> anyhow::Result<()> {
    let terms = validity.terms(operator.ambient.now())?;
    // Behind it sha256sum names the file.
    let hash = hash.split_ascii_whitespace().next().unwrap_or_default();
    let credential = operator
        .tenants
        .add_hashed(tenant, hash, &terms, &operator.name, operator.deadline())
        .await?;
    let (json, text) = added(tenant, &credential);
    output.print(&json, &text)
}

/// What is said of a token that was not there before.
fn added(tenant: &str, credential: &Credential) -> (Value, String) {
    let expires = credential.expires.map_or_else(|| "never".to_owned(), date);
    let text = format!(
        "Token {} of tenant '{tenant}' works from the next request on; expires: {expires}.",
        credential.id
    );
    (json!({ "tenant": tenant, "token": describe(credential) }), text)
}

async fn list(operator: &Operator, tenant: &str, output: &show::Output) -> anyhow::Result<()> {
    let credentials = operator.tenants.credentials(tenant, operator.deadline()).await?;
    let now = operator.ambient.now();
    let rows: Vec<_> = credentials
        .iter()
        .map(|credential| {
            [
                credential.id.clone(),
                or_dash(Some(credential.label.clone())),
                state(credential, now).to_owned(),
                date(credential.created),
                credential.expires.map_or_else(|| "never".to_owned(), date),
            ]
        })
        .collect();
    let array = credentials.iter().map(describe).collect();
    output.print(
        &Value::Array(array),
        &show::table(["TOKEN", "LABEL", "STATE", "MADE", "EXPIRES"], &rows),
    )
}

async fn revoke(operator: &Operator, tenant: &str, id: &str, output: &show::Output) -> anyhow::Result<()> {
    let credential = operator
        .tenants
        .revoke(tenant, id, &operator.name, operator.deadline())
        .await?;
    let everywhere = credential.revoked.map(|revoked| revoked + CACHED);
    let text = format!(
        "Token {id} of tenant '{tenant}' is revoked. It is refused everywhere from {} UTC on.",
        or_dash(everywhere.map(show::second))
    );
    let json = json!({
        "tenant": tenant,
        "token": describe(&credential),
        "refusedEverywhereFrom": everywhere.map(show::exact),
    });
    output.print(&json, &text)
}

/// A token as JSON.
pub(super) fn describe(credential: &Credential) -> Value {
    json!({
        "id": credential.id,
        "label": credential.label,
        "imported": credential.origin == Origin::Imported,
        "created": show::exact(credential.created),
        "expires": credential.expires.map(show::exact),
        "revoked": credential.revoked.map(show::exact),
    })
}

fn state(credential: &Credential, now: OffsetDateTime) -> &'static str {
    match credential {
        Credential { revoked: Some(_), .. } => "revoked",
        _ if !credential.is_valid(now) => "expired",
        Credential {
            origin: Origin::Imported,
            ..
        } => "valid, imported",
        Credential { .. } => "valid",
    }
}

/// The secret on standard input, without the line end.
fn read_secret() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste the secret and end with Enter and Ctrl-D:");
    }
    let mut secret = String::new();
    let limit = MAX_SECRET_BYTES + 1;
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut secret)
        .context("the secret is no text")?;
    if secret.len() as u64 == limit {
        bail!("the secret is longer than {MAX_SECRET_BYTES} bytes");
    }
    Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
}
