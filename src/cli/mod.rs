//! The command line: what can be said, one file a command.

use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::time::Instant;

use crate::{
    ambient::{Ambient, System},
    app,
    config::Settings,
    tenants::Tenants,
};

mod serve;
mod show;
mod tenant;
mod token;

/// SCIM 2.0 for SaaS vendors, on Azure Functions and Table Storage.
#[derive(Debug, Parser)]
#[command(name = "scimgate", version, about, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve SCIM requests; the default
    Serve(serve::Serve),
    /// Make, show, rename and remove tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Make, show, revoke and import secret tokens
    #[command(subcommand)]
    Token(token::Command),
}

/// Runs a command; what it returns is the exit code.
pub async fn run(cli: Cli) -> anyhow::Result<u8> {
    let settings = cli.settings;
    match cli.command.unwrap_or(Command::Serve(serve::Serve::default())) {
        Command::Serve(serve) => serve::run(settings, &serve).await,
        Command::Tenant(command) => tenant::run(&Operator::new(settings).await?, command).await.map(|()| 0),
        Command::Token(command) => token::run(&Operator::new(settings).await?, command).await.map(|()| 0),
    }
}

/// What an operator's command works with.
struct Operator {
    settings: Settings,
    tenants: Tenants,
    ambient: Arc<dyn Ambient>,
    /// Who it is, for the log of changes.
    name: String,
}

impl Operator {
    async fn new(settings: Settings) -> anyhow::Result<Self> {
        let store = app::open_store(&settings).await.context("the store can't be opened")?;
        let ambient: Arc<dyn Ambient> = Arc::new(System);
        let tenants = Tenants::new(store, Arc::clone(&ambient));
        Ok(Self {
            settings,
            tenants,
            ambient,
            name: "operator".to_owned(),
        })
    }

    /// Until when one step may take.
    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.deadline()
    }

    /// What the customer pastes into its identity provider.
    fn tenant_url(&self, name: &str) -> String {
        tenant_url(&self.settings, name)
    }
}

fn tenant_url(settings: &Settings, name: &str) -> String {
    let base = match &settings.public_url {
        Some(url) => url.clone(),
        None => format!("http://localhost:{}", settings.port()),
    };
    format!("{base}/scim/{name}")
}
