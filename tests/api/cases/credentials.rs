//! Who may come in, and what others are told (RFC 6750, RFC 9110 §11).

use std::collections::BTreeSet;

use scimgate::{
    ambient::{Ambient, System},
    tenants::{Expiry, Issued, Terms},
};
use serde_json::Value;
use time::Duration;
use tokio::time::Instant;

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, user},
    world::Way,
};

use super::errors::reference;

cases![
    who_shows_a_wrong_credential_learns_nothing,
    who_shows_no_credential_learns_nothing,
    an_expired_token_says_since_when,
    a_revoked_token_says_since_when,
    what_was_pasted_wrongly_is_named,
    a_credential_may_be_spelled_in_several_ways,
    a_token_with_letters_beyond_ascii_is_401
        .not_in(
            Way::Proxy,
            "HttpClient sends only ASCII headers",
            "letters_beyond_ascii_end_in_the_proxying_host"
        )
        .not_in(
            Way::Forward,
            "HttpClient sends only ASCII headers",
            "letters_beyond_ascii_end_in_the_forwarding_host"
        ),
    letters_beyond_ascii_end_in_the_proxying_host.only(Way::Proxy, "there the host refuses them itself"),
    letters_beyond_ascii_end_in_the_forwarding_host.only(Way::Forward, "there the host refuses them itself"),
    a_revoked_token_is_refused_at_once.only(Way::Direct, "another process believes a token for up to 60 s"),
    a_secret_tried_too_early_works_once_it_is_added.only(Way::Direct, "another process remembers it for up to 5 s"),
    a_new_token_works_at_once_beside_the_old_one,
    tokens_are_random_and_short,
    an_imported_secret_may_be_anything_that_fits_a_header,
    a_challenge_names_scheme_and_realm,
    a_secret_in_the_url_is_no_credential,
    a_tenant_reaches_its_own_resources_only,
    a_removed_tenant_is_as_good_as_unknown,
];

async fn ask(t: &Tenant, authorization: &str) -> Answer {
    t.raw("GET", "/Users?count=0", &[("Authorization", authorization)], "")
        .await
}

/// All of a refusal that is the same every time. Whether the connection goes on depends on how much of a body had come.
fn lasting(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    reference(answer);
    let mut body = answer.body.clone();
    body["detail"] = answer.detail().rsplit_once(" Reference ").map(|(text, _)| text).into();
    (answer.status, answer.lasting_headers(), body)
}

/// No such tenant, no such secret, another tenant's: never told apart, or an attacker would find customers by their names
/// and learn which tokens once worked.
async fn who_shows_a_wrong_credential_learns_nothing(t: &Tenant) {
    let other = t.neighbour().await;
    let past = System.now() - Duration::days(1);
    let expired = Terms {
        expires: Some(Expiry::At(past)),
        ..Terms::default()
    };
    let expired = other.issue(None, &expired).await.secret;
    let revoked = other.issue(None, &Terms::default()).await;
    other.revoke(&revoked.credential.id).await;
    let (mine, unknown) = (t.name.as_str(), "no-such-tenant");
    for (method, path) in [
        ("GET", "/Users"),
        ("POST", "/Users"),
        ("OPTIONS", "/Users"),
        ("DELETE", "/Users/2819c223"),
        ("GET", "/ServiceProviderConfig"),
        ("GET", "/Schemas?filter=id%20pr"),
        ("GET", "/Nonsense"),
        ("PUT", "/Users"),
    ] {
        let mut first = None;
        for (tenant, secret) in [
            (mine, "wrong"),
            (mine, &other.secret),
            (mine, &expired),
            (mine, &revoked.secret),
            (other.name.as_str(), &t.secret),
            (unknown, &t.secret),
            (unknown, "wrong"),
            ("x", "wrong"),
            ("not%20a%20name", "wrong"),
        ] {
            let bearer = format!("Bearer {secret}");
            let answer = t
                .at(
                    method,
                    &format!("/scim/{tenant}{path}"),
                    &[("Authorization", &bearer)],
                    "",
                )
                .await;
            let lasting = lasting(&answer.refused(401, "", &["not valid for this tenant"]));
            assert_eq!(
                *first.get_or_insert_with(|| lasting.clone()),
                lasting,
                "{method} {tenant}{path}"
            );
        }
    }
}

/// Discovery included: it would tell which tenants there are (design §6).
async fn who_shows_no_credential_learns_nothing(t: &Tenant) {
    for path in [
        "/Users",
        "/Users/1",
        "/ServiceProviderConfig",
        "/Schemas",
        "/ResourceTypes",
        "/Nonsense",
    ] {
        let mine = t.anonymous("GET", path).await.refused(401, "", &["no credential"]);
        let unknown = t.at("GET", &format!("/scim/no-such-tenant{path}"), &[], "").await;
        assert_eq!(lasting(&mine), lasting(&unknown), "{path}");
    }
}

