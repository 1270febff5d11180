//! Whether anything is there, and is a SCIM endpoint.

use serde_json::Value;

use crate::doctor::{
    fault::{Fault, Flaw},
    report::Outcome,
    request::Ask,
    session::Session,
    visit::{Spent, Visit, of_server},
    wire::Response,
};

pub(super) async fn reach(visit: &Visit) -> Result<Outcome, Spent> {
    if !visit.endpoint.is_https {
        visit.found("the Tenant URL", Flaw::new(Fault::PlainHttp, "http:", b""), None);
    }
    if let Some(proxy) = &visit.proxy {
        let flaw = Flaw::new(Fault::ThroughProxy, format!("CONNECT through {proxy}"), b"");
        visit.found("the Tenant URL", flaw, None);
    }
    let ask = test_connection(visit);
    let Some(response) = Session::new(visit).ask(&ask).await? else {
        return Ok(Outcome::Done(vec!["no answer that can be read".to_owned()]));
    };
    let flaw = match response.status {
        200 if is_list(&response) => None,
        500..=599 if of_server(&response).is_some() => None,
        // A page of a firewall, for example, says nothing about the token.
        401 | 403 if of_server(&response).is_none() => visit.token.is_some().then_some(Fault::CredentialRefused),
        _ => Some(Fault::TestConnection),
    };
    if let Some(fault) = flaw {
        let seen = format!("status {} and no empty list", response.status);
        visit.found(&ask.title(), Flaw::new(fault, seen, &response.body), Some(&response));
    }
    Ok(Outcome::Done(vec![format!("answered {}", response.status)]))
}

/// A search for somebody who does not exist.
pub(super) fn test_connection(visit: &Visit) -> Ask {
    let nobody = visit.ambient.new_id();
    Ask::filter("Users", &format!("userName eq \"{nobody}\""))
}

/// Whether it is a SCIM list (RFC 7644 §3.4.2).
pub(super) fn is_list(response: &Response) -> bool {
    let body: Result<Value, _> = serde_json::from_slice(&response.body);
    body.is_ok_and(|body| body["totalResults"].is_u64() && response.text().contains(":ListResponse"))
}
