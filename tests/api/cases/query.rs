//! GET of many with a filter (RFC 7644 §3.4.2.2); how filters are read is tested beside their code.

use serde_json::{Value, json};

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, bjensen, encoded, patch_op, user_with},
};

cases![
    nothing_found_is_an_empty_list,
    without_a_filter_everybody_is_listed,
    a_list_has_complete_resources,
    what_can_be_looked_up_is_found,
    case_counts_where_the_schema_says_so,
    everything_else_can_be_searched_too,
    filters_are_combined,
    a_filter_on_several_values_means_any_or_the_same,
    a_value_that_a_user_has_twice_finds_it_once,
    times_are_compared_as_instants,
    entra_checks_a_reference_in_either_order,
    special_characters_in_a_value_are_found,
    entras_encodings_are_read,
    parameter_names_are_read_in_any_case,
    unknown_parameters_are_ignored,
    tolerated_spellings_are_named,
];

/// Three people to be searched for.
async fn three(t: &Tenant) -> [String; 3] {
    let jsmith = json!({
        "externalId": "AbC-7", "active": false, "name": { "familyName": "Smith" }, "userType": "Contractor",
        "emails": [
            { "value": "jsmith@example.com", "type": "work", "primary": true },
            { "value": "Info@example.com", "type": "other" },
        ],
    });
    let jsmith = t.post("/Users", user_with("jsmith@example.com", jsmith)).await.is(201);
    let mut bjensen = bjensen();
    bjensen[ENTERPRISE_URN]["manager"]["value"] = json!(jsmith.id());
    let bjensen = t.post("/Users", bjensen).await.is(201);
    let amelie = json!({
        "externalId": "abc-7", "displayName": "Amélie",
        "emails": [{ "value": "info@example.com", "type": "work" }],
    });
    let amelie = t.post("/Users", user_with("Amélie@example.com", amelie)).await.is(201);
    [bjensen, jsmith, amelie].map(|user| user.id().to_owned())
}

/// That a filter finds these of [`three`], by the beginnings of their names, and counts them.
async fn finds(t: &Tenant, filter: &str, expected: &[&str]) {
    let found = t.find(filter).await.is(200);
    let mut names = found.listed("/userName");
    names.sort();
    let matches = names.len() == expected.len()
        && std::iter::zip(&names, expected).all(|(name, expected)| name.starts_with(expected));
    assert!(matches, "{filter} finds {names:?}, not {expected:?}");
    assert_eq!(found.total(), names.len() as u64, "{filter}");
}

/// R-FILTER-11; E-TEST-01: Test Connection looks for somebody who does not exist.
async fn nothing_found_is_an_empty_list(t: &Tenant) {
    let empty = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
    });
    assert_eq!(t.get("/Users").await.is(200).body, empty);
    three(t).await;
    for filter in [
        "userName eq \"5b50642d-79fc-4410-9e90-4c077cdd1a59\"",
        "externalId eq \"5b50642d\"",
        "emails[type eq \"work\"].value eq \"nobody@example.com\"",
        "id eq \"5b50642d\"",
        "nickName pr",
    ] {
        assert_eq!(t.find(filter).await.is(200).body, empty, "{filter}");
    }
}

/// RFC 7644 §3.4.2.
async fn without_a_filter_everybody_is_listed(t: &Tenant) {
    let ids = three(t).await;
    for path in ["/Users", "/Users?", "/Users/"] {
        let list = t.get(path).await.is(200);
        let mut listed = list.listed("/id");
        listed.sort();
        let mut expected = ids.to_vec();
        expected.sort();
        assert_eq!((listed, list.total()), (expected, 3), "{path}");
    }
}

async fn a_list_has_complete_resources(t: &Tenant) {
    let user = t.post("/Users", bjensen()).await.is(201);
    for list in [
        t.get("/Users").await,
        t.find("userName eq \"bjensen@example.com\"").await,
        t.find("externalId eq \"701984\"").await,
        t.find(&format!("id eq \"{}\"", user.id())).await,
        t.find("title eq \"Tour Guide\"").await,
    ] {
        assert_eq!(list.is(200).body["Resources"], json!([user.body]));
    }
}

