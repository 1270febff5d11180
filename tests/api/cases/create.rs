//! POST (RFC 7644 §3.3).

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, bjensen, user, user_with},
};

cases![
    a_created_user_is_found,
    everything_sent_is_kept,
    the_location_leads_to_the_user,
    a_new_user_was_never_modified,
    what_is_unassigned_is_left_out,
    a_user_without_active_is_active,
    the_services_own_attributes_are_ignored,
    unknown_attributes_are_dropped_and_named,
    many_unknown_attributes_are_counted,
    names_are_read_in_any_case,
    an_attribute_in_two_spellings_is_refused,
    a_taken_user_name_is_refused,
    the_refusal_says_that_the_holder_is_inactive,
    users_may_share_an_external_id_and_an_address,
    entras_own_schema_is_dropped_and_named,
    schemas_follow_from_the_attributes,
];

/// R-GEN-13.
async fn a_created_user_is_found(t: &Tenant) {
    let created = t.post("/Users", user("bjensen@example.com")).await.is(201);
    let found = t.get(&created.place()).await.is(200);
    assert_eq!(found.body, created.body);
}

/// RFC 7644 §3.3: the answer has the resource as it was created.
async fn everything_sent_is_kept(t: &Tenant) {
    let created = t.post("/Users", bjensen()).await.is(201).has(&bjensen());
    assert_eq!(created.header("scimgate-normalized"), None, "{created}");
    t.get(&created.place()).await.is(200).has(&bjensen());
}

/// RFC 7644 §3.3: `Location` is the new resource's address.
async fn the_location_leads_to_the_user(t: &Tenant) {
    let created = t.post("/Users", user("bjensen@example.com")).await.is(201);
    let location = created.header("location").unwrap_or_default();
    let place = location.strip_prefix(&t.url());
    let place = place.unwrap_or_else(|| panic!("{location} is not below {}", t.url()));
    assert_eq!(t.get(place).await.is(200).body, created.body);
}

/// RFC 7643 §3.1: then `lastModified` is `created`.
async fn a_new_user_was_never_modified(t: &Tenant) {
    let created = t.user("bjensen@example.com").await;
    assert_eq!(created.text("/meta/created"), created.text("/meta/lastModified"));
    assert_eq!(created.text("/meta/version"), created.etag());
}

/// R-GEN-04.
async fn what_is_unassigned_is_left_out(t: &Tenant) {
    let sent = json!({
        "title": null, "emails": [], "name": {}, "nickName": "", "phoneNumbers": null, "roles": [null],
        "addresses": [{ "type": "work", "locality": null }], ENTERPRISE_URN: { "department": null, "manager": null },
    });
    let created = t.post("/Users", user_with("bjensen@example.com", sent)).await.is(201);
    let mut members: Vec<_> = created.body.as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(members, ["active", "id", "meta", "schemas", "userName"], "{created}");
    assert_eq!(t.get(&created.place()).await.is(200).body, created.body);
}

/// R-PUT-02.
async fn a_user_without_active_is_active(t: &Tenant) {
    let created = t.user("bjensen@example.com").await;
    assert_eq!(created.body["active"], true);
    assert_eq!(t.get(&created.place()).await.is(200).body["active"], true);
}

/// R-GEN-09, R-GEN-10; Entra sends `meta.resourceType`.
async fn the_services_own_attributes_are_ignored(t: &Tenant) {
    let sent = json!({
        "id": "bulkId",
        "meta": {
            "resourceType": "Group", "created": "2001-01-01T00:00:00Z", "lastModified": "2001-01-01T00:00:00Z",
            "location": "https://example.com/Users/bulkId", "version": "W/\"1\"",
        },
        "groups": [{ "value": "e9e30dba-f08f-4109-8486-d5c6a331660a", "display": "Tour Guides" }],
    });
    let created = t.post("/Users", user_with("bjensen@example.com", sent)).await.is(201);
    assert_ne!(created.id(), "bulkId");
    assert_ne!(created.text("/meta/version"), "W/\"1\"");
    assert!(!created.text("/meta/created").starts_with("2001"), "{created}");
    assert_eq!(created.body.get("groups"), None, "{created}");
    t.get("/Users/bulkId").await.refused(404, "", &["User"]);
    let of_no_type = json!({ "id": 7, "meta": "W/\"1\"", "groups": { "display": 7 } });
    let created = t
        .post("/Users", user_with("jsmith@example.com", of_no_type))
        .await
        .is(201);
    assert_eq!(created.body.get("groups"), None, "{created}");
}

