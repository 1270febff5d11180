//! What goes when its time is over.

use time::Duration;

use super::{Denied, KEPT, MONTH, World};
use crate::rows::{self, FORMAT, MarkBody};

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