/// E-USER-03: what Entra matches by.
async fn what_can_be_looked_up_is_found(t: &Tenant) {
    let [bjensen, ..] = three(t).await;
    for (filter, expected) in [
        (format!("id eq \"{bjensen}\""), vec!["bjensen"]),
        ("userName eq \"bjensen@example.com\"".into(), vec!["bjensen"]),
        ("externalId eq \"701984\"".into(), vec!["bjensen"]),
        ("emails eq \"babs@jensen.example.org\"".into(), vec!["bjensen"]),
        ("emails.value eq \"bjensen@example.com\"".into(), vec!["bjensen"]),
        ("emails.value eq \"info@example.com\"".into(), vec!["Am", "jsmith"]),
        ("emails[value eq \"info@example.com\"]".into(), vec!["Am", "jsmith"]),
        (
            "emails[type eq \"work\"].value eq \"info@example.com\"".into(),
            vec!["Am"],
        ),
        (
            "emails[type eq \"other\"].value eq \"info@example.com\"".into(),
            vec!["jsmith"],
        ),
        (format!("{USER_URN}:userName eq \"jsmith@example.com\""), vec!["jsmith"]),
    ] {
        finds(t, &filter, &expected).await;
    }
}

/// RFC 7643 §3.1, §4.1: `id` and `externalId` are case-exact; `userName` and `emails.value` are not.
async fn case_counts_where_the_schema_says_so(t: &Tenant) {
    let [bjensen, ..] = three(t).await;
    for (filter, expected) in [
        ("userName eq \"BJENSEN@Example.COM\"".to_owned(), vec!["bjensen"]),
        ("userName eq \"AMÉLIE@example.com\"".into(), vec!["Am"]),
        ("userName sw \"BJ\"".into(), vec!["bjensen"]),
        ("emails.value eq \"INFO@EXAMPLE.COM\"".into(), vec!["Am", "jsmith"]),
        (
            "emails[type eq \"WORK\"].value eq \"INFO@example.com\"".into(),
            vec!["Am"],
        ),
        ("externalId eq \"AbC-7\"".into(), vec!["jsmith"]),
        ("externalId eq \"abc-7\"".into(), vec!["Am"]),
        ("externalId eq \"ABC-7\"".into(), vec![]),
        ("externalId sw \"a\"".into(), vec!["Am"]),
        (format!("id eq \"{}\"", bjensen.to_uppercase()), vec![]),
        ("USERNAME EQ \"jsmith@example.com\"".into(), vec!["jsmith"]),
        (format!("{}:USERNAME Sw \"j\"", USER_URN.to_uppercase()), vec!["jsmith"]),
        (
            format!("schemas eq \"{}\"", ENTERPRISE_URN.to_uppercase()),
            vec!["bjensen"],
        ),
    ] {
        finds(t, &filter, &expected).await;
    }
}

/// R-FILTER-01, R-FILTER-08: without an index all are looked at.
async fn everything_else_can_be_searched_too(t: &Tenant) {
    let [_, jsmith, _] = three(t).await;
    for (filter, expected) in [
        ("active eq true".to_owned(), vec!["Am", "bjensen"]),
        ("active eq false".into(), vec!["jsmith"]),
        ("title pr".into(), vec!["bjensen"]),
        ("title eq null".into(), vec!["Am", "jsmith"]),
        ("name pr".into(), vec!["bjensen", "jsmith"]),
        ("name.familyName eq \"smith\"".into(), vec!["jsmith"]),
        ("displayName co \"bs j\"".into(), vec!["bjensen"]),
        ("displayName ew \"lie\"".into(), vec!["Am"]),
        ("userName ew \"@example.com\"".into(), vec!["Am", "bjensen", "jsmith"]),
        ("userName gt \"bjensen@example.com\"".into(), vec!["jsmith"]),
        ("userName le \"bjensen@example.com\"".into(), vec!["Am", "bjensen"]),
        ("userName ne \"jsmith@example.com\"".into(), vec!["Am", "bjensen"]),
        ("emails co \"jensen\"".into(), vec!["bjensen"]),
        ("addresses.locality eq \"hollywood\"".into(), vec!["bjensen"]),
        (format!("{ENTERPRISE_URN}:department sw \"tour\""), vec!["bjensen"]),
        (format!("{ENTERPRISE_URN}:manager eq \"{jsmith}\""), vec!["bjensen"]),
        (format!("manager.value eq \"{jsmith}\""), vec!["bjensen"]),
        (format!("schemas eq \"{ENTERPRISE_URN}\""), vec!["bjensen"]),
        (format!("schemas eq \"{USER_URN}\""), vec!["Am", "bjensen", "jsmith"]),
        ("meta.resourceType eq \"User\"".into(), vec!["Am", "bjensen", "jsmith"]),
        ("meta.resourceType eq \"Group\"".into(), vec![]),
        ("id pr and userName sw \"j\"".into(), vec!["jsmith"]),
    ] {
        finds(t, &filter, &expected).await;
    }
}

