//! What goes when its time is over.

use time::Duration;

use super::{Denied, KEPT, MONTH, World};
use crate::{
    directory::{Error, edges::Edge, journal},
    rows::{self, FORMAT, MarkBody, TraceBody},
    scim::members::Kind,
    store::{Change, Write},
};

#[tokio::test]
async fn a_purge_forgets_what_is_due_and_nothing_else() {
    let world = World::new().await;
    let users = world.many_users(40).await;
    let group = world.group_of(&users).await;
    world.finish().await;
    world.delete(&users[0]).await;
    world.remove(&world.groups, &group).await.unwrap();
    assert_eq!(world.purge().await.tombstones, 0);
    let later = world.later(MONTH + Duration::HOUR);
    later.delete(&users[1]).await;
    let rows = async |prefix: &'static str| later.rows_of(prefix).await.len();
    let purged = later.purge().await;
    assert_eq!((purged.tombstones, purged.memberships, purged.later), (1, 38, 1));
    assert_eq!(rows("m~").await, 0);
    later.is_sound().await;
    let purged = later.later(Duration::minutes(2)).purge().await;
    assert_eq!((purged.tombstones, purged.later, purged.events), (1, 0, 0));
    // Deleted just now.
    assert_eq!(rows("gone~").await, 2);
    assert_eq!(rows("pend~").await, 0);
    later.is_sound().await;
    assert!(matches!(world.restore(&group).await, Err(Denied::Unknown)));
    later.restore(&users[1]).await.unwrap();
    let events = rows("o~").await;
    assert_eq!(later.later(Duration::days(366)).purge().await.events, events);
    assert_eq!(rows("o~").await, 0);
}

#[tokio::test]
async fn a_purge_goes_on_where_the_last_step_ended() {
    let world = World::new().await;
    for user in world.many_users(250).await {
        world.delete(&user).await;
    }
    let later = world.later(MONTH + Duration::HOUR);
    let (first, place) = later.directory.purge(KEPT, None).await.unwrap();
    assert_eq!(first.tombstones, 100);
    assert!(place.is_some());
    assert_eq!(later.purge().await.tombstones, 150);
    assert_eq!(later.rows_of("gone~").await, []);
}

/// A group was deleted long before its member, and is not kept any more when that comes back.
#[tokio::test]
async fn a_group_that_was_purged_is_told_as_lost() {
    let world = World::new().await;
    let user = world.user_named("bjensen").await;
    let of_it = std::slice::from_ref(&user);
    let [group, kept] = [world.group_of(of_it).await, world.group_of(of_it).await];
    world.remove(&world.groups, &group).await.unwrap();
    let world = world.later(MONTH - Duration::DAY);
    world.delete(&user).await;
    let world = world.later(Duration::days(2));
    assert_eq!(world.purge().await.tombstones, 1);
    let restored = world.restore(&user).await.unwrap();
    assert_eq!((restored.groups, restored.lost_groups), (vec![kept], vec![group]));
    world.is_sound().await;
}

/// Neither from ending memberships nor from going when the time is over.
#[tokio::test]
async fn one_whose_rows_make_no_sense_keeps_nobody_else() {
    for at in 0..3 {
        let world = World::new().await;
        let users = world.many_users(3).await;
        let group = world.group_of(&users).await;
        world.finish().await;
        for user in &users {
            world.remove(&world.users, user).await.unwrap();
        }
        // Their memberships have not ended yet, and beside one of them stands what nobody wrote.
        let edge = |member: &String| Edge {
            group: group.clone(),
            member: member.clone(),
            kind: Kind::User,
        };
        let mut left: Vec<Change> = users.iter().flat_map(|user| journal::joins(&edge(user))).collect();
        left.retain(|change| matches!(change, Change::Insert(_)));
        left.extend(users.iter().map(|user| {
            let trace = TraceBody {
                format: FORMAT,
                id: user.clone(),
                operation: String::new(),
                time: world.directory.ambient.now(),
                resource_type: "User".to_owned(),
            };
            Change::Insert(rows::write(trace.edges_left_key(), &trace))
        }));
        left.push(Change::Insert(Write {
            key: rows::gone_part_key(&users[at], 7),
            stamp: Vec::new(),
            body: b"{".to_vec(),
        }));
        world
            .rows
            .commit(&world.directory.access.tenant.id, &left)
            .await
            .unwrap();
        let later = world.later(Duration::minutes(2));
        let ended = later.directory.finish_pending().await;
        assert!(matches!(ended, Err(Error::Format(_))), "{ended:?}");
        let left: Vec<String> = later.rows_of("r~").await.into_iter().map(|row| row.key).collect();
        assert_eq!(left, [rows::membership_key(&users[at], &group)]);
        let later = world.later(MONTH + Duration::HOUR);
        assert_eq!(later.purge().await.tombstones, 2, "{at}");
    }
}

/// However much there is of anything: a command goes on until a step says that it was the last one.
#[tokio::test]
async fn a_purge_ends_when_nothing_is_due() {
    let world = World::new().await;
    for user in world.many_users(130).await {
        world.delete(&user).await;
    }
    let mark = |position: usize| MarkBody {
        format: FORMAT,
        position,
        key: "u~a".to_owned(),
        changes: None,
        time: world.directory.ambient.now(),
    };
    let marks = (0..350).map(|position| rows::write(rows::mark_key("u", position), &mark(position)));
    world.write(marks.collect()).await;
    let later = world.later(Duration::days(366));
    let purged = later.purge().await;
    assert_eq!((purged.tombstones, purged.marks, purged.events), (130, 350, 130));
    for prefix in ["gone~", "mark~", "o~", "pend~"] {
        assert_eq!(later.rows_of(prefix).await, [], "{prefix}");
    }
    later.is_sound().await;
}