/// E-AUTH-02: pain 11: tokens end silently, and provisioning with them.
async fn an_expired_token_says_since_when(t: &Tenant) {
    let past = System.now() - Duration::days(40);
    let terms = Terms {
        expires: Some(Expiry::At(past)),
        ..Terms::default()
    };
    let expired = t.issue(None, &terms).await;
    let date = past.date().to_string();
    for _ in 0..2 {
        ask(t, &format!("Bearer {}", expired.secret))
            .await
            .refused(401, "", &["expired on", &date]);
    }
    let soon = Terms {
        expires: Some(Expiry::At(System.now() + Duration::hours(1))),
        ..Terms::default()
    };
    let soon = t.issue(None, &soon).await;
    ask(t, &format!("Bearer {}", soon.secret)).await.is(200);
}

async fn a_revoked_token_says_since_when(t: &Tenant) {
    let issued = t.issue(None, &Terms::default()).await;
    let before = System.now().date();
    t.revoke(&issued.credential.id).await;
    let refused = ask(t, &format!("Bearer {}", issued.secret))
        .await
        .refused(401, "", &["revoked on"]);
    let says = |date: time::Date| refused.detail().contains(&date.to_string());
    assert!(says(before) || says(System.now().date()), "{refused}");
    t.get("/Users").await.is(200);
}

/// E-AUTH-02: what Entra's field "Secret Token" is filled with.
async fn what_was_pasted_wrongly_is_named(t: &Tenant) {
    let secret = t.secret.as_str();
    let (begin, end) = secret.split_at(secret.len() / 2);
    for (authorization, told) in [
        (format!("Bearer Bearer {secret}"), "Bearer twice"),
        (format!("bearer  BEARER\t{secret}"), "Bearer twice"),
        ("Bearer Bearer".to_owned(), "Bearer twice"),
        (format!("Bearer {begin} {end}"), "spaces or line breaks"),
        (format!("Bearer {begin}\t{end}"), "spaces or line breaks"),
        (format!("Bearer {secret} {secret}"), "spaces or line breaks"),
        (secret.to_owned(), "send Authorization: Bearer"),
        (format!("Bearer{secret}"), "send Authorization: Bearer"),
        (format!("Token {secret}"), "send Authorization: Bearer"),
        (format!("Basic {secret}"), "send Authorization: Bearer"),
        ("Basic YmplbnNlbjpwYXNz".to_owned(), "send Authorization: Bearer"),
        ("Bearer".to_owned(), "send Authorization: Bearer"),
        (String::new(), "send Authorization: Bearer"),
        (format!("Bearer \"{secret}\""), "handed out together"),
        (format!("Bearer {secret},"), "handed out together"),
        (format!("Bearer {}", secret.to_uppercase()), "handed out together"),
        (format!("Bearer {begin}"), "handed out together"),
        (format!("Bearer {secret}{secret}"), "handed out together"),
        (format!("Bearer token={secret}"), "handed out together"),
    ] {
        let answer = ask(t, &authorization).await.refused(401, "", &[told]);
        assert!(!answer.detail().contains(begin), "the secret is repeated: {answer}");
    }
}

/// E-AUTH-01; RFC 9110 §11.1: schemes are compared without case; a text pasted may have blanks around it.
async fn a_credential_may_be_spelled_in_several_ways(t: &Tenant) {
    let secret = &t.secret;
    for authorization in [
        format!("bearer {secret}"),
        format!("BEARER {secret}"),
        format!("Bearer   {secret}"),
        format!("Bearer\t{secret}"),
        format!("  Bearer {secret}  "),
    ] {
        ask(t, &authorization).await.is(200);
    }
}

const BEYOND_ASCII: [&str; 3] = ["Bearer se\u{301}cret", "Bearer \u{a0}secret", "Бearer secret"];

async fn a_token_with_letters_beyond_ascii_is_401(t: &Tenant) {
    for authorization in BEYOND_ASCII {
        ask(t, authorization).await.is(401);
    }
}

async fn letters_beyond_ascii_end_in_the_proxying_host(t: &Tenant) {
    end_in_the_host(t).await;
}

async fn letters_beyond_ascii_end_in_the_forwarding_host(t: &Tenant) {
    end_in_the_host(t).await;
}

async fn end_in_the_host(t: &Tenant) {
    for authorization in BEYOND_ASCII {
        let headers = [("Authorization", authorization)];
        let answer = t
            .unlinted("GET", &format!("{}/Users", t.path()), &headers, "")
            .await
            .is(500);
        assert!(answer.bytes.is_empty(), "{answer}");
    }
}

/// E-AUTH-02.
async fn a_revoked_token_is_refused_at_once(t: &Tenant) {
    let issued = t.issue(None, &Terms::default()).await;
    let bearer = format!("Bearer {}", issued.secret);
    ask(t, &bearer).await.is(200);
    t.revoke(&issued.credential.id).await;
    ask(t, &bearer).await.refused(401, "", &["revoked on"]);
}

