//! What becomes of memberships when users and groups meet and go.

use std::{collections::BTreeSet, sync::Arc, time::Duration as Span};

use serde_json::{Map, Value, json};
use time::Duration;

use super::{Error, Precondition, Shown, Stored, World, costs, shown};
use crate::{
    directory::{Listed, check::Inspection, links},
    scim::{
        limits::MAX_PAGE,
        list::{ListQuery, Paging},
        members::Kind,
        normalize::Trace,
        schema::ResourceType,
    },
    store::faults::Call,
};

impl World {
    /// Nothing is under way any more, and all rows fit together.
    pub(in crate::directory) async fn is_sound(&self) {
        let quiet = async |prefix: &str| assert_eq!(self.rows_of(prefix).await, [], "{prefix}");
        quiet("pend~journal~").await;
        quiet("pend~done~").await;
        let inspection = Inspection::new(self.elsewhere().directory, Span::from_mins(1), 5, |_| ());
        let report = inspection.check().await.unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
    }

    /// Time passes until everything that was left behind is old, and is finished by another process.
    pub(super) async fn finish(&self) {
        for minutes in [2, 4] {
            let later = self.later(Duration::minutes(minutes));
            later.directory.finish_pending().await.unwrap();
        }
    }

    pub(in crate::directory) async fn remove(&self, of: &ResourceType, id: &str) -> Result<(), Error> {
        self.directory.delete(of, id, &Precondition::None).await
    }

    pub(super) async fn version(&self, group: &str) -> String {
        let read = self.directory.read(&self.groups, group, Shown::default());
        read.await.unwrap().envelope.version
    }

    /// The ids in a group's `members`.
    pub(super) async fn members(&self, group: &str) -> BTreeSet<String> {
        let of = &self.groups;
        let stored = self.elsewhere().directory.read(of, group, shown(of)).await.unwrap();
        stored.ids(of)
    }

    /// The ids in a user's `groups`.
    pub(super) async fn groups_of(&self, user: &str) -> BTreeSet<String> {
        let of = &self.users;
        let stored = self.elsewhere().directory.read(of, user, shown(of)).await.unwrap();
        stored.ids(of)
    }
}

impl World {
    /// What a query finds: of each resource the ids in `members` or `groups`.
    pub(super) async fn found(&self, of: &Arc<ResourceType>, filter: &str) -> Vec<BTreeSet<String>> {
        let mut query = ListQuery {
            filter: Some(filter.to_owned()),
            count: MAX_PAGE,
            ..ListQuery::default()
        };
        let mut trace = Trace::default();
        let types = [Arc::clone(of)];
        let mut found = Vec::new();
        loop {
            let shown = [shown(of)];
            let page = self.directory.query(&types, &query, &shown, BASE_URL, &mut trace);
            let page = page.await.unwrap();
            found.extend(page.resources.iter().map(|listed| ids(of, &listed.document)));
            if page.resources.len() < MAX_PAGE {
                assert_eq!(page.total, Some(found.len()), "{filter}");
                return found;
            }
            query.paging = Paging::Index(found.len() + 1);
        }
    }
}

impl World {
    /// The ids of the first users that a filter finds, by cursor.
    pub(super) async fn first(&self, filter: &str, count: usize) -> Vec<String> {
        let query = ListQuery {
            filter: Some(filter.to_owned()),
            count,
            paging: Paging::Cursor(None),
            ..ListQuery::default()
        };
        let page = self.find(&query).await.unwrap();
        let id = |listed: &Listed| listed.document["id"].as_str().unwrap().to_owned();
        page.resources.iter().map(id).collect()
    }
}

const BASE_URL: &str = "https://example.com/scim/acme";

/// The ids in `members` or `groups`.
fn ids(of: &ResourceType, document: &Map<String, Value>) -> BTreeSet<String> {
    let links = document.get(links::attribute(of).unwrap()).and_then(Value::as_array);
    let id = |link: &Value| link["value"].as_str().unwrap().to_owned();
    links.into_iter().flatten().map(id).collect()
}

impl Stored {
    /// The ids in `members` or `groups`.
    pub(super) fn ids(&self, of: &ResourceType) -> BTreeSet<String> {
        if let Some((_, members)) = self.many_members() {
            return members.iter().map(|member| member.id.clone()).collect();
        }
        ids(of, &self.document(of, BASE_URL))
    }
}

