//! What the two modes of the Functions host make of requests (functions-host §2.1, §2.2), seen by the client.

use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, user},
    world::Way,
};

cases![
    a_parameter_given_twice_counts_once.not_in(
        Way::Forward,
        "repeated parameters are joined with a comma",
        "the_forwarding_host_joins_parameters"
    ),
    the_forwarding_host_joins_parameters.only(Way::Forward, "there the host rebuilds the query from a dictionary"),
    a_query_arrives_as_it_was_meant,
    an_encoded_slash_is_part_of_an_id_that_nobody_has,
    the_forwarding_host_cuts_a_path_at_an_encoded_hash
        .only(Way::Forward, "there the path is parsed as a URL once more"),
    an_encoded_hash_is_part_of_an_id.not_in(
        Way::Forward,
        "the path ends at %23 and %3F",
        "the_forwarding_host_cuts_a_path_at_an_encoded_hash"
    ),
    a_null_byte_is_part_of_an_id_that_nobody_has
        .not_in(
            Way::Proxy,
            "Kestrel refuses %00",
            "the_proxying_host_refuses_a_null_byte"
        )
        .not_in(
            Way::Forward,
            "Kestrel refuses %00",
            "the_forwarding_host_refuses_a_null_byte"
        ),
    the_proxying_host_refuses_a_null_byte.only(Way::Proxy, "there the host refuses it itself"),
    the_forwarding_host_refuses_a_null_byte.only(Way::Forward, "there the host refuses it itself"),
    headers_arrive_in_both_directions,
    what_a_client_says_in_the_hosts_name_changes_nothing,
    a_body_arrives_byte_by_byte,
];

/// RFC 7644 §3.4.2 says nothing; the last one counts.
async fn a_parameter_given_twice_counts_once(t: &Tenant) {
    for name in ["a", "b", "c"] {
        t.user(name).await;
    }
    let listed = t.get("/Users?count=1&count=2").await.is(200);
    assert_eq!(listed.listed("/userName").len(), 2);
    let listed = t
        .get("/Users?filter=userName%20eq%20%22a%22&Filter=userName%20eq%20%22b%22")
        .await
        .is(200);
    assert_eq!(listed.listed("/userName"), ["b"]);
    let listed = t.get("/Users?attributes=userName&attributes=active").await.is(200);
    assert_eq!(listed.listed("/userName"), ["", "", ""]);
    assert_eq!(listed.body["Resources"][0]["active"], true);
}

/// Two names are a list, as SCIM has it; two of anything else are refused, never half understood.
async fn the_forwarding_host_joins_parameters(t: &Tenant) {
    for name in ["a", "b"] {
        t.user(name).await;
    }
    t.get("/Users?count=1&count=2")
        .await
        .refused(400, "invalidValue", &["count"]);
    let filters = t
        .get("/Users?filter=userName%20eq%20%22a%22&Filter=userName%20eq%20%22b%22")
        .await;
    filters.refused(400, "invalidFilter", &["character 16"]);
    let listed = t.get("/Users?attributes=userName&Attributes=active").await.is(200);
    assert_eq!(listed.listed("/userName").len(), 2);
    assert_eq!(listed.body["Resources"][0]["active"], true);
}

/// R-FILTER-10; a space is `+` or `%20`, a plus sign `%2B`.
async fn a_query_arrives_as_it_was_meant(t: &Tenant) {
    t.user("b+jensen & co=\u{e9}%20").await;
    for filter in [
        "userName%20eq%20%22b%2Bjensen%20%26%20co%3D%C3%A9%2520%22",
        "userName+eq+%22b%2bjensen+%26+co=%c3%a9%2520%22",
        "%75serName%20eq%20%22b%2Bjensen%20%26%20co%3D%C3%A9%2520%22",
    ] {
        assert_eq!(
            t.get(&format!("/Users?filter={filter}")).await.is(200).total(),
            1,
            "{filter}"
        );
    }
    let listed = t
        .get("/Users?FILTER=userName%20pr&STARTINDEX=1&COUNT=1&ATTRIBUTES=userName")
        .await
        .is(200);
    assert_eq!(listed.body["itemsPerPage"], 1);
}

/// `%2F` is kept by one mode and doubled by the other; ids have no slashes, so it is all the same.
async fn an_encoded_slash_is_part_of_an_id_that_nobody_has(t: &Tenant) {
    let id = t.user("bjensen").await.id().to_owned();
    for path in [
        format!("/Users/{id}%2F"),
        format!("/Users/{id}%2fx"),
        format!("/Users/%2F{id}"),
        format!("/Users/{id}%252F"),
    ] {
        t.get(&path).await.is(404);
        t.delete(&path).await.is(404);
    }
    assert_eq!(t.users().await, 1);
}

