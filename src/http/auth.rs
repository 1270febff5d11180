//! The credential of a request: `Authorization: Bearer <secret>` (RFC 6750 §2.1).

use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use time::{OffsetDateTime, macros::format_description};

use super::call::{Call, Failure};
use crate::{
    app::admission::{SOON, Turned},
    directory,
    scim::error::{Error as Refused, Rule},
    tenants::{Access, CACHED, Refusal},
};

/// Who sends this request.
pub(super) async fn authenticate(call: &Call<'_>) -> Result<Arc<Access>, Failure> {
    let secret = secret(call)?;
    let found = call
        .service
        .tenants
        .authenticate(call.tenant.as_deref(), secret, call.deadline)
        .await;
    found.map_err(|refusal| match refusal {
        Refusal::Unknown => Rule::Unauthorized.error().into(),
        Refusal::Expired(time, holder) => {
            call.sent_by(holder);
            Rule::TokenExpired.error().with("date", date(time)).into()
        }
        Refusal::Revoked(time, holder) => {
            call.sent_by(holder);
            Rule::TokenRevoked.error().with("date", date(time)).into()
        }
        Refusal::Paused(holder) => {
            call.sent_by(holder);
            // Sooner nobody here would know that the pause is over.
            Failure::Later(Rule::TenantPaused.error(), CACHED.unsigned_abs())
        }
        Refusal::TooMany => Turned::TooMany(SOON).into(),
        Refusal::Full => Turned::Full.into(),
        Refusal::Store(error) => directory::Error::from(error).into(),
        Refusal::Format(error) => directory::Error::from(error).into(),
    })
}

fn secret<'a>(call: &'a Call<'_>) -> Result<&'a str, Refused> {
    let value = call
        .request
        .headers()
        .get(AUTHORIZATION)
        .ok_or_else(|| Rule::NoCredential.error())?;
    let value = value.to_str().map_err(|_| Rule::TokenWithSpaces.error())?;
    let secret = bearer(value).ok_or_else(|| Rule::NoCredential.error())?.trim();
    if secret.is_empty() {
        return Err(Rule::NoCredential.error());
    }
    if bearer(secret).is_some() {
        return Err(Rule::BearerTwice.error());
    }
    if secret.contains(char::is_whitespace) {
        return Err(Rule::TokenWithSpaces.error());
    }
    Ok(secret)
}

/// What follows the word Bearer; schemes are compared without case (RFC 9110 §11.1).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, rest) = text.trim_start().split_once(char::is_whitespace).unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(rest)
}

fn date(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]"))
        .expect("a date has year, month and day")
}
