//! Stories of people; `log` has the log that they are read from.

use std::{sync::Arc, time::Duration as Step};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{Deed, Event, Events, Follower, Scope, State, Story, forget};
use crate::{
    directory::tests::World,
    rows::{self, CONTROL, EventBody, FORMAT, JournalBody, MembersBody, Operation},
    store::{Change, Store, Write, settle::BARRED},
    tenants::{MORE, Refused},
};

mod log;

const STEP: Step = Step::from_secs(10);

impl World {
    async fn story(&self, name: &str) -> Story {
        let Scope { since, until, .. } = self.scope();
        self.directory
            .story(name, (since, until), STEP, |_, _| ())
            .await
            .unwrap()
            .0
    }

    /// The same where the log goes back to nothing.
    async fn story_without_log(&self, name: &str) -> Story {
        let until = self.scope().until;
        self.directory
            .story(name, (until, until), STEP, |_, _| ())
            .await
            .unwrap()
            .0
    }

    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let group = json!({ "displayName": name, "members": members });
        let made = self.directory.make_one(&self.groups, group).await.unwrap();
        made.envelope.id
    }

    async fn members_change(&self, group: &str, op: &str, members: &[&str]) {
        let value: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let operations = json!([{ "op": op, "path": "members", "value": value }]);
        let changed = self.directory.change(&self.groups, group, operations).await;
        changed.unwrap();
    }

    /// A request about whoever has this userName was refused.
    async fn refuse(&self, rule: &'static str, user_name: Option<&str>, id: &str) {
        let document = user_name.map(|name| json!({ "userName": name })).unwrap_or_default();
        let create = crate::scim::write::Write::Create { document };
        self.tenants.refused(Refused {
            rule,
            attribute: Some("userName".to_owned()),
            request: "POST /scim/{tenant}/Users".to_owned(),
            resource_type: "User".to_owned(),
            id: id.to_owned(),
            subjects: self.directory.subjects_sent(&self.users, &create),
            holder: self.directory.access.holder(),
            reference: Some(format!("reference-of-{rule}")),
        });
        self.tenants.write_counts().await;
    }

    fn scope(&self) -> Scope {
        Scope {
            tenant: Some(self.directory.access.tenant.id.clone()),
            since: OffsetDateTime::UNIX_EPOCH,
            until: self.directory.ambient.now() + Duration::HOUR,
        }
    }

    async fn log(&self, scope: Scope) -> Vec<Event> {
        let mut events = Events::new(Arc::clone(&self.directory.store), STEP, scope);
        let mut all = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            all.push(event);
        }
        all
    }
}

/// A group that was deleted and came back is no lost one; nor are those of a person who was.
#[tokio::test]
async fn what_came_back_is_not_lost() {
    let world = World::new().await;
    let id = world.create(user("a")).await.unwrap();
    let [one, other] = [world.group("one", &[&id]).await, world.group("other", &[&id]).await];
    world.remove(&world.groups, &one).await.unwrap();
    let month = Duration::days(30);
    world.directory.restore(&one, month, false).await.unwrap();
    world.delete(&id).await;
    world.remove(&world.groups, &other).await.unwrap();
    world.directory.restore(&id, month, false).await.unwrap();
    world.directory.restore(&other, month, false).await.unwrap();
    let story = world.story(&id).await;
    let deeds: Vec<(&Deed, &[String])> = story
        .told
        .iter()
        .map(|told| (&told.deed, &told.event.body.groups[..]))
        .collect();
    let expected: [(Deed, &[String]); 8] = [
        (Deed::Own, &[]),
        (Deed::Joined(one.clone()), &[]),
        (Deed::Joined(other.clone()), &[]),
        (Deed::LostGroup(one.clone()), &[]),
        (Deed::Joined(one.clone()), &[]),
        (Deed::Own, &[]),
        (Deed::Own, std::slice::from_ref(&one)),
        (Deed::Joined(other.clone()), &[]),
    ];
    assert_eq!(
        deeds,
        expected
            .iter()
            .map(|(deed, groups)| (deed, *groups))
            .collect::<Vec<_>>()
    );
    check(&story, "done", &[State::Active]);
}

/// As Entra may have it: the name that the administrator knows is the externalId.
#[tokio::test]
async fn a_refused_create_is_found_by_each_name_that_it_gave() {
    let world = World::new().await;
    let document = json!({ "userName": "a", "externalId": "A-1" });
    let create = crate::scim::write::Write::Create { document };
    world.tenants.refused(Refused {
        rule: "wrong-type",
        attribute: None,
        request: "POST /scim/{tenant}/Users".to_owned(),
        resource_type: "User".to_owned(),
        id: String::new(),
        subjects: world.directory.subjects_sent(&world.users, &create),
        holder: world.directory.access.holder(),
        reference: None,
    });
    world.tenants.write_counts().await;
    for name in ["a", "A-1"] {
        check(&world.story(name).await, "refused", &[]);
    }
}