async fn an_encoded_hash_is_part_of_an_id(t: &Tenant) {
    let id = t.user("bjensen").await.id().to_owned();
    for end in ["%23", "%23x", "%3F", "%3Fattributes=userName", "%252F", "%2520"] {
        t.get(&format!("/Users/{id}{end}")).await.refused(404, "", &["no User"]);
        t.delete(&format!("/Users/{id}{end}"))
            .await
            .refused(404, "", &["no User"]);
    }
    assert_eq!(t.users().await, 1);
}

/// Nothing tells the handler that there was more. Ids have neither, so no client sends one.
async fn the_forwarding_host_cuts_a_path_at_an_encoded_hash(t: &Tenant) {
    let created = t.user("bjensen").await;
    let bearer = format!("Bearer {}", t.secret);
    for end in ["%23", "%23x", "%3F", "%3Fx"] {
        let path = format!("{}{}{end}", t.path(), created.place());
        let found = t
            .unlinted("GET", &path, &[("Authorization", &bearer)], "")
            .await
            .is(200);
        assert_eq!(found.body, created.body);
    }
}

async fn a_null_byte_is_part_of_an_id_that_nobody_has(t: &Tenant) {
    let id = t.user("bjensen").await.id().to_owned();
    for path in [
        "/Users/%00".to_owned(),
        format!("/Users/{id}%00"),
        format!("/Users/%00{id}"),
    ] {
        t.get(&path).await.refused(404, "", &["no User"]);
        t.delete(&path).await.refused(404, "", &["no User"]);
    }
    assert_eq!(t.users().await, 1);
}

async fn the_proxying_host_refuses_a_null_byte(t: &Tenant) {
    the_host_refuses_a_null_byte(t).await;
}

async fn the_forwarding_host_refuses_a_null_byte(t: &Tenant) {
    the_host_refuses_a_null_byte(t).await;
}

async fn the_host_refuses_a_null_byte(t: &Tenant) {
    let bearer = format!("Bearer {}", t.secret);
    let path = format!("{}/Users/%00", t.path());
    let answer = t
        .unlinted("GET", &path, &[("Authorization", &bearer)], "")
        .await
        .is(400);
    assert!(answer.bytes.is_empty(), "{answer}");
}

/// Conditions, versions, locations, challenges, and what was done to the request.
async fn headers_arrive_in_both_directions(t: &Tenant) {
    let mut new = user("bjensen");
    new["active"] = "True".into();
    let created = t.post("/Users", new).await.is(201);
    assert!(
        created
            .header("scimgate-normalized")
            .is_some_and(|notes| notes.contains("boolean-string active")),
        "{created}"
    );
    assert_eq!(
        created.header("location").as_deref(),
        Some(created.text("/meta/location"))
    );
    let (place, version) = (created.place(), created.etag());
    let known = t.raw("GET", &place, &[("If-None-Match", &version)], "").await.is(304);
    assert_eq!(known.etag(), version);
    t.raw("DELETE", &place, &[("If-Match", "W/\"other\", \"another\"")], "")
        .await
        .is(412);
    t.raw("DELETE", &place, &[("If-Match", &format!("\"other\", {version}"))], "")
        .await
        .is(204);
    let challenge = t.anonymous("GET", "/Users").await.is(401).header("www-authenticate");
    assert!(challenge.is_some_and(|challenge| challenge.starts_with("Bearer")));
}

/// Headers of the host and of the front ends before it, as a client may forge them.
async fn what_a_client_says_in_the_hosts_name_changes_nothing(t: &Tenant) {
    let created = t.user("bjensen").await;
    let headers = [
        ("X-Azure-Functions-InvocationId", "forged"),
        ("X-Azure-Functions-HostVersion", "9.9"),
        ("x-ms-invocation-id", "forged"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Original-URL", "/scim/other/Users"),
        ("X-Rewrite-URL", "/scim/other/Users"),
        ("X-WAWS-Unencoded-URL", "/scim/other/Users"),
        ("DISGUISED-HOST", "evil.example"),
        ("x-functions-key", "forged"),
        ("x-ms-client-principal", "eyJ9"),
        ("Accept-Encoding", "gzip, br"),
        ("Range", "bytes=0-3"),
        ("TE", "trailers"),
    ];
    let found = t.raw("GET", &created.place(), &headers, "").await.is(200);
    assert_eq!(found.body, created.body);
    assert_eq!(t.get("/Users?code=forged&_method=DELETE").await.is(200).total(), 1);
}

/// Any byte that JSON allows, and a length that no buffer is made for.
async fn a_body_arrives_byte_by_byte(t: &Tenant) {
    let all: String = ('\u{80}'..='\u{2fff}')
        .chain(['\u{1f600}', '\u{10ffff}'])
        .filter(|c| !c.is_control())
        .collect();
    let display: String = all.chars().take(8_000).collect();
    let mut new = user("bjensen");
    new["displayName"] = display.as_str().into();
    let send = async |body: String| -> Answer { t.raw("POST", "/Users", &[("Content-Type", SCIM_JSON)], body).await };
    let created = send(new.to_string()).await.is(201);
    assert_eq!(created.text("/displayName"), display);
    assert_eq!(t.get(&created.place()).await.is(200).body, created.body);
}
