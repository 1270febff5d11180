//! A user's life as Entra lives it, in all its dialects.

use serde_json::{Value, json};

use super::probes::{UNCHANGED, check, form};
use crate::doctor::{
    fault::{Fault, Flaw},
    report::Outcome,
    request::Ask,
    session::Session,
    visit::{Spent, Visit},
    wire::Response,
};

mod made;
mod patches;
mod removal;

pub(in crate::doctor) use made::Made;
use made::{Create, MAX_ID, Standing, found_paths, path};
use patches::patches;
pub(in crate::doctor) use removal::clean_up;

const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The test user.
struct Life<'v> {
    visit: &'v Visit,
    session: Session<'v>,
    user_name: String,
    external_id: String,
}

pub(super) async fn life(visit: &Visit) -> Result<Outcome, Spent> {
    let mut life = Life {
        visit,
        session: Session::new(visit),
        user_name: format!("scimgate-doctor-{}@example.invalid", visit.ambient.new_id()),
        external_id: visit.ambient.new_id().to_string(),
    };
    let Some(path) = life.create().await? else {
        return Ok(Outcome::Done(vec!["no account was made that can be seen".to_owned()]));
    };
    life.create_again().await?;
    life.look_up(&path).await?;
    let changes = life.change(&path).await?;
    let compared = life.compare(&path).await?;
    life.delete(&path).await?;
    life.create_nameless().await?;
    Ok(Outcome::Done(vec![format!(
        "{changes} kinds of changes tried on {}; conditions answered {}",
        life.user_name,
        compared.join(", ")
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

    /// Its path, where it has been seen.
    async fn create(&mut self) -> Result<Option<String>, Spent> {
        let ask = self.create_request();
        let made = Made::new("userName", &self.user_name);
        let Some(response) = self.send_create(&ask, &made).await? else {
            return Ok(None);
        };
        let body = body(&response);
        if !matches!(response.status, 200 | 201) || path(&body).is_none() {
            let seen = match response.status {
                status @ (200 | 201) => format!("status {status} without an id of 1 to {MAX_ID} bytes"),
                status => format!("status {status}"),
            };
            self.found(&ask, Fault::CreateFails, seen, &response);
            return Ok(None);
        }
        self.look_at_created(&ask, &response, &body);
        self.claim(&made, &response).await
    }

    /// What is sent may take effect from then on, whatever becomes of its answer.
    async fn send_create(&mut self, ask: &Ask, made: &Made) -> Result<Option<Response>, Spent> {
        made.note(self.visit, |made| made.create = Create::Open);
        let response = self.session.ask(ask).await?;
        let create = response.as_ref().map_or(Create::Open, Create::answered);
        made.note(self.visit, |made| made.create = create);
        Ok(response)
    }

    /// The path that a create was answered with, once a GET has shown the test user there: what an answer calls `id` may
    /// be that of a job, and somebody else's account has the same.
    async fn claim(&mut self, made: &Made, created: &Response) -> Result<Option<String>, Spent> {
        let Some(path) = named(created) else {
            return Ok(None);
        };
        let ask = Ask::get(&path);
        let Some(response) = self.session.ask(&ask).await? else {
            return Ok(None);
        };
        if made.standing(&response) != Standing::Ours {
            let seen = format!("status {}, not the account that was created", response.status);
            self.found(&ask, Fault::LookUpFails, seen, &response);
            return Ok(None);
        }
        made.note(self.visit, |made| made.is_at(&path));
        Ok(Some(path))
    }

    fn look_at_created(&self, ask: &Ask, response: &Response, body: &Value) {
        let lacks: Vec<_> = [
            (response.status == 201, "status 201"),
            (response.header("location").is_some(), "Location"),
            (body["meta"]["location"].is_string(), "meta.location"),
            (body["id"].is_string(), "an id that is a string"),
            (body["userName"] == self.user_name.as_str(), "userName"),
            (body["externalId"] == self.external_id.as_str(), "externalId"),
        ]
        .into_iter()
        .filter_map(|(is_there, name)| (!is_there).then_some(name))
        .collect();
        if !lacks.is_empty() {
            self.found(
                ask,
                Fault::CreatedAnswer,
                format!("lacks {}", lacks.join(", ")),
                response,
            );
        }
        if body["active"] == true {
            self.found(
                ask,
                Fault::DisableLost,
                "created with active false, answered with true",
                response,
            );
        }
    }

    /// What a proxy does when it sends a POST again, and Entra after a lost answer.
    async fn create_again(&mut self) -> Result<(), Spent> {
        let ask = self.create_request();
        let made = Made::new("userName", &self.user_name);
        let Some(response) = self.send_create(&ask, &made).await? else {
            return Ok(());
        };
        match response.status {
            409 => {
                form(self.visit, &ask, &response);
                made.note(self.visit, |made| made.create = Create::Known);
            }
            200 | 201 if named(&response).is_some_and(|path| made.is_known_at(self.visit, &path)) => {
                made.note(self.visit, |made| made.create = Create::Known);
            }
            200..=299 => {
                let seen = format!("status {}", response.status);
                self.found(&ask, Fault::DuplicateAccepted, seen, &response);
                self.claim(&made, &response).await?;
            }
            500.. => {}
            status => {
                let seen = format!("status {status} to a create of what exists, expected 409");
                self.found(&ask, Fault::WrongStatus, seen, &response);
            }
        }
        Ok(())
    }

    /// Without `userName`, which is required (RFC 7643 §4.1.1); the identifier tells what a lenient server makes of it.
    async fn create_nameless(&mut self) -> Result<(), Spent> {
        let external_id = self.visit.ambient.new_id().to_string();
        let ask = Ask::new("POST", "/Users")
            .json(&json!({ "schemas": [CORE], "externalId": external_id, "active": false }))
            .changing();
        let made = Made::new("externalId", &external_id);
        let Some(response) = self.send_create(&ask, &made).await? else {
            return Ok(());
        };
        check(self.visit, &ask, &[400], &response);
        if (200..300).contains(&response.status) {
            self.claim(&made, &response).await?;
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
            if response.status < 500 && found_paths(&body(&response)) != [path] {
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
                500 | 502.. => continue,
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
        Ok(patches.len())
    }

    /// Asks for it unless it has changed, and changes it only in a version that it never had (RFC 7644 §3.14); the statuses.
    async fn compare(&mut self, path: &str) -> Result<Vec<String>, Spent> {
        let mut compared = Vec::new();
        let ask = Ask::get(path);
        let shown = self.session.ask(&ask).await?;
        if let Some(again) = shown.and_then(|shown| ask.unless_changed(&shown))
            && let Some(response) = self.session.ask(&again).await?
        {
            check(self.visit, &again, UNCHANGED, &response);
            compared.push(response.status.to_string());
        }
        let change = patches(&self.user_name)[0].body();
        let stale = Ask::new("PATCH", path).json(&change);
        let stale = stale.on("if-match", "\"scimgate-doctor\"");
        if let Some(response) = self.session.ask(&stale).await? {
            check(self.visit, &stale, &[412, 200, 204, 501], &response);
            compared.push(response.status.to_string());
        }
        Ok(compared)
    }

    /// Deletes, and looks whether it is gone.
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
        if let Some(response) = self.session.ask(&Ask::get(path)).await?
            && response.status < 400
        {
            self.found(
                &ask,
                Fault::DeletedShown,
                format!("status {} to a GET then", response.status),
                &response,
            );
        }
        let ask = Ask::filter("Users", &format!("userName eq \"{}\"", self.user_name));
        if let Some(response) = self.session.ask(&ask).await?
            && found_paths(&body(&response)).iter().any(|found| found == path)
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

/// Where an answer says that an account is.
pub(super) fn named(response: &Response) -> Option<String> {
    path(&body(response))
}