#[tokio::test]
async fn a_group_is_found_by_its_name_there_or_deleted() {
    let world = World::new().await;
    let group = world.group("Sales", &[]).await;
    check(&world.story("sales").await, "done", &[State::There]);
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "Marketing" }]);
    world.directory.change(&world.groups, &group, rename).await.unwrap();
    check(&world.story("Sales").await, "done", &[State::There]);
    world.remove(&world.groups, &group).await.unwrap();
    check(&world.story("marketing").await, "done-and-undone", &[State::Deleted]);
}

/// The log may not go back so far, or is not asked for so much of it.
#[tokio::test]
async fn who_is_deleted_is_found_by_name_without_the_log() {
    let world = World::new().await;
    let id = world.create(user("a")).await.unwrap();
    world.delete(&id).await;
    let told = world.story_without_log("A").await;
    check(&told, "done-and-undone", &[State::Deleted]);
    assert_eq!(told.accounts[0].id, id);
    assert!(told.accounts[0].deleted.is_some());
}

/// Imported ids may be somebody's address, or their name, and the log may have passed away. A part of one is none.
#[tokio::test]
async fn who_is_there_or_deleted_is_found_by_any_id_without_the_log() {
    let world = World::new().await;
    let long = "x".repeat(128);
    let ids = ["bjensen@example.com", "bjensen", "b", "4711", "~odd", &long];
    let users = ids.iter().enumerate();
    let users = users.map(|(number, id)| ((*id).to_owned(), user(&format!("user{number}"))));
    world.fill("u", users.collect::<Vec<_>>().into_iter()).await;
    let named = ("named".to_owned(), user("named"));
    world.fill("u", [named].into_iter()).await;
    check(&world.story_without_log("named").await, "done", &[State::Active]);
    world.delete("named").await;
    check(
        &world.story_without_log("named").await,
        "done-and-undone",
        &[State::Deleted],
    );
    let group = ("Tour.Guides".to_owned(), json!({ "displayName": "Tour Guides" }));
    world.fill("g", [group].into_iter()).await;
    for id in ids {
        check(&world.story_without_log(id).await, "done", &[State::Active]);
    }
    check(&world.story_without_log("Tour.Guides").await, "done", &[State::There]);
    for nobody in ["bjense", "Bjensen", "bjensen@example.co", "Tour"] {
        check(&world.story_without_log(nobody).await, "never-sent", &[]);
    }
    for id in [ids[0], ids[1]] {
        world.delete(id).await;
        check(&world.story_without_log(id).await, "done-and-undone", &[State::Deleted]);
    }
}

#[tokio::test]
async fn who_was_erased_is_told_as_such() {
    let world = World::new().await;
    let id = world.create(user("a")).await.unwrap();
    world.directory.erase(&id).await.unwrap();
    let story = world.story(&id).await;
    check(&story, "done-and-undone", &[State::Erased]);
    assert_eq!(story.accounts[0].until(Duration::days(30)), None);
}

fn user(name: &str) -> Value {
    json!({ "userName": name, "active": true })
}

#[track_caller]
fn check(story: &Story, answer: &str, states: &[State]) {
    assert_eq!(story.verdict().name(), answer, "{story:?}");
    let found: Vec<State> = story.accounts.iter().map(|account| account.state).collect();
    assert_eq!(found, states, "{story:?}");
}

#[tokio::test]
async fn it_was_never_sent_or_refused_or_done_or_undone() {
    let world = World::new().await;
    check(&world.story("a").await, "never-sent", &[]);
    world.refuse("wrong-type", Some("a"), "").await;
    check(&world.story("a").await, "refused", &[]);
    let id = world.create(user("A")).await.unwrap();
    check(&world.story("a").await, "done", &[State::Active]);
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    world.patch(&id, off).await.unwrap();
    let story = world.story(&id).await;
    check(&story, "done-and-undone", &[State::Inactive]);
    assert_eq!(story.accounts[0].last.as_ref().unwrap().body.paths, ["active"]);
    // The answer to the create was lost, and it came again.
    world.refuse("unique-taken", Some("a"), "").await;
    check(&world.story("a").await, "done-and-undone", &[State::Inactive]);
    // Refused by an id alone, as a PATCH may be.
    world.refuse("no-target", None, &id).await;
    check(&world.story("a").await, "refused", &[State::Inactive]);
    world.delete(&id).await;
    check(&world.story("a").await, "done-and-undone", &[State::Deleted]);
    check(&world.story(&id).await, "done-and-undone", &[State::Deleted]);
    world.refuse("not-found", None, &id).await;
    check(&world.story(&id).await, "done-and-undone", &[State::Deleted]);
    check(&world.story("b").await, "never-sent", &[]);
    world.refuse(MORE, None, "").await;
    check(&world.story("b").await, "not-kept", &[]);
}

#[tokio::test]
async fn who_was_made_inactive_is_as_asked() {
    let world = World::new().await;
    let user = json!({ "userName": "a", "active": false });
    world.create(user).await.unwrap();
    check(&world.story("a").await, "done", &[State::Inactive]);
}

