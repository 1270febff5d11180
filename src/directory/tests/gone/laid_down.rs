//! Members that a deleted group lists, so that nobody reads a row which hides their edges any more.

use super::{World, set};
use crate::{
    directory::pending::Gone,
    rows::{self, FORMAT, MembersBody},
};

impl World {
    /// The list of a deleted group's members, as if these had been all when it was written.
    async fn list(&self, gone: &Gone, users: &[String]) {
        let list = MembersBody {
            format: FORMAT,
            users: users.to_vec(),
            deletion: gone.trace.operation.clone(),
            ..MembersBody::default()
        };
        let key = rows::gone_members_key(&gone.trace.id, 0);
        self.write(vec![rows::write(key, &list)]).await;
    }

    async fn gone(&self, group: &str) -> Gone {
        self.directory.pending().await.unwrap().gone.remove(group).unwrap()
    }
}

/// A restore that was cut off wrote its edge after somebody had read those that are listed.
#[tokio::test]
async fn who_is_in_no_list_of_the_group_is_not_lost_with_its_edge() {
    let world = World::new().await;
    let users = world.many_users(4).await;
    let group = world.group_of(&users).await;
    world.remove(&world.groups, &group).await.unwrap();
    let gone = world.gone(&group).await;
    world.list(&gone, &users[..2]).await;
    world.directory.lay_down_members(&gone).await.unwrap();
    assert_eq!(world.rows_of(&rows::members_prefix(&group)).await, []);
    assert_eq!(world.rows_of(&rows::gone_members_prefix(&group)).await.len(), 2);
    let restored = world.restore(&group).await.unwrap();
    assert_eq!((restored.waiting_members, restored.lost_members), (vec![], vec![]));
    assert_eq!(world.members(&group).await, set(&users));
    world.finish().await;
    world.is_sound().await;
    assert_eq!(world.rows_of("gone~").await, []);
}

/// Each of their rows may have 500 KiB.
#[tokio::test]
async fn members_who_stand_are_not_read_when_their_group_comes_back() {
    let world = World::new().await;
    let users = world.many_users(300).await;
    let group = world.group_of(&users).await;
    world.finish().await;
    world.remove(&world.groups, &group).await.unwrap();
    world.list(&world.gone(&group).await, &users).await;
    world.store.take();
    world.restore(&group).await.unwrap();
    let gets = world.store.take().gets;
    assert!(gets < 20, "{gets}");
    assert_eq!(world.members(&group).await, set(&users));
}
