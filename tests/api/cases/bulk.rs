//! Many writes in one request (RFC 7644 §3.7).

use serde_json::{Value, json};

use super::errors::reference;
use crate::{
    answer::Answer,
    case::cases,
    tenant::{ENTERPRISE_URN, SCIM_JSON, Tenant, USER_URN, patch_op, user, user_with},
    world::{PUBLIC_URL, Setup},
};

cases![
    every_method_does_what_it_does_by_itself,
    an_operation_that_fails_says_why_and_leaves_the_others,
    a_manager_is_named_by_the_bulk_id_of_another_user,
    a_user_that_comes_later_may_be_named_before,
    two_users_may_name_each_other,
    a_circle_of_eight_is_closed,
    a_path_may_name_what_the_request_makes,
    a_reference_to_nothing_is_refused_by_name,
    after_as_many_errors_as_the_client_accepts_it_stops,
    a_version_that_is_gone_is_412,
    as_many_operations_as_advertised_and_not_one_more,
    as_many_bytes_as_advertised_and_not_one_more,
    what_is_no_bulk_request_is_refused_as_a_whole,
    what_is_no_operation_is_refused_alone,
    a_path_leads_into_no_other_tenant,
    the_same_request_again_makes_nothing_twice,
    two_at_once_share_no_name,
    what_was_rewritten_is_noted,
    locations_are_those_of_single_requests.with(Setup::PublicUrl),
    it_takes_a_post_and_nothing_else,
    there_is_no_me,
];

pub(super) fn bulk(operations: Value) -> Value {
    let mut message = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"] });
    message["Operations"] = operations;
    message
}

/// A POST of a user.
fn create(bulk_id: &str, data: Value) -> Value {
    let mut operation = json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id });
    operation["data"] = data;
    operation
}

/// A user with a manager.
fn managed(name: &str, manager: &str) -> Value {
    let mut user = user_with(name, json!({ ENTERPRISE_URN: { "manager": { "value": manager } } }));
    user["schemas"] = json!([USER_URN, ENTERPRISE_URN]);
    user
}

/// The manager of the user with this name.
async fn manager(t: &Tenant, name: &str) -> String {
    let found = t.find(&format!("userName eq \"{name}\"")).await.is(200);
    assert_eq!(found.total(), 1, "{found}");
    found
        .text(&format!("/Resources/0/{ENTERPRISE_URN}/manager/value"))
        .to_owned()
}

/// What became of each operation: its status.
#[track_caller]
pub(super) fn statuses(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer}");
    let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]);
    assert_eq!(answer.body["schemas"], schemas, "{answer}");
    let operations = answer.body["Operations"].as_array();
    let operations = operations.unwrap_or_else(|| panic!("no Operations: {answer}"));
    let status = |operation: &Value| operation["status"].as_str().map(str::to_owned);
    for operation in operations {
        let failed = operation["status"].as_str() >= Some("400");
        assert_eq!(operation.get("response").is_some(), failed, "{answer}");
        let located = operation.get("location").is_some() || failed;
        assert!(
            located && operation["method"].is_string() && status(operation).is_some(),
            "{answer}"
        );
    }
    operations
        .iter()
        .map(|operation| operation["status"].as_str().unwrap_or_default())
        .collect()
}

/// An operation was refused with this status and `scimType` (empty: none), in these words, as a request by itself would
/// be.
#[track_caller]
pub(super) fn refused(answer: &Answer, operation: usize, refusal: (u16, &str), words: &[&str]) {
    let response = &answer.body["Operations"][operation]["response"];
    let bytes = response.to_string().into_bytes();
    let alone = Answer::new(answer.asked.clone(), refusal.0, Vec::new(), bytes);
    assert_eq!(response["status"], refusal.0.to_string(), "{answer}");
    assert_eq!(
        response["schemas"],
        json!(["urn:ietf:params:scim:api:messages:2.0:Error"]),
        "{answer}"
    );
    reference(&alone.refused(refusal.0, refusal.1, words));
}

/// The id in an operation's location.
#[track_caller]
pub(super) fn id(answer: &Answer, operation: usize) -> String {
    let location = answer.text(&format!("/Operations/{operation}/location"));
    location.rsplit('/').next().unwrap_or_default().to_owned()
}

