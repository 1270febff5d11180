//! Connects the conversations of `tests/idp` with the services under test.

use std::{cell::RefCell, collections::BTreeMap, path::Path};

use scimgate::scim::normalize::{Client, QUIRKS};
use serde_json::Value;

use tokio::sync::OnceCell;

use crate::{
    idp::{self, Conversation},
    moving::{self, EARLIER},
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

impl Named {
    /// Whether it is Entra, which goes on with ids that it was told before.
    pub(crate) fn may_move(&self) -> bool {
        self.provider == "entra" && self.conversation.saved().any(|place| place == "/id")
    }

    /// Holds it with an endpoint that gives way to another one in the midst of it.
    pub(crate) async fn hold_moving(&self, earlier: &Tenant) -> Result<(), String> {
        let client = Moving {
            earlier,
            later: OnceCell::new(),
        };
        idp::run(&self.conversation, &client).await?;
        let has_moved = client.later.initialized();
        has_moved.then_some(()).ok_or_else(|| "it never moved".to_owned())
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

/// A client whose users and groups are moved, with the ids by which it knows them, as soon as it goes on with some of them.
struct Moving<'t> {
    earlier: &'t Tenant,
    later: OnceCell<Tenant>,
}

impl idp::Client for Moving<'_> {
    fn base(&self) -> String {
        format!("{}{EARLIER}", self.earlier.world.origin)
    }

    async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
        body: Option<Vec<u8>>,
    ) -> idp::Answer {
        let tenant = self.later.get().unwrap_or(self.earlier);
        let bearer = format!("Bearer {}", tenant.secret);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = headers.chain([("Authorization", bearer.as_str())]).collect();
        let path = format!("{EARLIER}{path_and_query}");
        let answer = tenant.at(method, &path, &headers, body.unwrap_or_default()).await;
        idp::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.bytes,
        }
    }

    async fn before(&self, method: &str, saved: &mut BTreeMap<String, String>) -> Result<(), String> {
        if method == "POST" || self.later.initialized() {
            return Ok(());
        }
        let resources = moving::export(self.earlier).await;
        if resources.is_empty() {
            return Ok(());
        }
        let text = |resource: &Value, pointer| {
            resource
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        let ids: Vec<_> = resources.iter().map(|resource| text(resource, "/id")).collect();
        let renewed = |mut known: String| {
            for (n, id) in ids.iter().enumerate() {
                known = known.replace(id, &moving::earlier_id(n));
            }
            known
        };
        // Members before their users.
        let lines: Vec<String> = resources
            .iter()
            .rev()
            .map(|resource| renewed(resource.to_string()))
            .collect();
        let (later, report) = moving::import(&self.earlier.world, &lines.join("\n")).await;
        if report["end"] != "done" {
            return Err(format!("not imported: {report:#}"));
        }
        let moved = moving::export(&later).await;
        for known in saved.values_mut() {
            *known = renewed(std::mem::take(known));
            // Versions are new, and Entra keeps none.
            let of = resources
                .iter()
                .find(|resource| text(resource, "/meta/version") == *known);
            let of = of.map(|resource| renewed(text(resource, "/id")));
            if let Some(resource) = moved.iter().find(|resource| Some(text(resource, "/id")) == of) {
                *known = text(resource, "/meta/version");
            }
        }
        self.later.set(later).map_err(|error| error.to_string())
    }
}
