//! Groups and their members in one request (RFC 7644 §3.7.1, §3.7.2).

use serde_json::{Value, json};

use super::bulk::{bulk, id, refused, statuses};
use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, patch_op, user},
};

cases![
    a_user_is_a_member_by_its_bulk_id,
    a_group_may_come_before_its_members,
    two_groups_may_be_members_of_each_other,
    a_circle_of_eight_groups_is_closed,
    a_group_in_itself_is_refused,
    members_come_and_go_by_their_bulk_ids,
    a_group_is_put_with_new_members,
    a_group_whose_member_failed_is_not_made,
    a_group_made_again_is_taken,
    a_group_of_more_than_one_commit_takes,
];

const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

fn create_user(bulk_id: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": user(bulk_id) })
}

/// A POST of a group with these members.
fn create_group(bulk_id: &str, members: &[&str]) -> Value {
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": group(bulk_id, members) })
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|value| json!({ "value": value })).collect();
    json!({ "schemas": [GROUP_URN], "displayName": name, "members": members })
}

/// The ids of the members of the group that an operation was about, in order.
async fn members(t: &Tenant, answer: &Answer, operation: usize) -> Vec<String> {
    let found = t.get(&format!("/Groups/{}", id(answer, operation))).await.is(200);
    let members = found.body["members"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = members
        .iter()
        .map(|member| member["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

/// The ids of what these operations made, in order.
fn made(answer: &Answer, operations: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut ids: Vec<String> = operations.into_iter().map(|operation| id(answer, operation)).collect();
    ids.sort();
    ids
}

/// R-BULK-02 (RFC 7644 §3.7.2): its own example.
async fn a_user_is_a_member_by_its_bulk_id(t: &Tenant) {
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                { "method": "POST", "path": "/Users", "bulkId": "qwerty", "data": user("Alice") },
                { "method": "POST", "path": "/Groups", "bulkId": "ytrewq", "data": {
                    "schemas": [GROUP_URN],
                    "displayName": "Tour Guides",
                    "members": [{ "type": "User", "value": "bulkId:qwerty" }],
                } },
            ])),
        )
        .await;
    assert_eq!(statuses(&answer), ["201", "201"]);
    assert_eq!(members(t, &answer, 1).await, made(&answer, [0]));
    let alice = t.get(&format!("/Users/{}", id(&answer, 0))).await.is(200);
    assert_eq!(alice.text("/groups/0/value"), id(&answer, 1));
}

/// R-BULK-02.
async fn a_group_may_come_before_its_members(t: &Tenant) {
    let operations = json!([
        create_group("g", &["bulkId:h", "bulkId:a"]),
        create_user("a"),
        create_group("h", &["bulkId:b"]),
        create_user("b")
    ]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["201"; 4]);
    assert_eq!(members(t, &answer, 0).await, made(&answer, [1, 2]));
    assert_eq!(members(t, &answer, 2).await, made(&answer, [3]));
}

/// R-BULK-02 (RFC 7644 §3.7.1): its own example.
async fn two_groups_may_be_members_of_each_other(t: &Tenant) {
    let one = |name: &str, own: &str, other: &str| {
        json!({ "method": "POST", "path": "/Groups", "bulkId": own, "data": {
            "schemas": [GROUP_URN],
            "displayName": name,
            "members": [{ "type": "Group", "value": format!("bulkId:{other}") }],
        } })
    };
    let operations = json!([one("Group A", "qwerty", "ytrewq"), one("Group B", "ytrewq", "qwerty")]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["201", "201"]);
    assert_eq!(members(t, &answer, 0).await, made(&answer, [1]));
    assert_eq!(members(t, &answer, 1).await, made(&answer, [0]));
}

/// R-BULK-02 (RFC 7644 §3.7.1): each also has a user, which nothing of the circle takes away.
async fn a_circle_of_eight_groups_is_closed(t: &Tenant) {
    let one = |number: usize| {
        let next = format!("bulkId:{}", (number + 1) % 8);
        create_group(&number.to_string(), &[&next, "bulkId:a"])
    };
    let mut operations: Vec<Value> = (0..8).map(one).collect();
    operations.push(create_user("a"));
    let answer = t.post("/Bulk", bulk(operations.into())).await;
    assert_eq!(statuses(&answer), ["201"; 9]);
    for number in 0..8 {
        assert_eq!(members(t, &answer, number).await, made(&answer, [(number + 1) % 8, 8]));
    }
}

