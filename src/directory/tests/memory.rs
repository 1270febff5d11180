//! What writes of memberships hold: the rows of members may be large, and nothing but their being there is asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Precondition, Shown, World,
    costs::{add, remove},
    refusal,
};
use crate::{
    directory::{Budget, Error, Held, Stored},
    scim::{members::Kind, normalize::Trace},
    store::faults::Call,
};

/// Members, and the bytes of each one's row.
const MEMBERS: usize = 60;
const ROW: usize = 330_000;
/// Rounds of a change that meets others.
const ROUNDS: usize = 5;
/// Less than one of the rows.
const TOO_LITTLE: usize = 256 * 1024;
/// More than those which are read at a time, less than all.
const ENOUGH: usize = 12 * 1024 * 1024;

impl World {
    /// So much room for what the next operation holds.
    fn room(&mut self, bytes: usize) {
        self.directory.held = Arc::new(Held::of(Arc::new(Budget::new(bytes, None))));
    }
}

/// Large users, who may become members, and one who is the group's only member.
async fn large_users() -> (World, Vec<String>, String) {
    let world = World::new().await;
    let user = |number: usize| {
        let user = json!({ "userName": number.to_string(), "nickName": "x".repeat(ROW) });
        (format!("u{number}"), user)
    };
    let all = MEMBERS + 1;
    world.fill("u", (0..all).map(user)).await;
    let mut users: Vec<String> = (0..all).map(|number| format!("u{number}")).collect();
    let group = world.group_of(&users.split_off(MEMBERS)).await;
    (world, users, group)
}

/// The operation is refused where not even one row fits, so they are counted, and done where not all of them fit.
async fn check<T>(what: &str, operation: impl AsyncFn(&World, &[String], &str) -> Result<T, Error>) {
    let (mut world, users, group) = large_users().await;
    world.room(TOO_LITTLE);
    let refused = operation(&world, &users, &group).await.err();
    assert_eq!(refused.as_ref().map(refusal), Some("overloaded"), "{what}");
    world.room(ENOUGH);
    operation(&world, &users, &group).await.unwrap();
    let held = world.directory.held.bytes();
    assert!(held < TOO_LITTLE, "{what}: {held} bytes are held to the end");
}

fn members(users: &[String]) -> Value {
    users.iter().map(|id| json!({ "value": id })).collect()
}

async fn put(world: &World, users: &[String], group: &str) -> Result<Stored, Error> {
    let of = &world.groups;
    let document = json!({ "schemas": [of.schema.id], "displayName": "A", "members": members(users) });
    let (expected, mut trace) = (Precondition::None, Trace::default());
    world
        .directory
        .replace(of, group, &expected, Shown::default(), &document, &mut trace)
        .await
}

/// Whoever meets others in each round holds no more than in one.
#[tokio::test]
async fn a_change_that_is_tried_again_gives_back_what_it_has_read() {
    let mut world = World::new().await;
    let group = world.group_of_many(100).await;
    let (of, others) = (Arc::clone(&world.groups), world.elsewhere());
    let name = |name: &str| json!([{ "op": "replace", "path": "displayName", "value": name }]);
    // For two rounds, or one and the answer.
    world.room(64 * 1024);
    world.held.hold(Call::Commit, 1..=ROUNDS);
    let meet = async {
        for round in 0..ROUNDS {
            assert_eq!(world.held.settled().await, 1, "round {round}");
            let renamed = others.directory.change(&of, &group, name(&format!("{round}")));
            renamed.await.unwrap();
            world.held.let_go(1);
        }
    };
    let (changed, ()) = tokio::join!(world.directory.change(&of, &group, name("A")), meet);
    let document = changed.unwrap().document(&of, "");
    assert_eq!(document["members"].as_array().map(Vec::len), Some(100));
}

/// design §4: a group of 10,000 members may name rows of 5 GB.
#[tokio::test]
async fn members_rows_are_counted_and_a_few_at_a_time_are_held() {
    check("POST", async |world, users, _| {
        let group = json!({ "displayName": "B", "members": members(users) });
        world.directory.make_one(&world.groups, group).await
    })
    .await;
    check("PUT", put).await;
    check("PATCH", async |world, users, group| {
        world.directory.change(&world.groups, group, add(users)).await
    })
    .await;
    check("PATCH of some who are no members", async |world, users, group| {
        world.directory.change(&world.groups, group, remove(users)).await
    })
    .await;
    check("who is to be a member still", async |world, users, _| {
        let users: Vec<_> = users.iter().map(|id| (id.as_str(), Kind::User)).collect();
        world.directory.which_exist(&users).await
    })
    .await;
}