/// design §6, "never silently accept".
async fn unknown_attributes_are_dropped_and_named(t: &Tenant) {
    let sent = json!({
        "shoeSize": 43,
        "name": { "familyName": "Jensen", "nick": "Babs" },
        "emails": [{ "value": "bjensen@example.com", "verified": true }],
        "urn:example:params:scim:schemas:extension:badge": { "number": 7 },
        ENTERPRISE_URN: { "department": "Tour Operations", "floor": "3" },
    });
    let created = t.post("/Users", user_with("bjensen@example.com", sent)).await.is(201);
    let notes = created.header("scimgate-normalized").unwrap_or_default();
    for name in [
        "shoeSize",
        "name.nick",
        "emails.verified",
        "urn:example:params:scim:schemas:extension:badge",
        &format!("{ENTERPRISE_URN}:floor"),
    ] {
        let note = format!("unknown-attribute {name}");
        assert!(notes.split(", ").any(|one| one == note), "no '{note}' in: {created}");
    }
    let kept = json!({
        "name": { "familyName": "Jensen" },
        "emails": [{ "value": "bjensen@example.com" }],
        ENTERPRISE_URN: { "department": "Tour Operations" },
    });
    for name in ["name", "emails", ENTERPRISE_URN] {
        assert_eq!(created.body[name], kept[name], "{created}");
    }
    for gone in ["shoeSize", "urn:example:params:scim:schemas:extension:badge"] {
        assert_eq!(created.body.get(gone), None, "{created}");
    }
}

/// A header is bounded, whatever a client sends; nothing is passed over in silence.
async fn many_unknown_attributes_are_counted(t: &Tenant) {
    let many = (0..40).map(|number| (format!("bjensen{number}@exämple.com"), json!(1)));
    let sent = user_with("bjensen@example.com", Value::Object(many.collect()));
    let created = t.post("/Users", sent).await.is(201);
    let notes = created.header("scimgate-normalized").unwrap_or_default();
    assert!(!notes.contains('@'), "personal data in: {created}");
    let many = (0..40).map(|number| (format!("a-rather-long-attribute-name-{number}"), json!(1)));
    let sent = user_with("jsmith@example.com", Value::Object(many.collect()));
    let created = t.post("/Users", sent).await.is(201);
    let notes = created.header("scimgate-normalized").unwrap_or_default();
    let named = notes.matches("unknown-attribute").count();
    let rest = notes
        .rsplit(", and ")
        .next()
        .and_then(|rest| rest.strip_suffix(" more"));
    let rest = rest.and_then(|rest| rest.parse().ok());
    assert_eq!(rest.map(|rest: usize| named + rest), Some(40), "{created}");
}

/// R-GEN-03; Microsoft's Postman collection sends `UserName`.
async fn names_are_read_in_any_case(t: &Tenant) {
    let sent = json!({
        "SCHEMAS": [USER_URN.to_uppercase(), ENTERPRISE_URN.to_lowercase()],
        "UserName": "bjensen@example.com",
        "Active": false,
        "NAME": { "FAMILYNAME": "Jensen" },
        "Emails": [{ "Value": "bjensen@example.com", "TYPE": "work", "Primary": true }],
        ENTERPRISE_URN.to_uppercase(): { "Department": "Tour Operations" },
    });
    let kept = json!({
        "schemas": [USER_URN, ENTERPRISE_URN],
        "userName": "bjensen@example.com",
        "active": false,
        "name": { "familyName": "Jensen" },
        "emails": [{ "value": "bjensen@example.com", "type": "work", "primary": true }],
        ENTERPRISE_URN: { "department": "Tour Operations" },
    });
    let created = t.post("/Users", sent).await.is(201);
    for (name, value) in kept.as_object().expect("an object") {
        assert_eq!(created.body[name], *value, "{created}");
    }
}

