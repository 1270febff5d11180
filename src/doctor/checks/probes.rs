//! Every endpoint, every method, every refusal: what is asked of each endpoint, and what the answer must be.

use futures::future::join_all;
use serde_json::json;

use super::reach::test_connection;
use crate::doctor::{
    fault::{Fault, Flaw},
    report::Outcome,
    request::{Ask, Who},
    session::Session,
    visit::{Spent, Visit},
    wire::Response,
};

/// Sessions at once; each has silence behind every answer.
const SESSIONS: usize = 6;

/// A request that changes nothing at any server, and the statuses that are right.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) ask: Ask,
    right: &'static [u16],
}

/// Whatever an optional endpoint may say.
const OPTIONAL: &[u16] = &[200, 204, 403, 404, 405, 501];
const UNAUTHORIZED: &[u16] = &[401, 403];
/// To who asks only for what has changed; versions are optional (RFC 7644 §3.14).
pub(super) const UNCHANGED: &[u16] = &[304, 200];

pub(super) fn probes(visit: &Visit) -> Vec<Probe> {
    let nobody = visit.ambient.new_id();
    let unknown = format!("/Users/{nobody}");
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "Replace", "path": "displayName", "value": "x" }],
    });
    let get = |path: &str| Ask::get(path);
    let probe = |ask, right| Probe { ask, right };
    let mut probes = vec![
        probe(test_connection(visit), &[200]),
        probe(get("/Users?startIndex=1&count=1"), &[200]),
        probe(Ask::new("HEAD", "/Users?count=1"), OPTIONAL),
        probe(get("/Groups?excludedAttributes=members&count=1"), OPTIONAL),
        probe(get("/ServiceProviderConfig"), &[200]),
        probe(Ask::new("HEAD", "/ServiceProviderConfig"), OPTIONAL),
        probe(get("/ResourceTypes"), &[200]),
        probe(get("/Schemas"), &[200]),
        probe(Ask::new("OPTIONS", "/Users"), &[]),
        probe(get("/Me"), &[]),
        probe(get(&unknown), &[404]),
        probe(Ask::new("HEAD", unknown.clone()), &[404, 405, 501]),
        probe(get("/scimgate-doctor-asks-for-nothing"), &[404]),
        probe(Ask::filter("Users", "userName eq"), &[400]),
        // The one 403 that every server has for a question without consequences (RFC 7644 §4).
        probe(Ask::filter("ResourceTypes", "name eq \"User\""), &[403, 400, 200]),
        // Quotation marks that somebody forgot to encode: proxies pass them on, and HTTP/2 calls the request malformed.
        probe(get(&format!("/Users?filter=userName+eq+\"{nobody}\"")), &[200, 400]),
        probe(get("/Users?count=1").by(Who::Nobody), UNAUTHORIZED),
        probe(get("/Users?count=1").by(Who::Stranger), UNAUTHORIZED),
        probe(Ask::new("HEAD", "/Users").by(Who::Nobody), &[401, 403, 404, 405, 501]),
        probe(broken_create().by(Who::Nobody), UNAUTHORIZED),
        probe(Ask::new("DELETE", unknown.clone()).by(Who::Stranger), UNAUTHORIZED),
        probe(broken_create(), &[400]),
        probe(Ask::new("POST", "/Users").raw("text/plain", b"no account"), &[400, 415]),
        // PATCH is optional (RFC 7644 §3.5.2).
        probe(Ask::new("PATCH", unknown.clone()).json(&patch), &[404, 501]),
        probe(Ask::new("DELETE", unknown), &[404, 204]),
        probe(
            Ask::new("PUT", "/ServiceProviderConfig").json(&json!({})),
            &[403, 404, 405, 501],
        ),
        probe(Ask::new("DELETE", "/Schemas"), &[403, 404, 405, 501]),
    ];
    if visit.has_found(Fault::BrokenAccepted) {
        probes.retain(|probe| probe.ask.method != "POST");
    }
    probes
}

