//! design §4: the table of round trips.

use std::sync::Arc;

use serde_json::json;
use time::Duration;

use super::{Fixed, Precondition, Selection, Shown, World, shown};
use crate::{scim::normalize::Trace, store::Store, tenants::Tenants};

/// design: the table of round trips, its rows about users and credentials.
#[tokio::test]
async fn operations_cost_the_round_trips_of_the_table() {
    let every = Selection::default();
    let world = World::new().await;
    let user = json!({ "userName": "a@example.com", "externalId": "x1",
                       "emails": [{ "value": "a@example.com", "type": "work" }] });
    assert_eq!(world.cost(world.create(user)).await, 1, "create");
    let id = world
        .query(Some(r#"userName eq "a@example.com""#), 1)
        .await
        .unwrap()
        .resources[0]
        .document["id"]
        .clone();
    let id = id.as_str().unwrap();

    let table: [(&str, usize); 9] = [
        (r#"userName eq "nobody@example.com""#, 1),
        (r#"userName eq "A@EXAMPLE.COM""#, 2),
        (r#"externalId eq "x2""#, 1),
        (r#"externalId eq "X1""#, 1),
        (r#"externalId eq "x1""#, 2),
        (r#"emails[type eq "work"].value eq "nobody@example.com""#, 1),
        (r#"emails[type eq "work"].value eq "a@example.com""#, 2),
        (&format!(r#"id eq "{id}""#), 1),
        (&format!(r#"id eq "{id}" and manager eq "m""#), 1),
    ];
    for (filter, cost) in table {
        assert_eq!(world.cost(world.query(Some(filter), 1)).await, cost, "{filter}");
    }

    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    assert_eq!(
        world
            .cost(world.directory.read(&world.users, id, shown(&world.users)))
            .await,
        1,
        "read"
    );
    let enterprise = crate::scim::schema::ENTERPRISE_USER_URN;
    let mut document = json!({ enterprise: { "manager": { "value": id } } });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap(), &every);
    assert_eq!(world.cost(names).await, 1, "names of others");
    let mut document = json!({ "userName": "nobody's subordinate" });
    let names = world
        .directory
        .name_others(&world.users, document.as_object_mut().unwrap(), &every);
    assert_eq!(world.cost(names).await, 0, "no others");
    assert_eq!(world.cost(world.patch(id, rename.clone())).await, 2, "patch");
    assert_eq!(
        world.cost(world.patch(id, rename)).await,
        1,
        "a patch that changes nothing"
    );
    let document = json!({ "schemas": [world.users.schema.id], "userName": "b@example.com" });
    let (of, directory) = (&world.users, &world.directory);
    let mut trace = Trace::default();
    let replace = directory.replace(of, id, &Precondition::None, shown(of), &document, &mut trace);
    assert_eq!(world.cost(replace).await, 2, "replace");
    assert_eq!(
        world.cost(directory.delete(of, id, &Precondition::None)).await,
        3,
        "delete"
    );
}

#[tokio::test]
async fn a_page_costs_a_round_trip_for_each_thousand_users_on_it() {
    let world = World::new().await;
    for user in 0..1_001 {
        world.create(json!({ "userName": format!("u{user}") })).await.unwrap();
    }
    for count in [0, 1, 100, 1_000] {
        // The first finds that the total takes many rows, and lets it be folded.
        assert_eq!(world.query(None, count).await.unwrap().total, Some(1_001));
        assert_eq!(world.cost(world.query(None, count)).await, 1, "{count} users");
    }
}

/// design §4: 0 when warm, 1 when cold.
#[tokio::test]
async fn a_credential_costs_one_round_trip_and_then_none() {
    let world = World::new().await;
    let cold = Tenants::new(
        Arc::clone(&world.store) as Arc<dyn Store>,
        Arc::new(Fixed {
            stopped: true,
            ..Fixed::default()
        }),
    );
    let deadline = world.directory.deadline;
    for (name, expected) in [("acme", 1), ("ACME", 0), ("nobody", 1), ("nobody", 1)] {
        world.store.take();
        let _ = cold.authenticate(Some(name), &world.secret, deadline).await;
        assert_eq!(world.store.take().gets, expected, "{name}");
    }
    world.store.take();
    assert!(cold.authenticate(None, &world.secret, deadline).await.is_ok());
    assert_eq!(world.store.take().gets, 3, "a base path without tenant");
}

/// An operation that adds these members in Entra's form.
pub(super) fn add(members: &[String]) -> serde_json::Value {
    let values: Vec<_> = members.iter().map(|id| json!({ "$ref": null, "value": id })).collect();
    json!([{ "op": "Add", "path": "members", "value": values }])
}

/// The same for members that go.
pub(super) fn remove(members: &[String]) -> serde_json::Value {
    let mut operations = add(members);
    operations[0]["op"] = json!("Remove");
    operations
}

/// design §4, E-GROUP-03, E-GROUP-04: the rows of the table about groups that are not large.
#[tokio::test]
async fn operations_on_groups_cost_the_round_trips_of_the_table() {
    let every = Selection::default();
    let world = World::new().await;
    let (groups, directory) = (&world.groups, &world.directory);
    let people = world.many_users(40).await;
    let members = |number: usize| -> Vec<_> { people[..number].iter().map(|id| json!({ "value": id })).collect() };

    let empty = directory.make_one(groups, json!({ "displayName": "empty" }));
    assert_eq!(world.cost(empty).await, 1, "create without members");
    // With the rows of its name and its externalId, a commit has room for 31.
    for number in [1, 10, 31] {
        let name = format!("of {number}");
        let group = json!({ "displayName": name, "externalId": name, "members": members(number) });
        assert_eq!(
            world.cost(directory.make_one(groups, group)).await,
            1,
            "create with {number} members"
        );
    }
    let group = world.group_of(&people[..10]).await;
    // Of a group that changed within the last minute the members are read behind the version.
    let later = world.later(Duration::minutes(2));
    let without = Shown::read(groups, &Selection::parse(groups, None, Some("members")).unwrap());
    assert_eq!(world.cost(directory.read(groups, &group, without)).await, 1, "GET");
    let mut document = None;
    let read = async {
        let stored = later.directory.read(groups, &group, shown(groups)).await.unwrap();
        document = Some(stored.document(groups, ""));
    };
    assert_eq!(later.cost(read).await, 1, "GET with 10 members");
    let mut document = document.unwrap();
    assert_eq!(document["members"].as_array().unwrap().len(), 10);
    let names = directory.name_others(groups, &mut document, &every);
    assert_eq!(world.cost(names).await, 1, "names of 10 members");

    let more = &people[10..];
    for (what, operations) in [
        ("add one", add(&more[..1])),
        ("remove one", remove(&more[..1])),
        ("add thirty", add(more)),
        ("add thirty that are in, and rename", {
            let mut both = add(more);
            both.as_array_mut()
                .unwrap()
                .push(json!({ "op": "Replace", "path": "displayName", "value": "A" }));
            both
        }),
        ("remove thirty", remove(more)),
        (
            "remove one by a path (E-GROUP-04)",
            json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", people[0]) }]),
        ),
        (
            "add one and remove one (E-GROUP-06)",
            json!([add(&more[..1])[0], remove(&people[1..2])[0]]),
        ),
        (
            "rename",
            json!([{ "op": "Replace", "path": "displayName", "value": "B" }]),
        ),
    ] {
        let patch = directory.change(groups, &group, operations);
        assert_eq!(world.cost(patch).await, 2, "{what}");
    }
    let again = directory.change(groups, &group, add(&more[..1]));
    assert_eq!(world.cost(again).await, 1, "add one who is in");

    let delete = directory.delete(groups, &group, &Precondition::None);
    assert_eq!(world.cost(delete).await, 2, "DELETE of a group");
}

/// design §4: its groups cost a user's GET nothing, and their names one round trip.
#[tokio::test]
async fn operations_on_users_in_groups_cost_the_round_trips_of_the_table() {
    let every = Selection::default();
    let world = World::new().await;
    let (users, directory) = (&world.users, &world.directory);
    let user = world.many_users(1).await;
    for _ in 0..3 {
        world.group_of(&user).await;
    }
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "A" }]);
    assert_eq!(world.cost(directory.change(users, &user[0], rename)).await, 2, "PATCH");
    let mut document = None;
    let read = async {
        let stored = directory.read(users, &user[0], shown(users)).await.unwrap();
        document = Some(stored.document(users, ""));
    };
    assert_eq!(world.cost(read).await, 1, "GET");
    let mut document = document.unwrap();
    assert_eq!(document["groups"].as_array().map(Vec::len), Some(3));
    let names = directory.name_others(users, &mut document, &every);
    assert_eq!(world.cost(names).await, 1, "names of groups");
}

/// design §4: 3 while it is one commit, else 3 + ⌈k/32⌉.
#[tokio::test]
async fn deleting_a_user_costs_its_groups() {
    let world = World::new().await;
    let (users, directory) = (&world.users, &world.directory);
    for (groups, most) in [(0, 3), (1, 3), (20, 3), (100, 3 + 4), (1_000, 3 + 32)] {
        let user = world.many_users(1).await;
        for _ in 0..groups {
            world.group_of(&user).await;
        }
        let delete = directory.delete(users, &user[0], &Precondition::None);
        let cost = world.cost(async { delete.await.unwrap() }).await;
        assert!(cost <= most, "{cost} round trips for a user in {groups} groups");
        let keys = world.keys().await;
        assert!(!keys.iter().any(|key| key.contains(&format!("r~{}", user[0]))));
        assert!(!keys.iter().any(|key| key.starts_with("m~") && key.ends_with(&user[0])));
    }
}