/// Which of the two counts, nobody could tell.
async fn an_attribute_in_two_spellings_is_refused(t: &Tenant) {
    for (twice, name) in [
        (json!({ "USERNAME": "jsmith@example.com" }), "USERNAME"),
        (json!({ "title": "Guide", "Title": "Tour Guide" }), "Title"),
        (
            json!({ "name": { "givenName": "B", "GivenName": "Barbara" } }),
            "name.givenName",
        ),
        (
            json!({ format!("{USER_URN}:title"): "Guide", "title": "Tour Guide" }),
            "title",
        ),
    ] {
        let sent = user_with("bjensen@example.com", twice);
        t.post("/Users", sent).await.refused(400, "invalidSyntax", &[name]);
    }
    assert_eq!(t.users().await, 0);
}

/// E-LIFE-04, R-GEN-13; RFC 7643 §4.1.1: compared without case. An administrator has to find the holder.
async fn a_taken_user_name_is_refused(t: &Tenant) {
    let holder = t.user("Bjensen.Straße@example.com").await;
    let same = [
        "Bjensen.Straße@example.com",
        "bjensen.straße@example.com",
        "BJENSEN.STRASSE@EXAMPLE.COM",
        // Full-width letters (NFKC).
        "ｂｊｅｎｓｅｎ.strasse@example.com",
    ];
    for name in same {
        let taken = format!("the active resource {}", holder.id());
        t.post("/Users", user(name))
            .await
            .refused(409, "uniqueness", &["userName", &taken]);
    }
    assert_eq!(t.users().await, 1);
    assert_eq!(t.get(&holder.place()).await.is(200).body, holder.body);
    t.user("bjensen.strase@example.com").await;
}

/// E-LIFE-04: the commonest cause of a 409: somebody deactivated comes back under a new cached id.
async fn the_refusal_says_that_the_holder_is_inactive(t: &Tenant) {
    let sent = user_with("bjensen@example.com", json!({ "active": false }));
    let holder = t.post("/Users", sent).await.is(201);
    let taken = format!("the inactive resource {}", holder.id());
    t.post("/Users", user("BJENSEN@example.com"))
        .await
        .refused(409, "uniqueness", &["userName", &taken]);
}

/// R-GEN-09: only `userName` is unique.
async fn users_may_share_an_external_id_and_an_address(t: &Tenant) {
    let shared = json!({ "externalId": "701984", "emails": [{ "value": "info@example.com" }] });
    for name in ["bjensen@example.com", "jsmith@example.com"] {
        t.post("/Users", user_with(name, shared.clone()))
            .await
            .is(201)
            .has(&shared);
    }
    assert_eq!(t.find("externalId eq \"701984\"").await.is(200).total(), 2);
}

/// R-GEN-08; Entra means nothing by it.
async fn entras_own_schema_is_dropped_and_named(t: &Tenant) {
    let foreign = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/User";
    let sent = user_with("bjensen@example.com", json!({ "schemas": [USER_URN, foreign] }));
    let created = t.post("/Users", sent).await.is(201);
    assert_eq!(created.body["schemas"], json!([USER_URN]));
    assert_eq!(
        created.header("scimgate-normalized").as_deref(),
        Some("foreign-schema schemas")
    );
}

/// RFC 7643 §3: the URNs of what is there, each once.
async fn schemas_follow_from_the_attributes(t: &Tenant) {
    let sent = json!({ "schemas": [USER_URN, ENTERPRISE_URN, USER_URN] });
    let created = t.post("/Users", user_with("bjensen@example.com", sent)).await.is(201);
    assert_eq!(created.body["schemas"], json!([USER_URN]));
    let sent = json!({ "schemas": [USER_URN], ENTERPRISE_URN: { "department": "Tour Operations" } });
    let created = t.post("/Users", user_with("jsmith@example.com", sent)).await.is(201);
    assert_eq!(created.body["schemas"], json!([USER_URN, ENTERPRISE_URN]));
}