/// RFC 7644 §3.4.2.2, table 5: grouping before not before and before or.
async fn filters_are_combined(t: &Tenant) {
    let [bjensen, ..] = three(t).await;
    let (b, j) = (
        "userName eq \"bjensen@example.com\"",
        "userName eq \"jsmith@example.com\"",
    );
    for (filter, expected) in [
        (format!("{b} or {j}"), vec!["bjensen", "jsmith"]),
        (format!("{b} and {j}"), vec![]),
        (format!("{b} and active eq true"), vec!["bjensen"]),
        (format!("active eq false and {b}"), vec![]),
        (format!("{b} or {j} and active eq true"), vec!["bjensen"]),
        (format!("({b} or {j}) and active eq false"), vec!["jsmith"]),
        (format!("not ({b})"), vec!["Am", "jsmith"]),
        (format!("not ({b} or {j})"), vec!["Am"]),
        (format!("not ({b}) and active eq true"), vec!["Am"]),
        (format!("id eq \"{bjensen}\" and {b}"), vec!["bjensen"]),
        (format!("id eq \"{bjensen}\" and {j}"), vec![]),
        (format!("id eq \"{bjensen}\" or {j}"), vec!["bjensen", "jsmith"]),
        (format!("NOT ({b}) AND title EQ null"), vec!["Am", "jsmith"]),
        ("externalId eq \"701984\" and userName sw \"j\"".into(), vec![]),
    ] {
        finds(t, &filter, &expected).await;
    }
}

/// R-FILTER-05.
async fn a_filter_on_several_values_means_any_or_the_same(t: &Tenant) {
    three(t).await;
    for (filter, expected) in [
        (
            "emails.type eq \"work\" and emails.value eq \"info@example.com\"",
            vec!["Am", "jsmith"],
        ),
        ("emails[type eq \"work\" and value eq \"info@example.com\"]", vec!["Am"]),
        (
            "emails[type eq \"work\" or type eq \"home\"]",
            vec!["Am", "bjensen", "jsmith"],
        ),
        (
            "emails[primary eq true and value ew \"@example.com\"]",
            vec!["bjensen", "jsmith"],
        ),
        ("emails[not (type eq \"work\")]", vec!["bjensen", "jsmith"]),
        ("emails[type eq \"home\"] and title pr", vec!["bjensen"]),
    ] {
        finds(t, filter, &expected).await;
    }
}

async fn a_value_that_a_user_has_twice_finds_it_once(t: &Tenant) {
    let emails =
        json!([{ "value": "Babs@example.com", "type": "work" }, { "value": "babs@example.com", "type": "home" }]);
    let user = t
        .post("/Users", user_with("bjensen@example.com", json!({ "emails": emails })))
        .await
        .is(201);
    finds(t, "emails eq \"BABS@example.com\"", &["bjensen"]).await;
    for (kind, expected) in [("work", ["bjensen"].as_slice()), ("home", &[])] {
        let message = patch_op(json!([{ "op": "remove", "path": format!("emails[type eq \"{kind}\"]") }]));
        t.patch(&user.place(), message).await.is(200);
        finds(t, "emails eq \"babs@example.com\"", expected).await;
    }
}

/// R-FILTER-02.
async fn times_are_compared_as_instants(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let modified = user.text("/meta/lastModified").to_owned();
    let east = modified.replace('Z', "+00:00");
    for (filter, found) in [
        ("meta.lastModified gt \"2011-05-13T04:42:34Z\"".to_owned(), true),
        ("meta.lastModified gt \"2011-05-13T04:42:34-08:00\"".into(), true),
        ("meta.lastModified gt \"2999-01-01T00:00:00Z\"".into(), false),
        ("meta.created lt \"2999-01-01T00:00:00.000+14:00\"".into(), true),
        (format!("meta.lastModified ge \"{modified}\""), true),
        (format!("meta.lastModified gt \"{modified}\""), false),
        (format!("meta.lastModified eq \"{east}\""), true),
        (
            format!("meta.created le \"{east}\" and meta.created ge \"{east}\""),
            true,
        ),
    ] {
        finds(t, &filter, if found { &["bjensen"] } else { &[] }).await;
    }
    t.find("meta.lastModified gt \"yesterday\"")
        .await
        .refused(400, "invalidFilter", &["meta.lastModified"]);
}