/// As in a request by itself; nothing is left of it.
async fn a_group_in_itself_is_refused(t: &Tenant) {
    let operations = json!([
        create_group("g", &["bulkId:g", "bulkId:a"]),
        create_user("a"),
        create_group("h", &["bulkId:g"])
    ]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["400", "201", "409"]);
    refused(&answer, 0, (400, "invalidValue"), &["g can't be a member of itself"]);
    assert_eq!(t.get("/Groups").await.is(200).total(), 0);
    let patch = patch_op(json!([{ "op": "add", "path": "members", "value": [{ "value": "bulkId:g" }] }]));
    let operations = json!([create_group("g", &[]), { "method": "PATCH", "path": "/Groups/bulkId:g", "data": patch }]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["201", "400"]);
    refused(&answer, 1, (400, "invalidValue"), &["can't be a member of itself"]);
}

/// R-BULK-02: in the path of a request, in the path of a PATCH, and in its values.
async fn members_come_and_go_by_their_bulk_ids(t: &Tenant) {
    let patch = |operations: Value| {
        let mut operation = json!({ "method": "PATCH", "path": "/Groups/bulkId:g" });
        operation["data"] = patch_op(operations);
        operation
    };
    let answer = t
        .post(
            "/Bulk",
            bulk(json!([
                create_group("g", &["bulkId:a", "bulkId:b"]),
                patch(json!([{ "op": "add", "path": "members", "value": [{ "value": "bulkId:c" }, { "$ref": "/Users/bulkId:d" }] }])),
                patch(json!([{ "op": "remove", "path": "members[value eq \"bulkId:a\"]" }])),
                patch(json!([{ "op": "remove", "path": "members", "value": [{ "value": "bulkId:b" }] }])),
                create_user("a"),
                create_user("b"),
                create_user("c"),
                create_user("d"),
                create_group("h", &["bulkId:a"]),
                { "method": "DELETE", "path": "/Groups/bulkId:h" },
            ])),
        )
        .await;
    assert_eq!(
        statuses(&answer),
        ["201", "200", "200", "200", "201", "201", "201", "201", "201", "204"]
    );
    assert_eq!(members(t, &answer, 0).await, made(&answer, [6, 7]));
    assert_eq!(t.get("/Groups").await.is(200).total(), 1);
}

/// R-BULK-02.
async fn a_group_is_put_with_new_members(t: &Tenant) {
    let old = t.user("old").await;
    let made_before = t.post("/Groups", group("Tour Guides", &[old.id()])).await.is(201);
    let operations = json!([
        { "method": "PUT", "path": made_before.place(), "version": made_before.etag(), "data": group("Guides", &["bulkId:a"]) },
        create_user("a"),
    ]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["200", "201"]);
    assert_eq!(members(t, &answer, 0).await, made(&answer, [1]));
}

/// R-BULK-02: a group that lacks somebody would take away what it gives access to.
async fn a_group_whose_member_failed_is_not_made(t: &Tenant) {
    t.user("taken").await;
    let operations = json!([
        create_user("taken"),
        create_group("g", &["bulkId:taken"]),
        create_group("h", &["no-such-user"])
    ]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["409", "409", "400"]);
    refused(&answer, 1, (409, ""), &["bulkId taken,"]);
    refused(&answer, 2, (400, "invalidValue"), &["no-such-user"]);
    assert_eq!(t.get("/Groups").await.is(200).total(), 0);
}

async fn a_group_made_again_is_taken(t: &Tenant) {
    let message = || {
        bulk(json!([
            create_group("g", &["bulkId:h"]),
            create_group("h", &["bulkId:g"])
        ]))
    };
    assert_eq!(statuses(&t.post("/Bulk", message()).await), ["201", "201"]);
    let again = t.post("/Bulk", message()).await;
    assert_eq!(statuses(&again), ["409", "409"]);
    refused(&again, 1, (409, "uniqueness"), &["displayName"]);
    assert_eq!(t.get("/Groups").await.is(200).total(), 2);
}

/// R-BULK-02: what is too much for one commit to the store is decided by one all the same.
async fn a_group_of_more_than_one_commit_takes(t: &Tenant) {
    let mut expected = Vec::new();
    for number in 0..30 {
        expected.push(t.user(&format!("user{number}")).await.id().to_owned());
    }
    let mut named: Vec<&str> = expected.iter().map(String::as_str).collect();
    named.extend(["bulkId:a", "bulkId:b", "bulkId:c"]);
    let operations = json!([
        create_group("g", &named),
        create_user("a"),
        create_user("b"),
        create_user("c")
    ]);
    let answer = t.post("/Bulk", bulk(operations)).await;
    assert_eq!(statuses(&answer), ["201"; 4]);
    expected.extend(made(&answer, 1..4));
    expected.sort();
    assert_eq!(members(t, &answer, 0).await, expected);
}