/// R-BULK-01 (RFC 7644 §3.7.3): the four methods of its example, in any case.
async fn every_method_does_what_it_does_by_itself(t: &Tenant) {
    let [bob, dave, gone] = ["bob", "dave", "gone"].map(|name| t.user(name));
    let (bob, dave, gone) = (bob.await, dave.await, gone.await);
    let title = patch_op(json!([{ "op": "add", "path": "title", "value": "Tour Guide" }]));
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create("qwerty", user("alice")),
                { "method": "put", "path": bob.place(), "version": bob.etag(), "data": user("robert") },
                { "method": "Patch", "path": dave.place(), "version": dave.etag(), "data": title },
                { "method": "DELETE", "path": gone.place(), "version": gone.etag() },
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["201", "200", "200", "204"]);
    let alice = t.get(&format!("/Users/{}", id(&answer, 0))).await.is(200);
    let [robert, dave] = [t.get(&bob.place()).await.is(200), t.get(&dave.place()).await.is(200)];
    let expected = json!([
        { "location": alice.text("/meta/location"), "method": "POST", "bulkId": "qwerty", "version": alice.etag(), "status": "201" },
        { "location": robert.text("/meta/location"), "method": "PUT", "version": robert.etag(), "status": "200" },
        { "location": dave.text("/meta/location"), "method": "PATCH", "version": dave.etag(), "status": "200" },
        { "location": gone.text("/meta/location"), "method": "DELETE", "status": "204" },
    ]);
    assert_eq!(answer.body["Operations"], expected);
    let now = [alice.text("/userName"), robert.text("/userName"), dave.text("/title")];
    assert_eq!(now, ["alice", "robert", "Tour Guide"]);
    t.get(&gone.place()).await.is(404);
}

/// R-BULK-01, R-GEN-11 (RFC 7644 §3.7.3): each with its own SCIM error, and a place where there is one.
async fn an_operation_that_fails_says_why_and_leaves_the_others(t: &Tenant) {
    let bjensen = t.user("bjensen").await;
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create("qwerty", user("bjensen")),
                create("ytrewq", json!({ "schemas": [USER_URN] })),
                { "method": "PUT", "path": bjensen.place(), "version": "W/\"4weymrEsh5O6cAEK\"", "data": user("babs") },
                { "method": "PATCH", "path": bjensen.place(), "data": patch_op(json!([{ "op": "replace", "path": "id", "value": "1" }])) },
                { "method": "DELETE", "path": "/Users/e9025315-6bea-44e1-899c-1e07454e468b" },
                create("azerty", user("jsmith")),
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["409", "400", "412", "400", "404", "201"]);
    refused(&answer, 0, (409, "uniqueness"), &["userName", bjensen.id()]);
    refused(&answer, 1, (400, "invalidValue"), &["userName is required"]);
    refused(&answer, 2, (412, ""), &["has changed since"]);
    refused(&answer, 3, (400, "mutability"), &["id"]);
    refused(&answer, 4, (404, ""), &["no User"]);
    let place = |operation: usize| {
        answer.body["Operations"][operation]
            .get("location")
            .and_then(Value::as_str)
    };
    assert_eq!(
        [place(0), place(1)],
        [None, None],
        "RFC 7644 §3.7: no location of what was not created"
    );
    assert_eq!([place(2), place(3)], [bjensen.text("/meta/location"); 2].map(Some));
    assert!(place(4).is_some_and(|place| place.ends_with("/Users/e9025315-6bea-44e1-899c-1e07454e468b")));
    assert_eq!(t.get(&bjensen.place()).await.body, bjensen.body);
    assert_eq!(t.users().await, 2);
}

/// R-BULK-02 (RFC 7644 §3.7.2): its own example.
async fn a_manager_is_named_by_the_bulk_id_of_another_user(t: &Tenant) {
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create("qwerty", user("Alice")),
                create("ytrewq", managed("Bob", "bulkId:qwerty")),
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["201", "201"]);
    assert_eq!(manager(t, "Bob").await, id(&answer, 0));
}

