//! `attributes` and `excludedAttributes` (RFC 7644 §3.4.2.5, §3.9, §3.10).

use serde_json::{Value, json};

use crate::{
    answer::Answer,
    case::cases,
    tenant::{ENTERPRISE_URN, SCIM_JSON, Tenant, USER_URN, bjensen, encoded, patch_op, user_with},
};

cases![
    attributes_name_what_is_shown,
    excluded_attributes_name_what_is_not,
    every_verb_shows_what_is_asked_for,
    every_verb_leaves_out_what_is_not_wanted,
    both_at_once_are_refused_and_change_nothing,
    empty_parameters_select_everything,
    too_many_names_are_refused,
    a_part_of_a_resource_has_its_headers,
    what_is_not_shown_can_be_searched,
    names_of_others_are_shown_when_they_alone_are_asked_for,
];

async fn select(t: &Tenant, place: &str, parameter: &str, names: &str) -> Answer {
    t.get(&format!("{place}?{parameter}={}", encoded(names))).await.is(200)
}

/// R-PROJ-01: what is named, and what is always returned: `schemas` and `id`.
async fn attributes_name_what_is_shown(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    let full = &user.body;
    let emails = json!([{ "value": "bjensen@example.com" }, { "value": "babs@jensen.example.org" }]);
    let department = json!({ ENTERPRISE_URN: { "department": "Tour Operations" } });
    let manager = json!({ ENTERPRISE_URN: { "manager": full[ENTERPRISE_URN]["manager"] } });
    for (names, rest) in [
        ("userName".to_owned(), json!({ "userName": full["userName"] })),
        ("USERNAME".into(), json!({ "userName": full["userName"] })),
        (format!("{USER_URN}:userName"), json!({ "userName": full["userName"] })),
        (
            "userName,title,active".into(),
            json!({ "userName": full["userName"], "title": "Tour Guide", "active": true }),
        ),
        (
            " userName , title,, active ,".into(),
            json!({ "userName": full["userName"], "title": "Tour Guide", "active": true }),
        ),
        ("id".into(), json!({})),
        ("schemas".into(), json!({})),
        ("externalId".into(), json!({ "externalId": "701984" })),
        ("meta".into(), json!({ "meta": full["meta"] })),
        (
            "meta.version".into(),
            json!({ "meta": { "version": full["meta"]["version"] } }),
        ),
        ("name".into(), json!({ "name": full["name"] })),
        ("name.familyName".into(), json!({ "name": { "familyName": "Jensen" } })),
        (
            "Name.FAMILYNAME,name.givenName".into(),
            json!({ "name": { "familyName": "Jensen", "givenName": "Barbara" } }),
        ),
        ("name,name.familyName".into(), json!({ "name": full["name"] })),
        ("emails".into(), json!({ "emails": full["emails"] })),
        ("emails.value".into(), json!({ "emails": emails })),
        (format!("{USER_URN}:emails.value"), json!({ "emails": emails })),
        ("emails.primary".into(), json!({ "emails": [{ "primary": true }] })),
        (format!("{ENTERPRISE_URN}:department"), department.clone()),
        (format!("{}:DEPARTMENT", ENTERPRISE_URN.to_uppercase()), department),
        (format!("{ENTERPRISE_URN}:manager"), manager),
        (
            format!("{ENTERPRISE_URN}:manager.value"),
            json!({ ENTERPRISE_URN: { "manager": { "value": full[ENTERPRISE_URN]["manager"]["value"] } } }),
        ),
        (ENTERPRISE_URN.into(), json!({ ENTERPRISE_URN: full[ENTERPRISE_URN] })),
        ("nickName".into(), json!({})),
        ("shoeSize,name.nick,urn:example:badge:number,...,*".into(), json!({})),
        ("password".into(), json!({})),
        ("shoeSize,title".into(), json!({ "title": "Tour Guide" })),
    ] {
        let mut expected = rest;
        expected["schemas"] = full["schemas"].clone();
        expected["id"] = full["id"].clone();
        let shown = select(t, &user.place(), "attributes", &names).await;
        assert_eq!(shown.body, expected, "{names}");
    }
}

