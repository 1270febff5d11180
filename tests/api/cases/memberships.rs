//! Who is in which group, seen from both ends: groups in groups, members who go, clients who write at once.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::groups::{change, group, ids, operation, users};
use crate::{
    case::cases,
    tenant::{Tenant, encoded, patch_op},
};

cases![
    groups_in_groups_are_indirect_and_shown_on_request,
    groups_may_contain_each_other,
    who_is_deleted_is_in_no_answer,
    a_deleted_group_is_in_no_answer,
    who_is_inactive_stays_a_member,
    a_large_change_is_seen_from_both_ends,
    one_member_comes_and_goes_from_many_clients,
    a_put_beside_patches_loses_none_that_came_later,
    a_member_is_deleted_while_it_is_added,
    a_group_is_deleted_while_members_are_added,
];

/// The ids of the resources of this type that a filter finds, sorted.
async fn found(t: &Tenant, endpoint: &str, filter: &str) -> Vec<String> {
    let path = format!("/{endpoint}?filter={}&attributes=id&count=1000", encoded(filter));
    let mut ids = t.get(&path).await.is(200).listed("/id");
    ids.sort();
    ids
}

/// Both ends, lists and filters agree on who of these is in the group; gives who is.
async fn agreed(t: &Tenant, group: &str, users: &[String]) -> BTreeSet<String> {
    let shown = t.get(&format!("/Groups/{group}")).await.is(200);
    let members: BTreeSet<String> = ids(&shown, "members").into_iter().collect();
    for user in users {
        let answer = t.get(&format!("/Users/{user}")).await;
        let is_there = answer.status == 200;
        assert_eq!(
            ids(&answer, "groups").contains(&group.to_owned()),
            members.contains(user),
            "{answer}"
        );
        assert!(is_there || !members.contains(user), "{user} is gone");
        for filter in [
            format!("members eq \"{user}\""),
            format!("id eq \"{group}\" and members eq \"{user}\""),
        ] {
            let is_found = found(t, "Groups", &filter).await.contains(&group.to_owned());
            assert_eq!(is_found, members.contains(user), "{filter}");
        }
    }
    let listed = found(t, "Users", &format!("groups eq \"{group}\"")).await;
    assert_eq!(listed, members.iter().cloned().collect::<Vec<_>>());
    members
}

