//! Groups and their members over HTTP: what is shown, versions, and what is refused. The forms in which identity providers
//! send members are conversations (`tests/idp`).

use serde_json::{Value, json};

use super::bulk::{bulk, id};
use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, encoded, patch_op, user, user_with},
};

cases![
    a_group_is_created_with_its_members,
    members_are_shown_when_few_or_asked_for,
    a_put_is_the_whole_list_of_members,
    a_change_of_members_is_a_new_version,
    a_condition_on_a_group_covers_its_members,
    unknown_members_are_named_and_nothing_is_done,
    no_group_is_a_member_of_itself,
    members_have_their_attributes_types,
    what_a_member_is_cannot_be_changed,
    a_wrong_kind_of_member_is_put_right_and_noted,
    too_many_members_are_refused_before_any_is_looked_for,
    too_many_operations_are_refused,
];

pub(super) const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A group with these members, who are ids.
pub(super) fn group(name: &str, members: &[impl AsRef<str>]) -> Value {
    json!({ "schemas": [GROUP_URN], "displayName": name, "members": values(members) })
}

pub(super) fn values(members: &[impl AsRef<str>]) -> Vec<Value> {
    members.iter().map(|id| json!({ "value": id.as_ref() })).collect()
}

/// An operation that adds or removes these members.
pub(super) fn operation(op: &str, members: &[impl AsRef<str>]) -> Value {
    json!({ "op": op, "path": "members", "value": values(members) })
}

pub(super) async fn change(t: &Tenant, place: &str, op: &str, members: &[impl AsRef<str>]) -> Answer {
    t.patch(place, patch_op(json!([operation(op, members)]))).await
}