/// R-PROJ-01: no effect on what is always returned.
async fn excluded_attributes_name_what_is_not(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    let department = format!("/{ENTERPRISE_URN}/department");
    let manager = format!("/{ENTERPRISE_URN}/manager");
    let extension = format!("/{ENTERPRISE_URN}");
    for (names, gone) in [
        ("userName".to_owned(), vec!["/userName"]),
        ("EMAILS,title".into(), vec!["/emails", "/title"]),
        ("title emails".into(), vec!["/emails", "/title"]),
        ("meta".into(), vec!["/meta"]),
        ("meta.location".into(), vec!["/meta/location"]),
        ("externalId".into(), vec!["/externalId"]),
        ("id,schemas".into(), vec![]),
        ("name.familyName".into(), vec!["/name/familyName"]),
        ("name.familyName,name.givenName,name.formatted".into(), vec!["/name"]),
        (
            "emails.type,emails.primary".into(),
            vec!["/emails/0/type", "/emails/0/primary", "/emails/1/type"],
        ),
        (format!("{USER_URN}:title"), vec!["/title"]),
        (format!("{ENTERPRISE_URN}:department"), vec![&department]),
        (format!("{}:Manager", ENTERPRISE_URN.to_uppercase()), vec![&manager]),
        (ENTERPRISE_URN.into(), vec![&extension]),
        ("groups,members,shoeSize,name.nick,urn:example:badge".into(), vec![]),
    ] {
        let mut expected = user.body.clone();
        for pointer in gone {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let parent = expected.pointer_mut(parent).and_then(Value::as_object_mut);
            assert!(
                parent.is_some_and(|parent| parent.shift_remove(name).is_some()),
                "{pointer}"
            );
        }
        let shown = select(t, &user.place(), "excludedAttributes", &names).await;
        assert_eq!(shown.body, expected, "{names}");
    }
}

/// What each verb answers with the query appended, for users of their own.
async fn every_verb(t: &Tenant, query: &str) -> Vec<(&'static str, Value)> {
    let name = format!("bjensen{}@example.com", query.len());
    let mut sent = bjensen();
    sent["userName"] = json!(name);
    let created = t.post(&format!("/Users?{query}"), sent.clone()).await.is(201);
    let place = format!("/Users/{}", created.id());
    let list = format!("/Users?{query}&filter={}", encoded(&format!("userName eq \"{name}\"")));
    let all = t.get(&format!("/Users?{query}")).await.is(200);
    let of_all = all.body["Resources"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["id"] == created.id()));
    let message = |title: &str| patch_op(json!([{ "op": "replace", "path": "title", "value": title }]));
    vec![
        ("POST", created.body.clone()),
        ("GET", t.get(&format!("{place}?{query}")).await.is(200).body),
        (
            "GET with filter",
            t.get(&list).await.is(200).body["Resources"][0].clone(),
        ),
        ("GET of all", of_all.cloned().unwrap_or_default()),
        (
            "PATCH",
            t.patch(&format!("{place}?{query}"), message("Guide"))
                .await
                .is(200)
                .body,
        ),
        (
            "PATCH of nothing",
            t.patch(&format!("{place}?{query}"), message("Guide"))
                .await
                .is(200)
                .body,
        ),
        (
            "PUT",
            t.put(&format!("{place}?{query}"), sent.clone()).await.is(200).body,
        ),
        (
            "PUT of nothing",
            t.put(&format!("{place}?{query}"), sent).await.is(200).body,
        ),
    ]
}

/// R-PATCH-09, R-GEN-14.
async fn every_verb_shows_what_is_asked_for(t: &Tenant) {
    let query = format!(
        "attributes=externalId,name.familyName,{}:department",
        encoded(ENTERPRISE_URN)
    );
    for (verb, shown) in every_verb(t, &query).await {
        let expected = json!({
            "schemas": [USER_URN, ENTERPRISE_URN],
            "id": shown["id"],
            "externalId": "701984",
            "name": { "familyName": "Jensen" },
            ENTERPRISE_URN: { "department": "Tour Operations" },
        });
        assert_eq!(shown, expected, "{verb}");
    }
    for (verb, shown) in every_verb(t, "Attributes=shoeSize").await {
        assert_eq!(
            shown,
            json!({ "schemas": [USER_URN, ENTERPRISE_URN], "id": shown["id"] }),
            "{verb}"
        );
    }
}

/// R-GEN-14.
async fn every_verb_leaves_out_what_is_not_wanted(t: &Tenant) {
    let query = "excludedAttributes=id,name,emails.type,addresses,active,userName,meta,title";
    for (verb, shown) in every_verb(t, query).await {
        let expected = json!({
            "schemas": [USER_URN, ENTERPRISE_URN],
            "id": shown["id"],
            "externalId": "701984",
            "displayName": "Babs Jensen",
            "profileUrl": bjensen()["profileUrl"],
            "emails": [{ "value": "bjensen@example.com", "primary": true }, { "value": "babs@jensen.example.org" }],
            "x509Certificates": bjensen()["x509Certificates"],
            ENTERPRISE_URN: shown[ENTERPRISE_URN],
        });
        assert_eq!(shown, expected, "{verb}");
        assert_eq!(shown[ENTERPRISE_URN]["department"], "Tour Operations", "{verb}");
    }
}