/// R-BULK-02.
async fn a_user_that_comes_later_may_be_named_before(t: &Tenant) {
    let boss = t.user("boss").await;
    let urn = format!("{ENTERPRISE_URN}:manager");
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                { "method": "PATCH", "path": boss.place(), "data": patch_op(json!([
                    { "op": "add", "path": urn, "value": { "value": "bulkId:c" } },
                ])) },
                create("a", managed("alice", "bulkId:b")),
                create("b", managed("bob", "bulkId:c")),
                create("c", user("carol")),
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["200", "201", "201", "201"]);
    assert_eq!(manager(t, "alice").await, id(&answer, 2));
    assert_eq!(manager(t, "bob").await, id(&answer, 3));
    assert_eq!(manager(t, "boss").await, id(&answer, 3));
}

/// R-BULK-02 (RFC 7644 §3.7.1): tried, and not refused. The versions told are those that are there afterwards.
async fn two_users_may_name_each_other(t: &Tenant) {
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create("a", managed("alice", "bulkId:b")),
                create("b", managed("bob", "bulkId:a")),
                create("c", managed("carol", "bulkId:c")),
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["201", "201", "201"]);
    for (operation, name, other) in [(0, "alice", 1), (1, "bob", 0), (2, "carol", 2)] {
        assert_eq!(manager(t, name).await, id(&answer, other));
        let version = answer.text(&format!("/Operations/{operation}/version"));
        assert_eq!(
            t.get(&format!("/Users/{}", id(&answer, operation))).await.etag(),
            version
        );
    }
}

/// R-BULK-02 (RFC 7644 §3.7.1).
async fn a_circle_of_eight_is_closed(t: &Tenant) {
    let one = |number: usize| {
        let next = format!("bulkId:{}", (number + 1) % 8);
        create(&number.to_string(), managed(&format!("user{number}"), &next))
    };
    let answer = t.post("/Bulk", bulk((0..8).map(one).collect())).await;
    assert_eq!(statuses(&answer), ["201"; 8]);
    for number in 0..8 {
        assert_eq!(
            manager(t, &format!("user{number}")).await,
            id(&answer, (number + 1) % 8)
        );
    }
}

/// R-BULK-02.
async fn a_path_may_name_what_the_request_makes(t: &Tenant) {
    let title = patch_op(json!([{ "op": "add", "path": "title", "value": "Tour Guide" }]));
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                { "method": "PATCH", "path": "/Users/bulkId:a", "data": title },
                create("a", user("alice")),
                create("b", user("bob")),
                { "method": "DELETE", "path": "/Users/bulkId:b" },
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["200", "201", "201", "204"]);
    assert_eq!(id(&answer, 0), id(&answer, 1));
    let alice = t.get(&format!("/Users/{}", id(&answer, 1))).await.is(200);
    assert_eq!(alice.text("/title"), "Tour Guide");
    assert_eq!(t.users().await, 1);
}

/// R-BULK-02: a reference that is stored as it stands would name nobody for good.
async fn a_reference_to_nothing_is_refused_by_name(t: &Tenant) {
    t.user("taken").await;
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create("a", managed("alice", "bulkId:nobody")),
                create("b", user("taken")),
                create("c", managed("carol", "bulkId:b")),
                { "method": "DELETE", "path": "/Users/bulkId:c" },
                create("d", managed("dave", "bulkId:e")),
                create("e", managed("taken", "bulkId:d")),
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["400", "409", "409", "409", "409", "409"]);
    refused(&answer, 0, (400, "invalidValue"), &["bulkId nobody,"]);
    refused(&answer, 1, (409, "uniqueness"), &["userName"]);
    refused(&answer, 2, (409, ""), &["bulkId b,"]);
    refused(&answer, 3, (409, ""), &["bulkId c,"]);
    assert_eq!(
        t.users().await,
        1,
        "dave and the second taken need each other, and the second comes first"
    );
}