/// E-USER-12.
async fn entra_checks_a_reference_in_either_order(t: &Tenant) {
    let [bjensen, jsmith, amelie] = three(t).await;
    for (id, manager, total) in [(&bjensen, &jsmith, 1), (&bjensen, &amelie, 0), (&jsmith, &bjensen, 0)] {
        for filter in [
            format!("id eq \"{id}\" and manager eq \"{manager}\""),
            format!("manager eq \"{manager}\" and id eq \"{id}\""),
        ] {
            let list = t
                .get(&format!("/Users?filter={}&attributes=id", encoded(&filter)))
                .await
                .is(200);
            let expected = if total == 0 {
                json!([])
            } else {
                json!([{ "schemas": [USER_URN, ENTERPRISE_URN], "id": id }])
            };
            assert_eq!((list.total(), &list.body["Resources"]), (total, &expected), "{filter}");
        }
    }
}

/// E-LIFE-08, R-FILTER-03.
async fn special_characters_in_a_value_are_found(t: &Tenant) {
    for name in [
        "o'brien@example.com",
        "b+tag@example.com",
        "quo\"te@example.com",
        "back\\slash@example.com",
        "100%25@example.com",
        "a&b=c#d?e/f;g@example.com",
        "x) or (title pr@example.com",
        "y] and [z@example.com",
        "two  spaces@example.com",
        "Zoë 佐藤 🦀@example.com",
        "null",
        "true",
    ] {
        let user = t.user(name).await;
        let literal = Value::from(name).to_string();
        let found = t.find(&format!("userName eq {literal}")).await.is(200);
        assert_eq!(found.listed("/id"), [user.id()], "{name}");
        let found = t.find(&format!("not (userName ne {literal})")).await.is(200);
        assert_eq!(found.listed("/id"), [user.id()], "{name}");
    }
}

/// E-USER-03, R-FILTER-10: the same filter as different clients write it into the address.
async fn entras_encodings_are_read(t: &Tenant) {
    let user = t.user("b+Amélie@example.com").await;
    for query in [
        "filter=userName+eq+%22b%2BAm%C3%A9lie%40example.com%22",
        "filter=userName%20eq%20%22b%2BAm%C3%A9lie@example.com%22",
        "filter=userName%20eq%20%22b%2bam%c3%a9lie%40example.com%22",
        "filter=userName eq \"b%2BAmélie@example.com\"",
        "aadOptscim062020&filter=userName+eq+%22b%2BAm%C3%A9lie%40example.com%22",
        "filter=userName%20eq%20%22b%2BAm%C3%A9lie%40example.com%22&aadOptscim062020",
        "filter=%28userName%20eq%20%22b%2BAm\\u00e9lie@example.com%22%29",
        "filter=++userName++eq++%22b%2BAm%C3%A9lie%40example.com%22++",
    ] {
        let found = t.get(&format!("/Users?{query}")).await.is(200);
        assert_eq!(found.listed("/id"), [user.id()], "{query}");
    }
}

async fn parameter_names_are_read_in_any_case(t: &Tenant) {
    three(t).await;
    let filter = encoded("title eq null");
    let list = t
        .get(&format!(
            "/Users?FILTER={filter}&StartIndex=2&COUNT=1&Attributes=userName"
        ))
        .await
        .is(200);
    assert_eq!(
        (list.total(), &list.body["startIndex"], &list.body["itemsPerPage"]),
        (2, &json!(2), &json!(1))
    );
    assert_eq!(
        list.body["Resources"][0].as_object().map(serde_json::Map::len),
        Some(3),
        "{list}"
    );
    let list = t.get("/Users?EXCLUDEDATTRIBUTES=meta").await.is(200);
    assert_eq!(list.listed("/meta/version"), ["", "", ""]);
}

/// R-GEN-12.
async fn unknown_parameters_are_ignored(t: &Tenant) {
    three(t).await;
    for query in [
        "aadOptscim062020",
        "shoeSize=43&x=&=y",
        "code=1&count=%33&sort=userName",
    ] {
        assert_eq!(
            t.get(&format!("/Users?{query}")).await.is(200).listed("/id").len(),
            3,
            "{query}"
        );
    }
}

/// R-FILTER-10; design §6, "never silently accept".
async fn tolerated_spellings_are_named(t: &Tenant) {
    three(t).await;
    for (filter, expected, note) in [
        ("externalId eq 701984", "bjensen", "unquoted-string externalId"),
        ("active eq \"False\"", "jsmith", "quoted-literal active"),
        ("department eq \"Tour Operations\"", "bjensen", "unqualified-key"),
    ] {
        finds(t, filter, &[expected]).await;
        let notes = t.find(filter).await.header("scimgate-normalized").unwrap_or_default();
        assert!(notes.starts_with(note), "{filter}: {notes}");
    }
    assert_eq!(
        t.find("externalId eq \"701984\"").await.header("scimgate-normalized"),
        None
    );
}