/// The groups of a user: value and type of each, in the order of the answer.
fn typed(answer: &crate::answer::Answer) -> Vec<(String, String)> {
    let links = answer.body["groups"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    links.map(|link| (text(&link["value"]), text(&link["type"]))).collect()
}

/// RFC 7643 §4.1.2: "direct" and "indirect"; E-GROUP-07; design §4: indirect ones when `attributes` names them, 5 levels.
async fn groups_in_groups_are_indirect_and_shown_on_request(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let mut inner = babs.id().to_owned();
    let mut chain = Vec::new();
    for level in 1..=6 {
        let made = t
            .post("/Groups", group(&format!("Level {level}"), &[&inner]))
            .await
            .is(201);
        made.id().clone_into(&mut inner);
        chain.push(inner.clone());
    }
    assert_eq!(
        typed(&t.get(&babs.place()).await.is(200)),
        [(chain[0].clone(), "direct".to_owned())]
    );
    for query in ["attributes=groups", "attributes=userName,groups.value,groups.type"] {
        let shown = t.get(&format!("{}?{query}", babs.place())).await.is(200);
        let mut expected: Vec<_> = chain[..5]
            .iter()
            .map(|id| (id.clone(), "indirect".to_owned()))
            .collect();
        "direct".clone_into(&mut expected[0].1);
        assert_eq!(typed(&shown), expected, "{query}");
    }
    // Not expanded: a group's members are the direct ones.
    assert_eq!(
        ids(&t.get(&format!("/Groups/{}", chain[1])).await.is(200), "members"),
        [chain[0].clone()]
    );
    t.delete(&format!("/Groups/{}", chain[1])).await.is(204);
    let shown = t.get(&format!("{}?attributes=groups", babs.place())).await.is(200);
    assert_eq!(typed(&shown), [(chain[0].clone(), "direct".to_owned())]);
}

/// E-GROUP-07: A in B in A.
async fn groups_may_contain_each_other(t: &Tenant) {
    let babs = t.user("bjensen@example.com").await;
    let a = t.post("/Groups", group("A", &[babs.id()])).await.is(201);
    let b = t.post("/Groups", group("B", &[a.id()])).await.is(201);
    change(t, &a.place(), "add", &[b.id()]).await.is(200);
    let mut both = [babs.id().to_owned(), b.id().to_owned()];
    both.sort();
    assert_eq!(ids(&t.get(&a.place()).await.is(200), "members"), both);
    let shown = t.get(&format!("{}?attributes=groups", babs.place())).await.is(200);
    let expected = [(a.id(), "direct"), (b.id(), "indirect")].map(|(id, kind)| (id.to_owned(), kind.to_owned()));
    assert_eq!(typed(&shown), expected);
    t.delete(&a.place()).await.is(204);
    assert!(t.get(&b.place()).await.is(200).body.get("members").is_none());
    assert!(t.get(&babs.place()).await.is(200).body.get("groups").is_none());
    t.delete(&b.place()).await.is(204);
}

/// R-SCHEMA-06 (RFC 7643 §4.1.2).
async fn who_is_deleted_is_in_no_answer(t: &Tenant) {
    let members = users(t, "a", 3).await;
    let mut groups = Vec::new();
    for name in ["A", "B", "C"] {
        groups.push(t.post("/Groups", group(name, &members)).await.is(201));
    }
    t.delete(&format!("/Users/{}", members[0])).await.is(204);
    for created in &groups {
        let shown = t.get(&created.place()).await.is(200);
        assert_eq!(ids(&shown, "members"), members[1..]);
        assert_ne!(shown.etag(), created.etag());
        assert_eq!(agreed(t, created.id(), &members).await.len(), 2);
    }
    let list = t.get("/Groups").await.is(200);
    assert!(!String::from_utf8_lossy(&list.bytes).contains(&members[0]), "{list}");
}

/// R-GEN-15, E-GROUP-06.
async fn a_deleted_group_is_in_no_answer(t: &Tenant) {
    let members = users(t, "a", 2).await;
    let kept = t.post("/Groups", group("Kept", &members)).await.is(201);
    let gone = t.post("/Groups", group("Gone", &members)).await.is(201);
    let nested = change(t, &kept.place(), "add", &[gone.id()]).await.is(200);
    assert_eq!(ids(&nested, "members").len(), 3);
    t.delete(&gone.place()).await.is(204);
    for answer in [
        t.get(&gone.place()).await,
        t.delete(&gone.place()).await,
        t.put(&gone.place(), group("Gone", &members)).await,
        change(t, &gone.place(), "add", &members).await,
    ] {
        answer.refused(404, "", &["Group"]);
    }
    assert_eq!(agreed(t, kept.id(), &members).await.len(), 2);
    for user in &members {
        let shown = t.get(&format!("/Users/{user}?attributes=groups")).await.is(200);
        assert_eq!(ids(&shown, "groups"), [kept.id()]);
        assert_eq!(found(t, "Groups", &format!("members eq \"{user}\"")).await, [kept.id()]);
    }
    let again = t.post("/Groups", group("Gone", &members)).await.is(201);
    assert_ne!(again.id(), gone.id());
}

/// E-GROUP-07: Entra does not send memberships again when it restores a user.
async fn who_is_inactive_stays_a_member(t: &Tenant) {
    let members = users(t, "a", 2).await;
    let created = t.post("/Groups", group("Employees", &members)).await.is(201);
    for active in [false, true] {
        let message = patch_op(json!([{ "op": "Replace", "path": "active", "value": active }]));
        t.patch(&format!("/Users/{}", members[0]), message).await.is(200);
        assert_eq!(agreed(t, created.id(), &members).await.len(), 2, "active {active}");
    }
    assert_eq!(t.get(&created.place()).await.is(200).etag(), created.etag());
}

/// More members than one commit has room for: design §4, the journal.
async fn a_large_change_is_seen_from_both_ends(t: &Tenant) {
    let members = users(t, "a", 70).await;
    let watched = [0, 1, 34, 35, 68, 69].map(|at| members[at].clone());
    let created = t.post("/Groups", group("Employees", &members[..35])).await.is(201);
    let id = created.id();
    let expected = async |t: &Tenant, expected: &[String]| {
        let expected: BTreeSet<String> = expected.iter().cloned().collect();
        assert_eq!(agreed(t, id, &watched).await, expected);
    };
    assert_eq!(ids(&created, "members"), members[..35]);
    expected(t, &members[..35]).await;
    change(t, &created.place(), "add", &members).await.is(200);
    expected(t, &members).await;
    let put = t
        .put(&created.place(), group("Employees", &members[35..]))
        .await
        .is(200);
    assert_eq!(ids(&put, "members"), members[35..]);
    expected(t, &members[35..]).await;
    let both = patch_op(json!([
        operation("add", &members[..35]),
        operation("remove", &members[35..])
    ]));
    let changed = t.patch(&created.place(), both).await.is(200);
    assert_eq!(ids(&changed, "members"), members[..35]);
    let clear = patch_op(json!([{ "op": "remove", "path": "members" }]));
    let cleared = t.patch(&created.place(), clear).await.is(200);
    assert!(cleared.body.get("members").is_none(), "{cleared}");
    expected(t, &[]).await;
}

/// E-GROUP-06; pain 7.
async fn one_member_comes_and_goes_from_many_clients(t: &Tenant) {
    let members = users(t, "a", 2).await;
    let created = t.post("/Groups", group("Employees", &members[1..])).await.is(201);
    for last in ["add", "remove"] {
        let place = created.place();
        let turns = (0..12).map(|turn| if turn % 2 == 0 { "add" } else { "remove" });
        let all = turns.map(|op| change(t, &place, op, &members[..1]));
        for answer in join_all(all).await {
            let shown = ids(&answer.is(200), "members");
            assert!(shown.contains(&members[1]), "who nobody touched stays");
        }
        let members_now = agreed(t, created.id(), &members).await;
        assert!(members_now.contains(&members[1]));
        change(t, &place, last, &members[..1]).await.is(200);
        let is_in = agreed(t, created.id(), &members).await.contains(&members[0]);
        assert_eq!(is_in, last == "add");
    }
}

/// Each PATCH came before the PUT, and is overwritten, or after it, and is there.
async fn a_put_beside_patches_loses_none_that_came_later(t: &Tenant) {
    let members = users(t, "a", 12).await;
    let created = t.post("/Groups", group("Employees", &[] as &[&str])).await.is(201);
    let place = created.place();
    for round in 0..3 {
        let adds = members[2..]
            .iter()
            .map(|id| change(t, &place, "add", std::slice::from_ref(id)));
        let put = t.put(&place, group(&format!("Round {round}"), &members[..2]));
        let (put, added) = join(put, join_all(adds)).await;
        let shown = ids(&put.is(200), "members");
        for (answer, member) in added.into_iter().zip(&members[2..]) {
            let answer = answer.is(200);
            let is_in = ids(&answer, "members").contains(member);
            // Whoever met another write shows the group as it is afterwards.
            let was_replaced = answer.text("/displayName") == format!("Round {round}");
            assert!(is_in || was_replaced, "its own answer has it: {answer}");
        }
        let left = agreed(t, created.id(), &members).await;
        assert!(members[..2].iter().all(|id| left.contains(id) && shown.contains(id)));
        assert_eq!(t.get(&place).await.text("/displayName"), format!("Round {round}"));
    }
}

/// Whoever was first, nobody who is gone is a member.
async fn a_member_is_deleted_while_it_is_added(t: &Tenant) {
    let members = users(t, "a", 10).await;
    let created = t.post("/Groups", group("Employees", &members[8..])).await.is(201);
    let place = created.place();
    for member in members[..8].chunks(1) {
        let path = format!("/Users/{}", member[0]);
        let (deleted, added) = join(t.delete(&path), change(t, &place, "add", member)).await;
        deleted.is(204);
        if added.status != 200 {
            added.refused(400, "invalidValue", &[&member[0]]);
        }
    }
    assert_eq!(agreed(t, created.id(), &members).await.len(), 2);
}

/// A group that is gone has no members, whoever came last.
async fn a_group_is_deleted_while_members_are_added(t: &Tenant) {
    let members = users(t, "a", 8).await;
    for round in 0..3 {
        let name = format!("Round {round}");
        let place = t.post("/Groups", group(&name, &[] as &[&str])).await.is(201).place();
        let adds = members
            .iter()
            .map(|id| change(t, &place, "add", std::slice::from_ref(id)));
        let (deleted, added) = join(t.delete(&place), join_all(adds)).await;
        deleted.is(204);
        for answer in added {
            assert!(matches!(answer.status, 200 | 404), "{answer}");
        }
        t.get(&place).await.is(404);
        for member in &members {
            let user = t.get(&format!("/Users/{member}")).await.is(200);
            assert!(user.body.get("groups").is_none(), "{user}");
        }
    }
    assert_eq!(t.get("/Groups").await.is(200).total(), 0);
}