/// R-BULK-03 (RFC 7644 §3.7.3): its own example, with one error accepted.
async fn after_as_many_errors_as_the_client_accepts_it_stops(t: &Tenant) {
    t.user("bjensen").await;
    let operations = json!([create("qwerty", user("bjensen")), create("ytrewq", user("alice"))]);
    let mut message = bulk(operations);
    message["failOnErrors"] = json!(1);
    let answer = t.post("/Bulk", message.clone()).await;
    assert_eq!(statuses(&answer), ["409"]);
    assert_eq!(answer.text("/Operations/0/bulkId"), "qwerty");
    assert_eq!(t.users().await, 1);
    for (accepted, expected) in [(json!(2), ["409", "201"]), (json!(null), ["409", "409"])] {
        message["failOnErrors"] = accepted;
        assert_eq!(statuses(&t.post("/Bulk", message.clone()).await), expected);
    }
    for accepted in [json!(0), json!(-1), json!("many"), json!(1.5)] {
        message["failOnErrors"] = accepted;
        let answer = t.post("/Bulk", message.clone()).await;
        answer.refused(400, "invalidValue", &["failOnErrors", "a whole number from 1"]);
    }
}

/// R-ETAG-01, "Bulk op version" (RFC 7644 §3.14): as If-Match.
async fn a_version_that_is_gone_is_412(t: &Tenant) {
    let first = t.user("bjensen").await;
    let title = |title: &str| patch_op(json!([{ "op": "add", "path": "title", "value": title }]));
    t.patch(&first.place(), title("Guide")).await.is(200);
    for (version, status) in [
        (json!(first.etag()), "412"),
        (json!("W/\"x\""), "412"),
        (json!(""), "412"),
        (json!("*"), "200"),
        (json!(null), "200"),
        (json!(t.get(&first.place()).await.etag()), "412"),
    ] {
        let operation =
            |data: Value| json!({ "method": "PATCH", "path": first.place(), "version": version, "data": data });
        let answer = t
            .post("/Bulk", bulk(json!([operation(title(&version.to_string()))])))
            .await;
        assert_eq!(statuses(&answer), [status], "{version}");
    }
    let now = t.get(&first.place()).await.etag();
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                { "method": "PATCH", "path": first.place(), "version": now, "data": title("Senior Guide") },
                { "method": "DELETE", "path": first.place(), "version": now },
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["200", "412"]);
}

/// R-BULK-04, R-DISC-01 (RFC 7644 §3.7.4). All but the last operation are refused without a look at the store, so that
/// it does not matter how fast that is.
async fn as_many_operations_as_advertised_and_not_one_more(t: &Tenant) {
    let config = t.get("/ServiceProviderConfig").await.is(200);
    assert_eq!(config.body["bulk"]["supported"], true);
    let most = config.body["bulk"]["maxOperations"].as_u64().expect("a number");
    let many = |number: u64| {
        let mut operations =
            vec![json!({ "method": "DELETE", "path": "/Users" }); usize::try_from(number - 1).expect("a few")];
        operations.push(create("a", user("bjensen")));
        bulk(operations.into())
    };
    let answer = t.post("/Bulk", many(most + 1)).await;
    answer.refused(413, "", &[&format!("more than {most} ")]);
    assert_eq!(t.users().await, 0);
    let answer = t.post("/Bulk", many(most)).await;
    let statuses = statuses(&answer);
    assert_eq!((statuses.len() as u64, statuses.last()), (most, Some(&"201")));
    assert_eq!(t.users().await, 1);
}

/// R-BULK-04, R-DISC-01 (RFC 7644 §3.7.4).
async fn as_many_bytes_as_advertised_and_not_one_more(t: &Tenant) {
    let config = t.get("/ServiceProviderConfig").await.is(200);
    let most = config.body["bulk"]["maxPayloadSize"].as_u64().expect("a number");
    let limit = usize::try_from(most).expect("a small one");
    let message = bulk(json!([create("a", user("bjensen"))])).to_string();
    let sized = |bytes: usize| format!("{}{message}", " ".repeat(bytes - message.len()));
    let json = [("Content-Type", SCIM_JSON)];
    let answer = t.raw("POST", "/Bulk", &json, sized(limit + 1)).await;
    answer.refused(413, "", &[&format!("{most} bytes")]);
    assert_eq!(t.users().await, 0);
    assert_eq!(statuses(&t.raw("POST", "/Bulk", &json, sized(limit)).await), ["201"]);
    assert_eq!(
        statuses(&t.raw("POST", "/Bulk", &json, sized(limit - 1)).await),
        ["409"]
    );
}

