//! Connects the conversations of `tests/idp` with the services under test.

use std::path::Path;

use crate::{
    idp::{self, Conversation},
    tenant::Tenant,
};

/// A conversation by the name of its trial: `entra::create-user`.
pub(crate) struct Named {
    pub(crate) name: String,
    conversation: Conversation,
}

/// Every conversation with one identity provider.
pub(crate) fn all(folder: &Path) -> Vec<Named> {
    let provider = folder.file_name().unwrap_or_default().to_string_lossy();
    let named = |conversation: Conversation| Named {
        name: format!("{provider}::{}", conversation.file.trim_end_matches(".json")),
        conversation,
    };
    idp::conversations(folder).into_iter().map(named).collect()
}

impl Named {
    /// Holds it; the error says where it went wrong.
    pub(crate) async fn hold(&self, tenant: &Tenant) -> Result<(), String> {
        idp::run(&self.conversation, tenant).await
    }
}

impl idp::Client for Tenant {
    fn base(&self) -> String {
        self.url()
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
            .raw(method, path_and_query, &headers, body.unwrap_or_default())
            .await;
        idp::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.bytes,
        }
    }
}