/// R-GEN-14; RFC 7644 §3.9: "mutually exclusive". A refused write must not have happened.
async fn both_at_once_are_refused_and_change_nothing(t: &Tenant) {
    let user = t
        .post("/Users", user_with("bjensen@example.com", json!({})))
        .await
        .is(201);
    let query = "attributes=userName&excludedAttributes=title";
    let changed = user_with("babs@example.com", json!({ "title": "Guide" })).to_string();
    let message = patch_op(json!([{ "op": "add", "path": "title", "value": "Guide" }])).to_string();
    for (method, path, body) in [
        ("GET", user.place(), String::new()),
        ("GET", "/Users".into(), String::new()),
        ("POST", "/Users".into(), changed.clone()),
        ("PUT", user.place(), changed),
        ("PATCH", user.place(), message),
    ] {
        t.raw(method, &format!("{path}?{query}"), &[("Content-Type", SCIM_JSON)], body)
            .await
            .refused(400, "invalidValue", &["attributes", "excludedAttributes"]);
    }
    assert_eq!(t.get(&user.place()).await.is(200).body, user.body);
    assert_eq!(t.users().await, 1);
}

/// A parameter without names is no selection.
async fn empty_parameters_select_everything(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    for query in [
        "attributes=",
        "excludedAttributes=",
        "attributes=%20&excludedAttributes=",
        "attributes",
    ] {
        let shown = t.get(&format!("{}?{query}", user.place())).await.is(200);
        assert_eq!(shown.body, user.body, "{query}");
    }
    let shown = t
        .get(&format!("{}?attributes=&excludedAttributes=title", user.place()))
        .await
        .is(200);
    assert_eq!(
        (shown.body.get("title"), &shown.body["userName"]),
        (None, &user.body["userName"])
    );
}

async fn too_many_names_are_refused(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    for parameter in ["attributes", "excludedAttributes"] {
        let most = vec!["id"; 200].join(",");
        t.get(&format!("{}?{parameter}={most}", user.place())).await.is(200);
        t.get(&format!("{}?{parameter}={most},id", user.place())).await.refused(
            400,
            "invalidValue",
            &[parameter, "200"],
        );
    }
}

/// R-ETAG-01, R-GEN-13: version and address are the whole resource's.
async fn a_part_of_a_resource_has_its_headers(t: &Tenant) {
    let created = t.post("/Users?attributes=userName", bjensen()).await.is(201);
    let place = format!("/Users/{}", created.id());
    let whole = t.get(&place).await.is(200);
    assert_eq!(
        created.header("location").as_deref(),
        Some(whole.text("/meta/location"))
    );
    assert_eq!(created.etag(), whole.etag());
    for query in ["attributes=id", "attributes=title", "excludedAttributes=meta"] {
        let part = t.get(&format!("{place}?{query}")).await.is(200);
        assert_eq!(part.etag(), whole.etag(), "{query}");
    }
}

/// RFC 7644 §3.4.2.2: a filter is put to the whole resource.
async fn what_is_not_shown_can_be_searched(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    for filter in [
        "userName eq \"bjensen@example.com\"",
        "title eq \"Tour Guide\"",
        "emails.value eq \"bjensen@example.com\" and meta.created pr",
    ] {
        for query in ["attributes=id", "excludedAttributes=userName,title,emails,meta"] {
            let list = t
                .get(&format!("/Users?{query}&filter={}", encoded(filter)))
                .await
                .is(200);
            assert_eq!(list.listed("/id"), [user.id()], "{filter} {query}");
            assert_eq!(list.listed("/title"), [""], "{filter} {query}");
        }
    }
}

/// R-PROJ-01: names are looked up, not stored; they are parts like others all the same.
async fn names_of_others_are_shown_when_they_alone_are_asked_for(t: &Tenant) {
    let named = |name: &str, rest: Value| {
        let mut attributes = rest;
        attributes["displayName"] = name.into();
        user_with(name, attributes)
    };
    let boss = t.post("/Users", named("Boss", json!({}))).await.is(201);
    let manager = json!({ ENTERPRISE_URN: { "manager": { "value": boss.id() } } });
    let babs = t.post("/Users", named("Babs", manager)).await.is(201);
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Guides", "members": [{ "value": babs.id() }] });
    let group = t.post("/Groups", group).await.is(201);
    let boss_part = |parts: Value| json!({ ENTERPRISE_URN: { "manager": parts } });
    for (of, names, rest) in [
        (
            &group,
            "members.display".to_owned(),
            json!({ "members": [{ "display": "Babs" }] }),
        ),
        (
            &group,
            "members.type".into(),
            json!({ "members": [{ "type": "User" }] }),
        ),
        (
            &babs,
            "groups.display".into(),
            json!({ "groups": [{ "display": "Guides" }] }),
        ),
        (
            &babs,
            "groups.value,groups.display".into(),
            json!({ "groups": [{ "value": group.id(), "display": "Guides" }] }),
        ),
        (
            &babs,
            format!("{ENTERPRISE_URN}:manager.displayName"),
            boss_part(json!({ "displayName": "Boss" })),
        ),
        (
            &babs,
            format!("{ENTERPRISE_URN}:manager.value"),
            boss_part(json!({ "value": boss.id() })),
        ),
    ] {
        let mut expected = rest;
        expected["schemas"] = of.body["schemas"].clone();
        expected["id"] = of.id().into();
        assert_eq!(
            select(t, &of.place(), "attributes", &names).await.body,
            expected,
            "{names}"
        );
    }
}
