//! Groups of a hundred thousand: what is done to a few of their members costs what it costs in a small group.

use std::{collections::BTreeSet, time::Duration as Span};

use serde_json::{Value, json};
use time::Duration;
use tokio::time::Instant;

use super::{World, costs, patch_op, shown};
use crate::{
    directory::{Precondition, Shown, edges},
    rows,
    scim::{members::Kind, normalize::Trace, projection::Selection, schema::ResourceType},
    store::counting::Counts,
};

/// Members in the answer to a write are at most 100; what one commit can change of them is read too.
const READ_AHEAD: usize = 132;

fn selection(of: &ResourceType, attributes: Option<&str>, excluded: Option<&str>) -> Selection {
    Selection::parse(of, attributes, excluded).unwrap()
}

impl World {
    async fn counts_of<T>(&self, operation: impl Future<Output = T>) -> Counts {
        self.store.take();
        Box::pin(operation).await;
        self.store.take()
    }
}

/// What an edge takes as a row.
fn edge_bytes(group: &str, member: &str) -> usize {
    let edge = edges::Edge {
        group: group.to_owned(),
        member: member.to_owned(),
        kind: Kind::User,
    };
    rows::encode(&edges::body(&edge)).len()
}

/// Groups of 10, 1,000 and 100,000, and users who are in none of them.
struct Large {
    world: World,
    groups: [String; 3],
    users: Vec<String>,
}

/// E-GROUP-06, R-PROJ-02, pain 8. One test, as it takes seconds to make the groups.
#[tokio::test]
async fn a_group_of_a_hundred_thousand_costs_what_one_of_ten_costs() {
    let mut world = World::new().await;
    // Other tests may keep the machine busy.
    world.directory.deadline = Instant::now() + Span::from_mins(10);
    let large = Large {
        users: world.many_users(3).await,
        groups: [
            world.group_of_many(10).await,
            world.group_of_many(1_000).await,
            world.group_of_many(100_000).await,
        ],
        world,
    };
    large.changes_cost_the_same().await;
    large.who_asks_for_no_members_reads_none().await;
    large.all_members_are_read_a_thousand_at_a_time().await;
    large.it_is_deleted_and_restored_at_once().await;
}

impl Large {
    fn largest(&self) -> &str {
        &self.groups[2]
    }

    /// What the changes cost in each of the groups.
    async fn costs(&self, operations: &Value) -> [Counts; 3] {
        let mut counts = [Counts::default(); 3];
        for (count, id) in counts.iter_mut().zip(&self.groups) {
            let operations: Value = operations.to_string().replace("GROUP", id).parse().unwrap();
            let patch = self.world.directory.change(&self.world.groups, id, operations);
            *count = self.world.counts_of(async { patch.await.unwrap() }).await;
        }
        counts
    }

    async fn changes_cost_the_same(&self) {
        let users = &self.users;
        let by_path = format!("members[value eq \"{}\"]", users[1]);
        for (what, operations) in [
            ("add one", costs::add(&users[..1])),
            ("add two", costs::add(&users[1..])),
            ("remove one", costs::remove(&users[..1])),
            ("remove one by a path", json!([{ "op": "remove", "path": by_path }])),
            (
                "name",
                json!([{ "op": "Replace", "path": "externalId", "value": "GROUP" }]),
            ),
        ] {
            let [ten, thousand, hundred_thousand] = self.costs(&operations).await;
            assert_eq!(ten.round_trips, 2, "{what}");
            assert_eq!(hundred_thousand, thousand, "{what}");
            let same = Counts {
                bytes_read: ten.bytes_read,
                ..hundred_thousand
            };
            assert_eq!(same, ten, "{what}");
            // One more tells that there are more.
            let most = ten.bytes_read + (READ_AHEAD + 1) * edge_bytes(&self.groups[0], &users[0]);
            assert!(hundred_thousand.bytes_read <= most, "{what}: {hundred_thousand:?}");
        }
    }

    async fn who_asks_for_no_members_reads_none(&self) {
        let (world, directory, groups) = (&self.world, &self.world.directory, &self.world.groups);
        let without = Shown::read(groups, &selection(groups, None, Some("members")));
        let only_name = Shown::read(groups, &selection(groups, Some("displayName"), None));
        for shown in [without, only_name] {
            let read = async { directory.read(groups, self.largest(), shown).await.unwrap() };
            let counts = world.counts_of(read).await;
            assert_eq!((counts.calls(), counts.scans), (1, 0), "{counts:?}");
            assert!(counts.bytes_read < 1_000, "{counts:?}");
        }
        let without = Shown::written(groups, &selection(groups, None, Some("members")));
        let message = patch_op(&costs::add(&self.users[..1]));
        let mut trace = Trace::default();
        let patch = directory.patch(
            groups,
            self.largest(),
            &Precondition::None,
            without,
            &message,
            &mut trace,
        );
        let counts = world.counts_of(async { patch.await.unwrap() }).await;
        // The group, the edge, the user, and the commit.
        assert_eq!((counts.calls(), counts.scans), (4, 0), "{counts:?}");
    }

    async fn all_members_are_read_a_thousand_at_a_time(&self) {
        let (world, groups) = (&self.world, &self.world.groups);
        // Of a group that changed within the last minute the members are read behind the version.
        let later = world.later(Duration::minutes(2));
        let mut members = 0;
        let read = async {
            let read = later
                .directory
                .read(groups, self.largest(), shown(groups))
                .await
                .unwrap();
            members = read.many_members().map_or(0, |(_, members)| members.len());
        };
        let counts = later.counts_of(read).await;
        assert_eq!(members, 100_000 + 2);
        // The gate is one row more. Whether anything is decided is looked up beside the first thousand and after the last.
        assert_eq!((counts.scans, counts.gets), (101 + 2, 1), "GET");
        assert!(counts.round_trips <= 101 + 1, "{counts:?}");
    }

    async fn it_is_deleted_and_restored_at_once(&self) {
        let (world, user) = (&self.world, &self.users[0]);
        let group = self.largest();
        assert_eq!(world.groups_of(user).await, BTreeSet::from([group.to_owned()]));
        let delete = self.world.directory.delete(&world.groups, group, &Precondition::None);
        let counts = world.counts_of(async { delete.await.unwrap() }).await;
        assert_eq!(counts.round_trips, 2, "DELETE");
        assert!(counts.bytes_read + counts.bytes_written < 4_000, "{counts:?}");
        assert_eq!(world.groups_of(user).await, BTreeSet::new());
        world.finish().await;
        assert_eq!(world.groups_of(user).await, BTreeSet::new());
        let restore = world.directory.restore(group, Duration::DAY, false);
        let counts = world.counts_of(async { restore.await.unwrap() }).await;
        assert_eq!(counts.round_trips, 3, "restore");
        assert!(counts.bytes_read + counts.bytes_written < 4_000, "{counts:?}");
        assert_eq!(world.groups_of(user).await, BTreeSet::from([group.to_owned()]));
    }
}