/// R-BULK-01, R-BULK-02: before anything is written.
async fn what_is_no_bulk_request_is_refused_as_a_whole(t: &Tenant) {
    let fine = create("a", user("bjensen"));
    for (message, scim_type, word) in [
        (json!({ "Operations": [fine] }), "invalidSyntax", "BulkRequest"),
        (patch_op(json!([fine])), "invalidSyntax", "BulkRequest"),
        (bulk(json!(null)), "invalidSyntax", "no Operations"),
        (bulk(json!([])), "invalidSyntax", "no Operations"),
        (bulk(fine.clone()), "invalidSyntax", "no Operations"),
        (bulk(json!([fine, null])), "invalidSyntax", "Operation 2"),
        (
            bulk(json!([fine, { "path": "/Users/1" }])),
            "invalidSyntax",
            "Operation 2",
        ),
        (
            bulk(json!([fine, create("a", user("other"))])),
            "invalidValue",
            "bulkId a ",
        ),
    ] {
        let answer = t.post("/Bulk", message).await;
        answer.refused(400, scim_type, &[word]);
    }
    let text = bulk(json!([fine])).to_string();
    t.raw("POST", "/Bulk", &[("Content-Type", "text/plain")], text)
        .await
        .refused(415, "", &[]);
    t.raw("POST", "/Bulk", &[("Content-Type", SCIM_JSON)], "[]")
        .await
        .refused(400, "invalidSyntax", &["object"]);
    assert_eq!(t.users().await, 0);
}

/// R-BULK-01, R-BULK-02, R-BULK-04: no method that is none, no create that nobody can refer to, and nothing nested.
async fn what_is_no_operation_is_refused_alone(t: &Tenant) {
    let nested = bulk(json!([create("n", user("nested"))]));
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                { "method": "GET", "path": "/Users/1" },
                { "method": "POST", "path": "/Users", "data": user("alice") },
                { "method": "POST", "path": "/Users", "bulkId": "b" },
                { "method": "POST", "path": "/Bulk", "bulkId": "c", "data": nested },
                { "method": "POST", "path": "/.search", "bulkId": "d", "data": {} },
                { "method": "POST", "path": "/Users/1", "bulkId": "e", "data": user("eve") },
                { "method": "PUT", "path": "/Users", "data": user("fred") },
                { "method": "DELETE", "path": "/Schemas/1" },
                { "method": "DELETE", "path": "/Me" },
                create("z", user("bjensen")),
            ])),
        )
        .await;
    assert_eq!(
        statuses(&answer),
        ["400", "400", "400", "400", "400", "405", "405", "400", "400", "201"]
    );
    for (operation, says) in [
        (0, "as method"),
        (1, "a bulkId"),
        (2, "as data"),
        (3, "a path"),
        (4, "a path"),
        (7, "a path"),
        (8, "a path"),
    ] {
        refused(
            &answer,
            operation,
            (400, "invalidSyntax"),
            &[&format!("Operation {} ", operation + 1), says],
        );
    }
    refused(&answer, 5, (405, ""), &["POST", "use PUT, PATCH or DELETE"]);
    refused(&answer, 6, (405, ""), &["PUT", "use POST"]);
    assert_eq!(t.users().await, 1);
}

/// R-GEN-19: whatever a path says, it is this tenant's.
async fn a_path_leads_into_no_other_tenant(t: &Tenant) {
    let other = t.neighbour().await;
    let theirs = other.user("bjensen").await;
    let (place, url) = (theirs.place(), theirs.text("/meta/location"));
    for path in [
        url.to_owned(),
        url.replace("http:", ""),
        format!("{}{place}", other.path()),
        format!("/../{}{place}", other.name),
        format!("/Users/../../{}{place}", other.name),
        format!("/Users/..%2f..%2f{}{place}", other.name),
        format!("{place}?x=1"),
        format!("/v2{place}"),
    ] {
        let answer = t
            .post("/Bulk", bulk(json!([{ "method": "DELETE", "path": path }])))
            .await;
        assert_eq!(statuses(&answer), ["400"], "{path}");
    }
    let answer = t
        .post("/Bulk", bulk(json!([{ "method": "DELETE", "path": place }])))
        .await;
    assert_eq!(statuses(&answer), ["404"]);
    assert_eq!(other.get(&place).await.is(200).body, theirs.body);
}

