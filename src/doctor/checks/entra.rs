//! A user's life as Entra lives it, in all its dialects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::doctor::{
    fault::{Fault, Flaw},
    report::Outcome,
    request::Ask,
    session::Session,
    visit::{Made, Spent, Visit, lock},
    wire::Response,
};

mod patches;
mod removal;

use patches::patches;
pub(in crate::doctor) use removal::clean_up;

/// What is encoded in an id.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The test user.
struct Life<'v> {
    visit: &'v Visit,
    session: Session<'v>,
    user_name: String,
    external_id: String,
}

impl Made {
    /// For people.
    pub(in crate::doctor) fn describe(&self) -> String {
        match &self.path {
            Some(path) => format!("{} at {path}", self.user_name),
            None => format!("{} (perhaps: the answer to its create was lost)", self.user_name),
        }
    }
}

pub(super) async fn life(visit: &Visit) -> Result<Outcome, Spent> {
    let mut life = Life {
        visit,
        session: Session::new(visit),
        user_name: format!("scimgate-doctor-{}@example.invalid", visit.ambient.new_id()),
        external_id: visit.ambient.new_id().to_string(),
    };
    let Some(path) = life.create().await? else {
        return Ok(Outcome::Done(vec!["no account was made".to_owned()]));
    };
    life.create_again().await?;
    life.look_up(&path).await?;
    let changes = life.change(&path).await?;
    life.delete(&path).await?;
    Ok(Outcome::Done(vec![format!(
        "{changes} kinds of changes tried on {}",
        life.user_name
    )]))
}

