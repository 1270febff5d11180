//! Whether anything is there, and is a SCIM endpoint.

use serde_json::Value;

use crate::doctor::{
    connection::Connection,
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
    let Some(response) = first_answer(visit, &ask).await? else {
        return Ok(Outcome::Done(vec!["no answer that can be read".to_owned()]));
    };
    let told = Ok(Outcome::Done(vec![format!("answered {}", response.status)]));
    let is_found = response.status == 200 && is_list(&response);
    if let Some(meant) = visit.endpoint.without_endpoint().filter(|_| !is_found) {
        let seen = format!("status {} and no list; meant is {}", response.status, meant.url());
        visit.found(
            "the Tenant URL",
            Flaw::new(Fault::TenantUrl, seen, b""),
            Some(&response),
        );
        return told;
    }
    if response.status == 404 && nothing_is_there(visit).await? {
        let seen = "status 404 to all that was asked there";
        let flaw = Flaw::new(Fault::TenantUrl, seen, &response.body);
        visit.found("the Tenant URL", flaw, Some(&response));
        return told;
    }
    let flaw = match response.status {
        _ if is_found => None,
        500..=599 if of_server(&response).is_some() => None,
        // A page of a firewall, for example, says nothing about the token.
        401 | 403 if of_server(&response).is_none() => visit.token.is_some().then_some(Fault::CredentialRefused),
        _ => Some(Fault::TestConnection),
    };
    if let Some(fault) = flaw {
        let seen = format!("status {} and no empty list", response.status);
        visit.found(&ask.title(), Flaw::new(fault, seen, &response.body), Some(&response));
    }
    told
}

/// Whether the path is unknown: servers that say 404 where a filter finds nobody have a list or say what they can.
async fn nothing_is_there(visit: &Visit) -> Result<bool, Spent> {
    let mut session = Session::new(visit);
    for path in ["/Users?count=1", "/ServiceProviderConfig", "/Schemas"] {
        let response = session.ask(&Ask::get(path)).await?;
        if response.is_none_or(|response| response.status != 404) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn first_answer(visit: &Visit, ask: &Ask) -> Result<Option<Response>, Spent> {
    visit.turn().await?;
    match visit.connect().await {
        Ok(connection) => Session::on(visit, connection).ask(ask).await,
        Err(flaw) => {
            let cause = match flaw.fault {
                Fault::Handshake => without_tls(visit).await,
                _ => None,
            };
            visit.found(&ask.title(), cause.unwrap_or(flaw), None);
            Ok(None)
        }
    }
}

/// Whether the port answers without TLS. Nothing is told there that was to be secret: no token, and no query of the Tenant URL.
async fn without_tls(visit: &Visit) -> Option<Flaw> {
    let mut connection = Connection::new(Box::new(visit.plain().await.ok()?));
    visit.count();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        visit.endpoint.authority
    );
    connection.send(request.as_bytes()).await.ok()?;
    let response = connection.answer(false, visit.pace.patience).await.response?;
    // So says who speaks TLS on this port and on no other.
    let is_turned_away = response.header("location").is_some_and(|url| url.starts_with("https:"));
    let meant = visit.endpoint.without_tls().url();
    let seen = format!("without TLS it answers {}; meant is {meant}", response.status);
    (response.status != 400 && !is_turned_away).then(|| Flaw::new(Fault::PlainPort, seen, b""))
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