/// A client that had no answer sends it all again.
async fn the_same_request_again_makes_nothing_twice(t: &Tenant) {
    let message = bulk(json!([
        create("a", managed("alice", "bulkId:b")),
        create("b", user("bob")),
        { "method": "PATCH", "path": "/Users/bulkId:b", "data": patch_op(json!([{ "op": "add", "path": "title", "value": "Guide" }])) },
    ]));
    let first = t.post("/Bulk", message.clone()).await;
    assert_eq!(statuses(&first), ["201", "201", "200"]);
    let [alice, bob] = [0, 1].map(|operation| format!("/Users/{}", id(&first, operation)));
    let before = [t.get(&alice).await.body, t.get(&bob).await.body];
    let again = t.post("/Bulk", message).await;
    assert_eq!(statuses(&again), ["409", "409", "409"]);
    refused(&again, 1, (409, "uniqueness"), &[&id(&first, 1)]);
    refused(&again, 0, (409, ""), &["bulkId b,"]);
    assert_eq!(before, [t.get(&alice).await.body, t.get(&bob).await.body]);
    assert_eq!(t.users().await, 2);
}

async fn two_at_once_share_no_name(t: &Tenant) {
    let message = || {
        bulk(
            (0..10)
                .map(|one| create(&one.to_string(), user(&format!("user{one}"))))
                .collect(),
        )
    };
    let (one, other) = tokio::join!(t.post("/Bulk", message()), t.post("/Bulk", message()));
    for pair in std::iter::zip(statuses(&one), statuses(&other)) {
        assert!(matches!(pair, ("201", "409") | ("409", "201")), "{pair:?}");
    }
    assert_eq!(t.users().await, 10);
}

/// Design §6, "never silently accept": for all operations together.
async fn what_was_rewritten_is_noted(t: &Tenant) {
    let mut one = create("a", user_with("alice", json!({ "active": "True", "shoeSize": 43 })));
    one["color"] = json!("red");
    let other = create(
        "b",
        user_with("bob", json!({ "emails": { "value": "bob@example.com" } })),
    );
    let answer = t.post("/Bulk", bulk(json!([one, other]))).await;
    assert_eq!(statuses(&answer), ["201", "201"]);
    let notes = answer.header("scimgate-normalized").unwrap_or_default();
    for note in [
        "unknown-member Operations.color",
        "boolean-string active",
        "unknown-attribute shoeSize",
        "single-for-array emails",
    ] {
        assert!(notes.contains(note), "{note} in {notes}");
    }
}

/// R-GEN-10: one address, however it is asked for.
async fn locations_are_those_of_single_requests(t: &Tenant) {
    for base in [t.path(), format!("{}/v2", t.path())] {
        let bearer = format!("Bearer {}", t.secret);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", SCIM_JSON)];
        let message = bulk(json!([create("a", user(&format!("bjensen{}", base.len())))])).to_string();
        let answer = t.at("POST", &format!("{base}/Bulk"), &headers, message).await;
        let location = format!("{PUBLIC_URL}{base}/Users/{}", id(&answer, 0));
        assert_eq!(answer.text("/Operations/0/location"), location);
    }
}

/// R-BULK-01, R-GEN-02 (RFC 9110 §15.5.6).
async fn it_takes_a_post_and_nothing_else(t: &Tenant) {
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        let answer = t.raw(method, "/Bulk", &[], "").await.is(405);
        assert_eq!(answer.header("allow").as_deref(), Some("OPTIONS, POST"), "{answer}");
    }
    let options = t.raw("OPTIONS", "/Bulk", &[], "").await.is(204);
    assert_eq!(options.header("allow").as_deref(), Some("OPTIONS, POST"));
    t.anonymous("POST", "/Bulk").await.is(401);
    t.post("/Bulk/1", bulk(json!([])))
        .await
        .refused(404, "", &["no such endpoint"]);
}

/// R-ME-01 (RFC 7644 §3.11): 501, whatever is asked of it; not without the credential.
async fn there_is_no_me(t: &Tenant) {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = t.raw(method, "/Me", &[], "").await.is(501);
        if method != "HEAD" {
            reference(&answer.refused(501, "", &["/Me", "/Users"]));
        }
        t.anonymous(method, "/Me").await.is(401);
    }
}