impl Life<'_> {
    fn found(&self, ask: &Ask, fault: Fault, seen: impl Into<String>, response: &Response) {
        let flaw = Flaw::new(fault, seen, &response.body);
        self.visit.found(&ask.title(), flaw, Some(response));
    }

    /// As Entra writes it, but inactive.
    fn create_request(&self) -> Ask {
        Ask::new("POST", "/Users")
            .json(&json!({
                "schemas": [CORE, ENTERPRISE],
                "externalId": self.external_id,
                "userName": self.user_name,
                "active": false,
                "displayName": "scimgate doctor (test, to be removed)",
                "emails": [{ "primary": true, "type": "work", "value": self.user_name }],
                "meta": { "resourceType": "User" },
                "name": { "formatted": "scimgate doctor", "familyName": "doctor", "givenName": "scimgate" },
                "roles": [],
            }))
            .changing()
    }

    /// Its path.
    async fn create(&mut self) -> Result<Option<String>, Spent> {
        let ask = self.create_request();
        let made = Made {
            user_name: self.user_name.clone(),
            path: None,
        };
        lock(&self.visit.made).push(made);
        let Some(response) = self.session.ask(&ask).await? else {
            return Ok(None);
        };
        let body = body(&response);
        let path = path_of_created(&body, &self.user_name);
        if !matches!(response.status, 200 | 201) || path.is_none() {
            self.found(
                &ask,
                Fault::CreateFails,
                format!("status {}", response.status),
                &response,
            );
            return Ok(None);
        }
        if let Some(made) = lock(&self.visit.made).last_mut() {
            made.path.clone_from(&path);
        }
        let lacks: Vec<_> = [
            (response.status == 201, "status 201"),
            (response.header("location").is_some(), "Location"),
            (body["meta"]["location"].is_string(), "meta.location"),
            (body["userName"] == self.user_name.as_str(), "userName"),
            (body["externalId"] == self.external_id.as_str(), "externalId"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| (!is_there).then_some(name))
        .collect();
        if !lacks.is_empty() {
            self.found(
                &ask,
                Fault::CreatedAnswer,
                format!("lacks {}", lacks.join(", ")),
                &response,
            );
        }
        if body["active"] == true {
            self.found(
                &ask,
                Fault::DisableLost,
                "created with active false, answered with true",
                &response,
            );
        }
        Ok(path)
    }

    /// What a proxy does when it sends a POST again, and Entra after a lost answer.
    async fn create_again(&mut self) -> Result<(), Spent> {
        let ask = self.create_request();
        let Some(response) = self.session.ask(&ask).await? else {
            return Ok(());
        };
        match (response.status, path_of_created(&body(&response), &self.user_name)) {
            (409, _) => super::probes::form(self.visit, &ask, &response),
            (200 | 201, Some(path)) => {
                let user_name = self.user_name.clone();
                let is_new = !lock(&self.visit.made)
                    .iter()
                    .any(|made| made.path.as_ref() == Some(&path));
                if is_new {
                    lock(&self.visit.made).push(Made {
                        user_name,
                        path: Some(path),
                    });
                    self.found(
                        &ask,
                        Fault::DuplicateAccepted,
                        format!("status {}", response.status),
                        &response,
                    );
                }
            }
            (500.., _) => {}
            (status, _) => {
                let seen = format!("status {status} to a create of what exists, expected 409");
                self.found(&ask, Fault::WrongStatus, seen, &response);
            }
        }
        Ok(())
    }

    /// As Entra matches: by name, whatever its case, and by its own id.
    async fn look_up(&mut self, path: &str) -> Result<(), Spent> {
        let shouted = self.user_name.to_ascii_uppercase();
        let filters = [
            format!("userName eq \"{}\"", self.user_name),
            format!("userName eq \"{shouted}\""),
            format!("externalId eq \"{}\"", self.external_id),
        ];
        for filter in filters {
            let ask = Ask::filter("Users", &filter);
            let Some(response) = self.session.ask(&ask).await? else {
                continue;
            };
            if response.status < 500 && found_paths(&response) != [path] {
                let seen = format!("{filter}: status {}, not the account", response.status);
                self.found(&ask, Fault::LookUpFails, seen, &response);
            }
        }
        for ask in [Ask::get(path), Ask::new("HEAD", path)] {
            if let Some(response) = self.session.ask(&ask).await?
                && !ask.is_head()
                && response.status != 200
                && response.status < 500
            {
                self.found(
                    &ask,
                    Fault::LookUpFails,
                    format!("status {}", response.status),
                    &response,
                );
            }
        }
        Ok(())
    }

    /// How many kinds of changes were tried.
    async fn change(&mut self, path: &str) -> Result<usize, Spent> {
        let patches = patches(&self.user_name);
        for patch in &patches {
            let ask = Ask::new("PATCH", path).json(&patch.body()).changing();
            let at = format!("{} ({})", ask.title(), patch.title);
            let Some(response) = self.session.ask(&ask).await? else {
                continue;
            };
            match response.status {
                200 | 204 => {}
                500.. => continue,
                status => {
                    let flaw = Flaw::new(Fault::PatchFails, format!("status {status}"), &response.body);
                    self.visit.found(&at, flaw, Some(&response));
                    continue;
                }
            }
            let ask = Ask::get(path);
            let Some(response) = self.session.ask(&ask).await? else {
                continue;
            };
            let body = body(&response);
            if response.status == 200
                && patch
                    .expected
                    .iter()
                    .any(|(pointer, value)| !has(&body, pointer, value))
            {
                let fault = if patch.title.starts_with("disable") {
                    Fault::DisableLost
                } else {
                    Fault::PatchLost
                };
                let flaw = Flaw::new(fault, "not there when it is read again", &response.body);
                self.visit.found(&at, flaw, Some(&response));
            }
        }
        let mut stale = Ask::new("PATCH", path).json(&patches[0].body());
        stale.if_match = Some("W/\"scimgate-doctor\"");
        self.session.ask(&stale).await?;
        Ok(patches.len())
    }

    /// Deletes, and makes sure that it is gone.
    async fn delete(&mut self, path: &str) -> Result<(), Spent> {
        let ask = Ask::new("DELETE", path).changing();
        let Some(response) = self.session.ask(&ask).await? else {
            return Ok(());
        };
        if !(200..300).contains(&response.status) {
            self.found(
                &ask,
                Fault::DeleteFails,
                format!("status {}", response.status),
                &response,
            );
            return Ok(());
        }
        lock(&self.visit.made).retain(|made| made.path.as_deref() != Some(path));
        if let Some(response) = self.session.ask(&Ask::get(path)).await?
            && response.status < 400
        {
            let (user_name, path) = (self.user_name.clone(), Some(path.to_owned()));
            lock(&self.visit.made).push(Made { user_name, path });
            self.found(
                &ask,
                Fault::DeletedShown,
                format!("status {} to a GET then", response.status),
                &response,
            );
        }
        let ask = Ask::filter("Users", &format!("userName eq \"{}\"", self.user_name));
        if let Some(response) = self.session.ask(&ask).await?
            && found_paths(&response).iter().any(|found| found == path)
        {
            self.found(&ask, Fault::DeletedShown, "in a list", &response);
        }
        let again = Ask::new("DELETE", path);
        if let Some(response) = self.session.ask(&again).await?
            && !matches!(response.status, 204 | 404 | 500..)
        {
            self.found(
                &again,
                Fault::WrongStatus,
                format!("status {}, expected 404", response.status),
                &response,
            );
        }
        Ok(())
    }
}

/// A member that is `null` must not be there.
fn has(body: &Value, pointer: &str, value: &Value) -> bool {
    let found = match pointer.split_once('#') {
        // The value of the element of this type.
        Some((list, kind)) => {
            let mut elements = body[list].as_array().into_iter().flatten();
            elements
                .find(|element| element["type"] == kind)
                .map(|element| &element["value"])
        }
        None => body.pointer(pointer),
    };
    found.unwrap_or(&Value::Null) == value
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

fn path(resource: &Value) -> Option<String> {
    let id = resource["id"].as_str().filter(|id| !id.is_empty())?;
    Some(format!("/Users/{}", utf8_percent_encode(id, PATH)))
}

fn found_paths(response: &Response) -> Vec<String> {
    let body = body(response);
    let resources = body["Resources"].as_array().into_iter().flatten();
    resources.filter_map(path).collect()
}

/// The path of what was answered to a create, unless it is somebody else.
fn path_of_created(resource: &Value, user_name: &str) -> Option<String> {
    let name = resource["userName"].as_str().unwrap_or(user_name);
    name.eq_ignore_ascii_case(user_name).then(|| path(resource)).flatten()
}