#[tokio::test]
async fn two_who_had_one_name_are_told_apart() {
    let world = World::new().await;
    let first = world.create(user("a")).await.unwrap();
    let rename = json!([{ "op": "replace", "path": "userName", "value": "b" }]);
    world.patch(&first, rename).await.unwrap();
    let second = world.create(user("a")).await.unwrap();
    let story = world.story("a").await;
    check(&story, "done", &[State::Active, State::Active]);
    let of = |id: &str| {
        let own = story.told.iter().filter(|told| told.account.as_deref() == Some(id));
        own.map(|told| told.event.body.kind.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&first),
        ["create", "patch"],
        "what it did under its next name is told too"
    );
    assert_eq!(of(&second), ["create"]);
    check(&world.story("b").await, "done", &[State::Active]);
}

/// Entra deletes somebody and makes them anew: the first one is told beside the second.
#[tokio::test]
async fn a_name_that_was_taken_up_again_is_told_of_both() {
    for state in [State::Deleted, State::Erased] {
        let world = World::new().await;
        let first = world.create(user("a")).await.unwrap();
        world.delete(&first).await;
        if state == State::Erased {
            world.directory.erase(&first).await.unwrap();
        }
        check(&world.story("a").await, "done-and-undone", &[state]);
        let second = world.create(user("a")).await.unwrap();
        let story = world.story("a").await;
        check(&story, "done", &[state, State::Active]);
        let ids: Vec<&str> = story.accounts.iter().map(|account| &*account.id).collect();
        assert_eq!(ids, [&first, &second]);
        check(&world.story(&second).await, "done", &[State::Active]);
    }
}

/// Also who was nobody when that began; whose group is deleted, whom the event does not name; and what was refused.
#[tokio::test]
async fn whoever_is_followed_is_told_what_a_story_would_tell() {
    let world = World::new().await;
    let other = world.create(user("b")).await.unwrap();
    let Scope { since, until, .. } = world.scope();
    let directory = &world.directory;
    let (story, mut search) = directory.story("a", (since, until), STEP, |_, _| ()).await.unwrap();
    check(&story, "never-sent", &[]);
    world.refuse("wrong-type", Some("a"), "").await;
    let id = world.create(user("a")).await.unwrap();
    let [group, _] = [
        world.group("one", &[&id, &other]).await,
        world.group("two", &[&other]).await,
    ];
    world.remove(&world.groups, &group).await.unwrap();
    world
        .directory
        .restore(&group, Duration::days(30), false)
        .await
        .unwrap();
    world.delete(&id).await;
    let mut told: Vec<(Option<String>, Deed)> = Vec::new();
    for event in world.log(world.scope()).await {
        told.extend(search.news(event).into_iter().map(|told| (told.account, told.deed)));
    }
    let story = world.story("a").await;
    let expected: Vec<_> = story.told.into_iter().map(|told| (told.account, told.deed)).collect();
    assert_eq!(told, expected);
    let deeds: Vec<&Deed> = told.iter().map(|(_, deed)| deed).collect();
    let joined = Deed::Joined(group.clone());
    assert_eq!(
        deeds,
        [
            &Deed::Refused,
            &Deed::Own,
            &joined,
            &Deed::LostGroup(group),
            &joined,
            &Deed::Own
        ]
    );
}

/// Nothing but events is left of it.
#[tokio::test]
async fn who_is_gone_for_good_is_found_by_any_former_name() {
    let world = World::new().await;
    let id = world.create(user("a")).await.unwrap();
    let rename = json!([{ "op": "replace", "path": "userName", "value": "b" }]);
    world.patch(&id, rename).await.unwrap();
    world.delete(&id).await;
    let partition = &world.directory.access.tenant.id;
    let gone = Change::Delete(rows::gone_key(&id), None);
    world.store.commit(partition, &[gone]).await.unwrap();
    for name in ["a", "b", &id] {
        let story = world.story(name).await;
        check(&story, "done-and-undone", &[State::Gone]);
        assert_eq!(story.told.len(), 3, "{name}");
    }
}

/// Small changes name who joins and leaves, large ones stand in parts, and a PUT names who is left.
#[tokio::test]
async fn memberships_are_told_one_by_one() {
    let world = World::new().await;
    let id = world.create(user("a")).await.unwrap();
    let many = world.many_users(40).await;
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let small = world.group("small", &[&id]).await;
    world.members_change(&small, "add", &many).await;
    world.members_change(&small, "remove", &[&id]).await;
    let large = world.group("large", &[&[id.as_str()], &many[..]].concat()).await;
    world.members_change(&large, "replace", &many).await;
    world.members_change(&large, "add", &[&id]).await;
    world.remove(&world.groups, &large).await.unwrap();
    let story = world.story(&id).await;
    let deeds: Vec<&Deed> = story.told.iter().map(|told| &told.deed).collect();
    let [small, large] = [&small, &large];
    let expected = [
        Deed::Own,
        Deed::Joined(small.clone()),
        Deed::Left(small.clone()),
        Deed::Joined(large.clone()),
        Deed::Left(large.clone()),
        Deed::Joined(large.clone()),
        Deed::LostGroup(large.clone()),
    ];
    assert_eq!(deeds, expected.iter().collect::<Vec<_>>());
    check(&story, "done", &[State::Active]);
}