/// Whoever moves here pastes first and tells the vendor then.
async fn a_secret_tried_too_early_works_once_it_is_added(t: &Tenant) {
    let secret = format!("from-the-earlier-endpoint-{}", t.name);
    let bearer = format!("Bearer {secret}");
    ask(t, &bearer).await.refused(401, "", &["not valid for this tenant"]);
    t.issue(Some(secret), &Terms::default()).await;
    ask(t, &bearer).await.is(200);
}

/// E-AUTH-02: rotation without a gap.
async fn a_new_token_works_at_once_beside_the_old_one(t: &Tenant) {
    t.user("bjensen").await;
    let issued = t.issue(None, &Terms::default()).await;
    let answer = ask(t, &format!("Bearer {}", issued.secret)).await.is(200);
    assert_eq!(answer.total(), 1);
    t.get("/Users").await.is(200);
}

/// R-GEN-18, E-AUTH-02: in Azure Government, Entra has 1 KB for the secret and two other texts.
async fn tokens_are_random_and_short(t: &Tenant) {
    let mut secrets = BTreeSet::from([t.secret.clone()]);
    for _ in 0..10 {
        let Issued { secret, .. } = t.issue(None, &Terms::default()).await;
        // 32 characters of 32 kinds are 160 bits.
        assert!((32..100).contains(&secret.len()), "{} bytes", secret.len());
        assert!(secrets.insert(secret), "a token came twice");
    }
}

/// E-AUTH-01; RFC 6750 §2.1 has fewer characters; earlier endpoints had more.
async fn an_imported_secret_may_be_anything_that_fits_a_header(t: &Tenant) {
    let name = &t.name;
    for secret in [
        format!("{name}{}", "x".repeat(2_000 - name.len())),
        format!("{name}!\"#$%&'()*+,-./:;<=>?@[\\]^_`{{|}}~"),
        format!("{name}.eyJhbGciOiJub25lIn0.e30."),
        format!("Bearer-{name}"),
        format!("-{name}"),
    ] {
        t.issue(Some(secret.clone()), &Terms::default()).await;
        ask(t, &format!("Bearer {secret}")).await.is(200);
        ask(t, &format!("Bearer {}", &secret[..secret.len() - 1])).await.is(401);
    }
}

/// R-GEN-11; RFC 6750 §3: at least one parameter stands behind the scheme.
async fn a_challenge_names_scheme_and_realm(t: &Tenant) {
    for authorization in ["", "Bearer wrong", "Basic YmplbnNlbjpwYXNz"] {
        let answer = ask(t, authorization).await.is(401);
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let parameters = challenge.strip_prefix("Bearer ").unwrap_or_default();
        assert!(parameters.starts_with("realm=\""), "WWW-Authenticate: {challenge}");
    }
}

/// RFC 6750 §2.3 allows it, and every log would have it.
async fn a_secret_in_the_url_is_no_credential(t: &Tenant) {
    for name in ["access_token", "code", "token", "Authorization"] {
        t.anonymous("GET", &format!("/Users?{name}={}", t.secret))
            .await
            .refused(401, "", &["no credential"]);
    }
}

/// R-GEN-19: an id is worth nothing elsewhere, and the same name may be taken by each tenant.
async fn a_tenant_reaches_its_own_resources_only(t: &Tenant) {
    let other = t.neighbour().await;
    let theirs = other.user("bjensen").await;
    let place = theirs.place();
    t.get(&place).await.refused(404, "", &[]);
    t.put(&place, user("bjensen")).await.refused(404, "", &[]);
    t.delete(&place).await.refused(404, "", &[]);
    let filter = format!("/Users?filter=id%20eq%20%22{}%22", theirs.id());
    assert_eq!(t.get(&filter).await.is(200).total(), 0);
    t.user("bjensen").await;
    assert_eq!(other.get(&place).await.is(200).body, theirs.body);
    assert_eq!((t.users().await, other.users().await), (1, 1));
}

/// In another process within 60 s, as the removal's own words have it; here at once.
async fn a_removed_tenant_is_as_good_as_unknown(t: &Tenant) {
    let other = t.neighbour().await;
    if t.way() == Way::Direct {
        other.user("bjensen").await;
    }
    let deadline = Instant::now() + std::time::Duration::from_secs(15);
    let removed = t.world.tenants.remove(&other.name, "test", deadline).await;
    assert!(removed.is_ok(), "the tenant can't be removed");
    let unknown = t
        .at(
            "GET",
            "/scim/no-such-tenant/Users",
            &[("Authorization", "Bearer wrong")],
            "",
        )
        .await;
    assert_eq!(lasting(&other.get("/Users").await.is(401)), lasting(&unknown));
    assert_eq!(
        lasting(&other.post("/Users", user("other")).await.is(401)),
        lasting(&unknown)
    );
    t.get("/Users").await.is(200);
}
