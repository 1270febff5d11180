//! Connects the conversations of `tests/idp` with the services under test.

use std::{cell::RefCell, path::Path};

use scimgate::scim::normalize::{Client, QUIRKS};

use crate::{
    idp::{self, Conversation},
    tenant::Tenant,
};

/// A conversation by the name of its trial: `entra::create-user`.
pub(crate) struct Named {
    pub(crate) name: String,
    provider: String,
    conversation: Conversation,
}

/// Every conversation with one identity provider.
pub(crate) fn all(folder: &Path) -> Vec<Named> {
    let provider = folder.file_name().unwrap_or_default().to_string_lossy();
    let named = |conversation: Conversation| Named {
        name: format!("{provider}::{}", conversation.file.trim_end_matches(".json")),
        provider: provider.clone().into_owned(),
        conversation,
    };
    idp::conversations(folder).into_iter().map(named).collect()
}

impl Named {
    /// Holds it, whoever sends it.
    pub(crate) async fn held_by(&self, client: &impl idp::Client) -> Result<(), String> {
        idp::run(&self.conversation, client).await
    }

    /// Holds it; the error says where it went wrong.
    pub(crate) async fn hold(&self, tenant: &Tenant) -> Result<(), String> {
        let client = Listening {
            tenant,
            noted: RefCell::default(),
        };
        idp::run(&self.conversation, &client).await?;
        let clients = clients(&self.provider);
        let noted = client.noted.take();
        let is_listed = |quirk: &str| {
            let entry = QUIRKS.iter().find(|entry| entry.name == quirk);
            entry.is_some_and(|entry| entry.clients.iter().any(|client| clients.contains(client)))
        };
        match noted.iter().find(|quirk| !is_listed(quirk)) {
            Some(quirk) => Err(format!("docs/dialects.md does not list {quirk} for {}", self.provider)),
            None => Ok(()),
        }
    }
}

/// Who speaks in the conversations of a folder.
fn clients(provider: &str) -> &'static [Client] {
    match provider {
        "google-workspace" => &[Client::GoogleWorkspace],
        "keycloak" => &[Client::Keycloak],
        "onelogin" => &[Client::OneLogin],
        "ping" => &[Client::Ping],
        "authentik" => &[Client::Authentik],
        "entra" => &[Client::EntraFlagOff, Client::EntraFlagOn],
        "jumpcloud" => &[Client::JumpCloud],
        "microsoft-logic-app" | "microsoft-scimvalidator" => &[Client::Validators],
        "okta" => &[Client::Okta],
        other => panic!("docs/dialects.md has no client {other}"),
    }
}

/// A client that remembers which quirks it was told of.
struct Listening<'t> {
    tenant: &'t Tenant,
    noted: RefCell<Vec<String>>,
}

impl idp::Client for Listening<'_> {
    fn base(&self) -> String {
        self.tenant.url()
    }

    async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
        body: Option<Vec<u8>>,
    ) -> idp::Answer {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = self
            .tenant
            .raw(method, path_and_query, &headers, body.unwrap_or_default())
            .await;
        if let Some(notes) = answer.header("scimgate-normalized") {
            // The last one may say how many more there are.
            let quirks = notes
                .split(", ")
                .filter_map(|note| Some(note.split_once(' ')?.0))
                .filter(|word| *word != "and");
            self.noted.borrow_mut().extend(quirks.map(str::to_owned));
        }
        idp::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.bytes,
        }
    }
}