/// The ids in `members` or `groups` of an answer, sorted.
pub(super) fn ids(answer: &Answer, attribute: &str) -> Vec<String> {
    let links = answer.body[attribute].as_array().into_iter().flatten();
    let mut ids: Vec<String> = links
        .map(|link| link["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Ids of new users, sorted; at most 100.
pub(super) async fn users(t: &Tenant, names: &str, number: usize) -> Vec<String> {
    let create = |number: usize| {
        let name = format!("{names}{number}@example.com");
        json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(&name) })
    };
    let operations: Vec<Value> = (0..number).map(create).collect();
    let made = t.post("/Bulk", bulk(operations.into())).await.is(200);
    let mut ids: Vec<String> = (0..number).map(|operation| id(&made, operation)).collect();
    ids.sort();
    ids
}

/// R-SCHEMA-02, E-GROUP-01 (RFC 7643 §4.2): each member with its address, its type and its name, which are never sent.
async fn a_group_is_created_with_its_members(t: &Tenant) {
    let babs = user_with("bjensen@example.com", json!({ "displayName": "Babs Jensen" }));
    let babs = t.post("/Users", babs).await.is(201);
    let guides = t.post("/Groups", group("Tour Guides", &[] as &[&str])).await.is(201);
    assert!(guides.body.get("members").is_none(), "{guides}");
    let members = [babs.id(), guides.id()];
    let created = t.post("/Groups", group("Employees", &members)).await.is(201);
    let shown = t.get(&created.place()).await.is(200);
    assert_eq!(ids(&created, "members"), ids(&shown, "members"));
    let of = |id: &str| {
        let members = shown.body["members"].as_array().into_iter().flatten();
        members.into_iter().find(|member| member["value"] == id).cloned()
    };
    let (users, groups) = (babs.text("/meta/location"), guides.text("/meta/location"));
    let expected = json!({ "value": babs.id(), "$ref": users, "display": "Babs Jensen", "type": "User" });
    assert_eq!(of(babs.id()), Some(expected));
    let expected = json!({ "value": guides.id(), "$ref": groups, "display": "Tour Guides", "type": "Group" });
    assert_eq!(of(guides.id()), Some(expected));
    let groups = json!([{
        "value": created.id(), "$ref": created.text("/meta/location"), "display": "Employees", "type": "direct",
    }]);
    t.get(&babs.place()).await.is(200).has(&json!({ "groups": groups }));
    t.post("/Groups", group("Employees", &members))
        .await
        .refused(409, "uniqueness", &["displayName", created.id()]);
}

/// R-PROJ-02, E-GROUP-02, E-GROUP-05; design §6: the answer to a write has members when they are 100 at most, or named.
async fn members_are_shown_when_few_or_asked_for(t: &Tenant) {
    let mut members = users(t, "a", 100).await;
    members.extend(users(t, "b", 1).await);
    members.sort();
    let created = t.post("/Groups", group("Employees", &members)).await.is(201);
    assert!(created.body.get("members").is_none(), "101 members: {created}");
    let place = created.place();
    assert_eq!(ids(&t.get(&place).await.is(200), "members"), members);
    for query in ["excludedAttributes=members", "attributes=displayName"] {
        let shown = t.get(&format!("{place}?{query}")).await.is(200);
        assert!(shown.body.get("members").is_none(), "{shown}");
        assert_eq!(shown.etag(), created.etag());
    }
    let rename = |name: &str| patch_op(json!([{ "op": "replace", "path": "displayName", "value": name }]));
    let renamed = t.patch(&place, rename("A")).await.is(200);
    assert!(renamed.body.get("members").is_none(), "{renamed}");
    let named = t
        .patch(&format!("{place}?attributes=members"), rename("B"))
        .await
        .is(200);
    assert_eq!(ids(&named, "members"), members);
    let values = t.get(&format!("{place}?attributes=members.value")).await.is(200);
    assert_eq!(ids(&values, "members"), members);
    assert!(values.body["members"][0].get("type").is_none(), "{values}");

    let fewer = change(t, &place, "remove", &members[..1]).await.is(200);
    assert_eq!(ids(&fewer, "members"), members[1..], "100 members");
    let put = t.put(&place, group("C", &members)).await.is(200);
    assert!(put.body.get("members").is_none(), "{put}");
    let excluded = format!("{place}?excludedAttributes=members");
    let put = t.put(&excluded, group("D", &members[..2])).await.is(200);
    assert!(put.body.get("members").is_none(), "{put}");
    assert_eq!(ids(&t.get(&place).await.is(200), "members"), members[..2]);
}

/// R-PUT-01 (RFC 7644 §3.5.1): members that are left out are members no longer.
async fn a_put_is_the_whole_list_of_members(t: &Tenant) {
    let members = users(t, "a", 4).await;
    let created = t.post("/Groups", group("Employees", &members[..2])).await.is(201);
    let place = created.place();
    let again = t.put(&place, group("Employees", &members[..2])).await.is(200);
    assert_eq!(again.etag(), created.etag(), "nothing changed");
    for list in [&members[1..], &members[..1], &[], &members[..]] {
        let put = t.put(&place, group("Employees", list)).await.is(200);
        assert_eq!(ids(&put, "members"), list);
        assert_eq!(ids(&t.get(&place).await.is(200), "members"), list);
        for member in &members {
            let expected = if list.contains(member) {
                vec![created.id().to_owned()]
            } else {
                Vec::new()
            };
            let user = t.get(&format!("/Users/{member}")).await.is(200);
            assert_eq!(ids(&user, "groups"), expected);
        }
    }
    let without = json!({ "schemas": [GROUP_URN], "displayName": "Employees" });
    let put = t.put(&place, without).await.is(200);
    assert!(put.body.get("members").is_none(), "{put}");
}

/// R-ETAG-01: the group has a new version, its members have not; what changes nothing makes none.
async fn a_change_of_members_is_a_new_version(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let place = t
        .post("/Groups", group("Employees", &[] as &[&str]))
        .await
        .is(201)
        .place();
    let mut versions = vec![t.get(&place).await.etag()];
    for (op, is_change) in [
        ("add", true),
        ("add", false),
        ("replace", false),
        ("remove", true),
        ("remove", false),
        ("replace", true),
    ] {
        let changed = change(t, &place, op, &[babs.id()]).await.is(200);
        assert_eq!(!versions.contains(&changed.etag()), is_change, "{op}: {changed}");
        assert_eq!(t.get(&place).await.is(200).body, {
            let mut expected = changed.body.clone();
            if let Some(member) = expected.pointer_mut("/members/0").and_then(Value::as_object_mut) {
                member.retain(|name, _| name != "display");
            }
            expected
        });
        versions.push(changed.etag());
    }
    assert_eq!(t.get(&babs.place()).await.is(200).etag(), babs.etag());
}

/// RFC 7644 §3.14, RFC 9110 §13.1.
async fn a_condition_on_a_group_covers_its_members(t: &Tenant) {
    let members = users(t, "a", 3).await;
    let created = t.post("/Groups", group("Employees", &members[..1])).await.is(201);
    let (place, old) = (created.place(), created.etag());
    let known = async |version: &str| t.raw("GET", &place, &[("If-None-Match", version)], "").await.status;
    assert_eq!(known(&old).await, 304);
    let new = change(t, &place, "add", &members[1..2]).await.is(200).etag();
    assert_eq!((known(&old).await, known(&new).await), (200, 304));
    let add = patch_op(json!([operation("add", &members[2..])]));
    let put = group("Employees", &members);
    for (method, body) in [
        ("PATCH", add.to_string()),
        ("PUT", put.to_string()),
        ("DELETE", String::new()),
    ] {
        let headers = [("Content-Type", SCIM_JSON), ("If-Match", old.as_str())];
        let answer = t.raw(method, &place, &headers, body).await;
        answer.refused(412, "", &["If-Match"]);
        assert_eq!(ids(&t.get(&place).await.is(200), "members"), members[..2], "{method}");
    }
    let headers = [("Content-Type", SCIM_JSON), ("If-Match", new.as_str())];
    let added = t.raw("PATCH", &place, &headers, add.to_string()).await.is(200);
    assert_eq!(ids(&added, "members"), members);
    // A member that is deleted is a change of the group too.
    t.delete(&format!("/Users/{}", members[0])).await.is(204);
    assert_eq!(known(&added.etag()).await, 200);
}

/// design §6: stored silently, an unknown member would lack access for good.
async fn unknown_members_are_named_and_nothing_is_done(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let gone = t.user("jsmith@example.com").await;
    t.delete(&gone.place()).await.is(204);
    let created = t.post("/Groups", group("Employees", &[babs.id()])).await.is(201);
    let place = created.place();
    let unknown = [
        "2819c223-7f76-453a-919d-413861904646",
        gone.id(),
        "bulkId:1",
        "nobody at all",
    ];
    for unknown in unknown {
        let members = [babs.id(), unknown];
        for answer in [
            t.post("/Groups", group("Guides", &members)).await,
            t.put(&place, group("Guides", &members)).await,
            change(t, &place, "add", &members).await,
            change(t, &place, "replace", &members).await,
        ] {
            answer.refused(400, "invalidValue", &[unknown]);
        }
        // Who is not there is removed already (RFC 7644 §3.5.2.2).
        change(t, &place, "remove", &[unknown]).await.is(200);
        let shown = t.get(&place).await.is(200);
        assert_eq!(shown.etag(), created.etag(), "{unknown}");
    }
    assert_eq!(t.get("/Groups").await.is(200).total(), 1);
}

async fn no_group_is_a_member_of_itself(t: &Tenant) {
    let created = t.post("/Groups", group("Employees", &[] as &[&str])).await.is(201);
    let (place, own) = (created.place(), [created.id()]);
    for answer in [
        t.put(&place, group("Employees", &own)).await,
        change(t, &place, "add", &own).await,
        change(t, &place, "replace", &own).await,
    ] {
        answer.refused(400, "invalidValue", &[created.id(), "itself"]);
    }
    assert_eq!(t.get(&place).await.is(200).etag(), created.etag());
}

/// Where it stands in the list is told.
async fn members_have_their_attributes_types(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let created = t.post("/Groups", group("Employees", &[] as &[&str])).await.is(201);
    let place = created.place();
    for wrong in [
        json!({ "value": { "value": "a" } }),
        json!({ "type": "User" }),
        json!({ "value": "" }),
        json!({ "value": null }),
        json!({ "display": "Babs Jensen" }),
        json!({ "value": babs.id(), "type": "Device" }),
        json!({ "value": babs.id(), "type": 1 }),
        json!(true),
        json!([[babs.id()]]),
    ] {
        let members = json!([{ "value": babs.id() }, wrong]);
        let document = json!({ "schemas": [GROUP_URN], "displayName": "Guides", "members": members });
        let add = json!([{ "op": "add", "path": "members", "value": members }]);
        for answer in [
            t.post("/Groups", document.clone()).await,
            t.put(&place, document).await,
            t.patch(&place, patch_op(add)).await,
        ] {
            answer.refused(400, "invalidValue", &["value 2"]);
        }
    }
    assert_eq!(t.get(&place).await.is(200).etag(), created.etag());
}

/// R-PATCH-10, R-PATCH-05 (RFC 7643 §4.2: "immutable"): a member is added or removed, not made another one.
async fn what_a_member_is_cannot_be_changed(t: &Tenant) {
    let (babs, john) = (t.user("bjensen@example.com").await, t.user("jsmith@example.com").await);
    let created = t.post("/Groups", group("Employees", &[babs.id()])).await.is(201);
    let chosen = format!("members[value eq \"{}\"]", babs.id());
    for (path, value) in [
        (format!("{chosen}.value"), json!(john.id())),
        (format!("{chosen}.type"), json!("Group")),
        (format!("{chosen}.display"), json!("Babs")),
        ("members.value".to_owned(), json!(john.id())),
        (chosen.clone(), json!({ "value": john.id() })),
        ("id".to_owned(), json!("1")),
        ("meta.version".to_owned(), json!("1")),
    ] {
        let replace = json!([{ "op": "replace", "path": path, "value": value }]);
        let answer = t.patch(&created.place(), patch_op(replace)).await;
        answer.refused(400, "mutability", &[]);
    }
    let remove = json!([{ "op": "remove", "path": "displayName" }]);
    t.patch(&created.place(), patch_op(remove))
        .await
        .refused(400, "mutability", &["displayName"]);
    // Groups are what makes members; a user has them to read only.
    let groups = json!([{ "op": "add", "path": "groups", "value": [{ "value": created.id() }] }]);
    t.patch(&john.place(), patch_op(groups))
        .await
        .refused(400, "mutability", &["groups"]);
    let shown = t.get(&created.place()).await.is(200);
    assert_eq!(
        (shown.etag(), ids(&shown, "members")),
        (created.etag(), vec![babs.id().to_owned()])
    );
}

/// `type` is the service's to know; Keycloak and Webex send it, Entra and Okta don't.
async fn a_wrong_kind_of_member_is_put_right_and_noted(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let guides = t.post("/Groups", group("Tour Guides", &[] as &[&str])).await.is(201);
    let members = json!([
        { "value": babs.id(), "type": "Group" }, { "value": guides.id(), "type": "User" },
    ]);
    let document = json!({ "schemas": [GROUP_URN], "displayName": "Employees", "members": members });
    let created = t.post("/Groups", document).await.is(201);
    let noted = created.header("scimgate-normalized").unwrap_or_default();
    assert!(noted.contains("members.type"), "{created}");
    for member in created.body["members"].as_array().into_iter().flatten() {
        let expected = if member["value"] == babs.id() { "User" } else { "Group" };
        assert_eq!(member["type"], expected, "{created}");
    }
}

/// design §4: at most 10,000 members a request; a group may have more.
async fn too_many_members_are_refused_before_any_is_looked_for(t: &Tenant) {
    let created = t.post("/Groups", group("Employees", &[] as &[&str])).await.is(201);
    let place = created.place();
    let members: Vec<String> = (0..10_001).map(|number| format!("2819c223-{number:05}")).collect();
    for answer in [
        t.post("/Groups", group("Guides", &members)).await,
        t.put(&place, group("Guides", &members)).await,
        change(t, &place, "add", &members).await,
        change(t, &place, "remove", &members).await,
    ] {
        answer.refused(413, "", &["10000 members"]);
    }
    assert_eq!(t.get(&place).await.is(200).etag(), created.etag());
}

/// R-PATCH-01; a message of 100,000 operations is refused unread, or for its size.
async fn too_many_operations_are_refused(t: &Tenant) {
    let created = t.post("/Groups", group("Employees", &[] as &[&str])).await.is(201);
    let place = created.place();
    let babs = t.user("bjensen@example.com").await;
    let add = operation("add", &[babs.id()]);
    for (operation, number, words) in [
        (&add, 1_001, "1000 Operations"),
        (&json!({}), 100_000, "1000 Operations"),
        (&add, 100_000, "1048576 bytes"),
    ] {
        let answer = t.patch(&place, patch_op(vec![operation.clone(); number].into())).await;
        answer.refused(413, "", &[words]);
    }
    assert_eq!(t.get(&place).await.is(200).etag(), created.etag());
    let answer = t.patch(&place, patch_op(vec![add; 1_000].into())).await.is(200);
    assert_eq!(ids(&answer, "members"), [babs.id()]);
    let filter = encoded(&format!("members eq \"{}\"", babs.id()));
    assert_eq!(t.get(&format!("/Groups?filter={filter}")).await.is(200).total(), 1);
}