/// RFC 7643 §4.1.2, R-SCHEMA-06: whatever the number of groups, a user or group is gone with all its memberships.
#[tokio::test]
async fn who_is_in_any_number_of_groups_can_be_deleted() {
    // About where it becomes too much for one commit.
    for groups in (28..36).chain([100]) {
        for external_id in [false, true] {
            for kind in [Kind::User, Kind::Group] {
                let world = World::new().await;
                let of = if kind == Kind::User {
                    &world.users
                } else {
                    &world.groups
                };
                let mut attributes = json!({ "userName": "a", "displayName": "A" });
                if external_id {
                    attributes["externalId"] = json!("x");
                }
                let id = world.directory.make_one(of, attributes).await.unwrap().envelope.id;
                let mut parents = Vec::new();
                for _ in 0..groups {
                    parents.push(world.group_of_kind(kind, std::slice::from_ref(&id)).await);
                }
                let version = world.elsewhere().version(&parents[0]).await;
                let deleted = world.remove(of, &id).await;
                assert!(deleted.is_ok(), "{kind:?} in {groups} groups: {deleted:?}");
                assert_ne!(
                    world.elsewhere().version(&parents[0]).await,
                    version,
                    "it is a change of the group"
                );
                for parent in [&parents[0], &parents[groups / 2], &parents[groups - 1]] {
                    assert_eq!(world.members(parent).await, BTreeSet::new());
                }
                world.finish().await;
                world.is_sound().await;
                let edges = world.keys().await;
                assert!(!edges.iter().any(|key| key.starts_with("r~")), "{edges:?}");
            }
        }
    }
}

/// Before which of an operation's calls something else may happen.
pub(super) fn moments() -> impl Iterator<Item = (Call, usize)> {
    [Call::Get, Call::Scan, Call::Commit]
        .into_iter()
        .flat_map(|call| (1..=4).map(move |number| (call, number)))
}

/// A deleted user is in no answer from that commit on, though somebody adds it while it is being deleted.
#[tokio::test]
async fn who_is_deleted_and_added_at_once_is_no_member() {
    let mut met = 0;
    for moment in moments() {
        for kind in [Kind::User, Kind::Group] {
            let world = World::new().await;
            let of = if kind == Kind::User {
                &world.users
            } else {
                &world.groups
            };
            let one = world
                .directory
                .make_one(of, json!({ "userName": "a", "displayName": "A" }));
            let id = one.await.unwrap().envelope.id;
            let group = world.group_of(&[]).await;
            let elsewhere = world.elsewhere().directory;
            let add = elsewhere.change(&world.groups, &group, costs::add(std::slice::from_ref(&id)));
            let delete = Box::pin(world.remove(of, &id));
            let (deleted, added) = world.in_the_middle(moment, delete, Box::pin(add)).await;
            deleted.unwrap();
            met += usize::from(added.is_some_and(|added| added.is_ok()));
            assert_eq!(world.members(&group).await, BTreeSet::new(), "{moment:?} {kind:?}");
            world.finish().await;
            world.is_sound().await;
        }
    }
    assert!(met >= 8, "only {met} met");
}

/// RFC 9110 §8.8.3: one version has one set of members, or a client that asks with `If-None-Match` never learns better.
#[tokio::test]
async fn the_members_that_are_shown_belong_to_the_version() {
    for moment in moments() {
        for size in [1, 50] {
            let world = World::new().await;
            let users = world.many_users(1 + size).await;
            let group = world.group_of(&users[..1]).await;
            let world = world.later(Duration::minutes(2));
            let elsewhere = world.elsewhere().directory;
            let add = elsewhere.change(&world.groups, &group, costs::add(&users[1..]));
            let read = Box::pin(world.directory.read(&world.groups, &group, shown(&world.groups)));
            let (read, added) = world.in_the_middle(moment, read, Box::pin(add)).await;
            let (read, Some(Ok(added))) = (read.unwrap(), added) else {
                continue;
            };
            let is_new = read.envelope.version == added.envelope.version;
            let members = read.ids(&world.groups).len();
            assert!(
                !is_new || members == 1 + size,
                "{moment:?}: {members} members as the new version"
            );
        }
    }
}

/// R-SCHEMA-06: a user in more groups than one commit has room for is gone from all of them with the first commit.
#[tokio::test]
async fn who_is_in_a_hundred_groups_is_deleted_at_once() {
    let world = World::new().await;
    let user = world.many_users(1).await;
    let mut groups = Vec::new();
    for _ in 0..100 {
        groups.push(world.group_of(&user).await);
    }
    world.held.hold(Call::Commit, 1..=usize::MAX);
    let delete = async {
        world.remove(&world.users, &user[0]).await.unwrap();
        world.held.end();
    };
    let look_around = async {
        let mut done = 0;
        while world.held.settled().await > 0 {
            let copy = world.copy().await;
            for finished in [false, true] {
                for group in [&groups[0], &groups[40], &groups[99]] {
                    assert_eq!(copy.members(group).await.is_empty(), done > 0, "after {done} commits");
                }
                let read = copy.directory.read(&copy.users, &user[0], Shown::default()).await;
                assert_eq!(read.is_err(), done > 0, "after {done} commits");
                if !finished {
                    copy.finish().await;
                    copy.is_sound().await;
                    let left = copy.rows_of("pend~").await.len();
                    assert_eq!(left, 0, "after {done} commits");
                }
            }
            done += 1;
            world.held.let_go(1);
        }
        done
    };
    let ((), done) = tokio::join!(delete, look_around);
    assert_eq!(done, 1 + 100_usize.div_ceil(33));
    assert!(world.rows_of("r~").await.is_empty());
}