/// A create whose body ends too early: nobody can make an account of it, and nobody's is ever asked for where the answer must be
/// a refusal, as there are servers that make one of `{}`.
pub(super) fn broken_create() -> Ask {
    Ask::new("POST", "/Users").raw("application/scim+json", b"{\"schemas\":[")
}

pub(super) async fn wire(visit: &Visit) -> Result<Outcome, Spent> {
    let probes = probes(visit);
    let shares: Vec<Vec<&Probe>> = (0..SESSIONS)
        .map(|share| probes.iter().skip(share).step_by(SESSIONS).collect())
        .collect();
    let sessions = shares.iter().map(|share| async move {
        let mut session = Session::new(visit);
        let mut statuses = Vec::new();
        for Probe { ask, right } in share {
            let response = session.ask(ask).await?;
            statuses.push(response.as_ref().map(|response| response.status));
            let Some(response) = response else { continue };
            check(visit, ask, right, &response);
            if let Some(again) = ask.unless_changed(&response) {
                let response = session.ask(&again).await?;
                statuses.push(response.as_ref().map(|response| response.status));
                if let Some(response) = response {
                    check(visit, &again, UNCHANGED, &response);
                }
            }
        }
        Ok::<_, Spent>(statuses)
    });
    let mut statuses = Vec::new();
    for share in join_all(sessions).await {
        statuses.extend(share?);
    }
    let asked = statuses.len();
    let mut statuses: Vec<_> = statuses.into_iter().flatten().collect();
    let count = statuses.len();
    statuses.sort_unstable();
    statuses.dedup();
    let met: Vec<_> = statuses.iter().map(u16::to_string).collect();
    let told = format!("{count} of {asked} requests answered, statuses {}", met.join(", "));
    Ok(Outcome::Done(vec![told]))
}

/// Whether the answer is what SCIM says.
pub(super) fn check(visit: &Visit, ask: &Ask, right: &[u16], response: &Response) {
    let status = response.status;
    let found = |fault, seen: String| visit.found(&ask.title(), Flaw::new(fault, seen, &response.body), Some(response));
    if status >= 500 && status != 501 || status == 429 {
        return;
    }
    let is_refused = ask.who == Who::Tenant && matches!(status, 401 | 403);
    let is_success = (200..300).contains(&status);
    let is_made = is_success && ask.method == "POST";
    if is_made {
        let made = super::entra::named(response).unwrap_or_else(|| "no id".to_owned());
        found(Fault::BrokenAccepted, format!("status {status}, {made}"));
    }
    if ask.who != Who::Tenant && is_success {
        found(Fault::CredentialIgnored, format!("status {status}"));
    } else if is_refused && visit.token.is_some() && visit.has_found(Fault::CredentialRefused)
        || is_refused && visit.token.is_none()
    {
        return;
    } else if !is_made && !right.is_empty() && !right.contains(&status) {
        let right: Vec<_> = right.iter().map(u16::to_string).collect();
        found(
            Fault::WrongStatus,
            format!("status {status}, expected {}", right.join(" or ")),
        );
    }
    if status == 401 && response.header("www-authenticate").is_none() {
        found(Fault::NoChallenge, "401".to_owned());
    }
    form(visit, ask, response);
}

/// Whether body and media type are those of SCIM.
pub(super) fn form(visit: &Visit, ask: &Ask, response: &Response) {
    let found = |fault, seen: String| visit.found(&ask.title(), Flaw::new(fault, seen, &response.body), Some(response));
    // What is no request never reaches the application.
    if response.status >= 400
        && !ask.is_head()
        && ask.has_target()
        && !response.text().contains("urn:ietf:params:scim:api:messages:2.0:Error")
    {
        found(
            Fault::ErrorForm,
            format!("status {}, {} bytes", response.status, response.body.len()),
        );
    }
    let media_type = response.header("content-type").unwrap_or_default();
    let is_scim = ["application/scim+json", "application/json"]
        .iter()
        .any(|known| media_type.starts_with(known));
    // OPTIONS is none of SCIM's methods.
    if response.status < 400 && !response.body.is_empty() && !is_scim && ask.method != "OPTIONS" {
        found(Fault::MediaType, format!("Content-Type: {media_type}"));
    }
}
