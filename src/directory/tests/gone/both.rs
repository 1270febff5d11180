//! A member and its group are both deleted, or a restore is cut off between them.

use std::{collections::BTreeSet, time::Duration as Span};

use time::Duration;

use super::{Denied, MONTH, World, costs, moments, set};
use crate::{
    directory::{check::Inspection, edges::Edge, gone::rejoin},
    rows,
    scim::members::Kind,
    store::faults::{Call, Fault},
};

#[tokio::test]
async fn what_is_deleted_meanwhile_is_told() {
    let world = World::new().await;
    let id = world.user_named("bjensen").await;
    let of_it = std::slice::from_ref(&id);
    let [kept, gone] = [world.group_of(of_it).await, world.group_of(of_it).await];
    world.delete(&id).await;
    world.remove(&world.groups, &gone).await.unwrap();
    let restored = world.restore(&id).await.unwrap();
    assert_eq!(
        (restored.groups, restored.waiting_groups),
        (vec![kept.clone()], vec![gone.clone()])
    );
    assert_eq!(restored.lost_groups, [""; 0]);
    // A user that was deleted after its group is its member again when both are back, in this order.
    world.remove(&world.groups, &kept).await.unwrap();
    world.delete(&id).await;
    world.restore(&kept).await.unwrap();
    assert_eq!(world.members(&kept).await, BTreeSet::new());
    world.restore(&id).await.unwrap();
    assert_eq!(world.members(&kept).await, BTreeSet::from([id]));
    world.finish().await;
    world.is_sound().await;
}

/// In which order two are deleted, and the group lays its members down or does not.
#[derive(Clone, Copy, Debug)]
enum Deleted {
    MemberFirst,
    GroupFirst,
    GroupFirstAndBuried,
    MemberFirstAndBuried,
}

impl World {
    async fn delete_both(&self, kind: Kind, member: &str, group: &str, order: Deleted) {
        let of = if kind == Kind::User { &self.users } else { &self.groups };
        match order {
            Deleted::MemberFirst | Deleted::MemberFirstAndBuried => {
                self.remove(of, member).await.unwrap();
                if matches!(order, Deleted::MemberFirst) {
                    self.remove(&self.groups, group).await.unwrap();
                } else {
                    self.bury(group).await;
                }
            }
            Deleted::GroupFirst => {
                self.remove(&self.groups, group).await.unwrap();
                self.remove(of, member).await.unwrap();
            }
            Deleted::GroupFirstAndBuried => {
                self.bury(group).await;
                self.remove(of, member).await.unwrap();
            }
        }
    }
}

/// Whichever is deleted first and whichever comes back first.
#[tokio::test]
async fn a_membership_is_back_when_both_its_ends_are() {
    use Deleted::{GroupFirst, GroupFirstAndBuried, MemberFirst, MemberFirstAndBuried};

    for order in [MemberFirst, MemberFirstAndBuried, GroupFirst, GroupFirstAndBuried] {
        for kind in [Kind::User, Kind::Group] {
            for group_first in [false, true] {
                let case = format!("{order:?} {kind:?} {group_first}");
                let world = World::new().await;
                let mut members = world.many_users(2).await;
                if kind == Kind::Group {
                    members = vec![world.group_of(&members).await, world.group_of(&[]).await];
                }
                let [member, _] = &members[..] else { unreachable!() };
                let group = world.group_of_kind(kind, &members).await;
                world.delete_both(kind, member, &group, order).await;
                let ids = if group_first {
                    [&group, member]
                } else {
                    [member, &group]
                };
                let first = world.restore(ids[0]).await.unwrap();
                assert_eq!((first.lost_groups, first.lost_members), (vec![], vec![]), "{case}");
                if !group_first && !matches!(order, GroupFirstAndBuried) {
                    assert_eq!(first.waiting_groups, std::slice::from_ref(&group), "{case}");
                }
                if group_first && matches!(order, GroupFirstAndBuried) {
                    assert_eq!(first.waiting_members, members[..1], "{case}");
                }
                world.is_sound().await;
                if group_first {
                    assert_eq!(world.members(&group).await, set(&members[1..]), "{case}");
                }
                let outlook = world.directory.restore(ids[1], MONTH, true).await.unwrap();
                assert_eq!(
                    (outlook.waiting_groups, outlook.waiting_members),
                    (vec![], vec![]),
                    "{case}"
                );
                world.restore(ids[1]).await.unwrap();
                assert_eq!(world.members(&group).await, set(&members), "{case}");
                world.finish().await;
                world.is_sound().await;
                assert_eq!(world.rows_of(&rows::gone_parts_prefix(&group)).await, [], "{case}");
                assert_eq!(world.rows_of(&rows::gone_parts_prefix(member)).await, [], "{case}");
            }
        }
    }
}

/// Whoever is a member was added before the group was deleted, also if the deletion had read the memberships by then.
#[tokio::test]
async fn who_joins_a_group_while_it_is_deleted_itself_is_in_it_when_it_is_back() {
    let mut joined = 0;
    for moment in moments() {
        for removed in [false, true] {
            let world = World::new().await;
            let child = world.group_of(&[]).await;
            let parent = world.group_of(&[]).await;
            let elsewhere = world.elsewhere();
            let meanwhile = async {
                let child = std::slice::from_ref(&child);
                let change = async |operations| {
                    let change = elsewhere.directory.change(&elsewhere.groups, &parent, operations);
                    change.await.is_ok()
                };
                change(costs::add(child)).await && !(removed && change(costs::remove(child)).await)
            };
            let delete = Box::pin(world.remove(&world.groups, &child));
            let (_, is_member) = world.in_the_middle(moment, delete, Box::pin(meanwhile)).await;
            let expected: BTreeSet<String> = is_member.filter(|is| *is).map(|_| child.clone()).into_iter().collect();
            joined += expected.len();
            for ends_first in [false, true] {
                let world = world.copy().await;
                if ends_first {
                    world.finish().await;
                }
                world.restore(&child).await.unwrap();
                assert_eq!(
                    world.members(&parent).await,
                    expected,
                    "{moment:?} {removed} {ends_first}"
                );
                world.finish().await;
                world.is_sound().await;
            }
        }
    }
    assert!(joined > 2, "only {joined} joined");
}

/// A group that is gone when a member of it is deleted may be back, and read, before that ends the membership.
#[tokio::test]
async fn who_is_deleted_leaves_no_group_that_is_back_under_the_same_version() {
    let mut met = 0;
    for groups in [1, 60] {
        for call in [Call::Get, Call::Scan, Call::Commit] {
            for number in 1..=6 {
                let world = World::new().await;
                let id = world.user_named("bjensen").await;
                let group = world.groups_with(Kind::User, &id, groups).await.pop_first().unwrap();
                world.remove(&world.groups, &group).await.unwrap();
                let elsewhere = world.elsewhere();
                let seen = async {
                    elsewhere.restore(&group).await.unwrap();
                    let edges = elsewhere.rows_of(&rows::member_key(&group, &id)).await;
                    (elsewhere.version(&group).await, edges.len())
                };
                let delete = Box::pin(world.delete(&id));
                let ((), seen) = world.in_the_middle((call, number), delete, Box::pin(seen)).await;
                let Some((version, edges)) = seen else { break };
                world.finish().await;
                let left = world.rows_of(&rows::member_key(&group, &id)).await.len();
                assert_eq!(left, 0);
                let stamp = world.rows_of(&rows::resource_key("g", &group)).await.remove(0);
                let stamp = rows::stamp(&stamp).unwrap();
                assert_eq!(stamp.version != version, edges > 0, "{groups} {call:?} {number}");
                met += 1;
            }
        }
    }
    assert!(met > 15, "only {met} met");
}

/// Whatever one of them has read or written when the other one begins and ends: a row that is not there yet and a tombstone that
/// is not there any more do not mean that somebody is gone.
#[tokio::test]
async fn two_that_come_back_at_once_find_each_other() {
    use Deleted::{GroupFirst, GroupFirstAndBuried, MemberFirst, MemberFirstAndBuried};

    let mut met = 0;
    for order in [MemberFirst, MemberFirstAndBuried, GroupFirst, GroupFirstAndBuried] {
        let before = World::new().await;
        let members = before.many_users(2).await;
        let group = before.group_of(&members).await;
        before.delete_both(Kind::User, &members[0], &group, order).await;
        for group_first in [false, true] {
            for call in [Call::Get, Call::Scan, Call::Commit] {
                for number in 1..=12 {
                    let case = format!("{order:?} {group_first} {call:?} {number}");
                    let world = before.copy().await;
                    let elsewhere = world.elsewhere();
                    let [first, second] = if group_first {
                        [&group, &members[0]]
                    } else {
                        [&members[0], &group]
                    };
                    let restore = Box::pin(world.restore(first));
                    let meanwhile = Box::pin(elsewhere.restore(second));
                    let (restored, meanwhile) = world.in_the_middle((call, number), restore, meanwhile).await;
                    let restored = restored.unwrap();
                    assert_eq!(
                        (restored.lost_groups, restored.lost_members),
                        (vec![], vec![]),
                        "{case}"
                    );
                    let Some(meanwhile) = meanwhile else { break };
                    // Who came back before this did waits no more.
                    assert_eq!(
                        (restored.waiting_groups, restored.waiting_members),
                        (vec![], vec![]),
                        "{case}"
                    );
                    let meanwhile = meanwhile.unwrap();
                    assert_eq!(
                        (meanwhile.lost_groups, meanwhile.lost_members),
                        (vec![], vec![]),
                        "{case}"
                    );
                    met += 1;
                    assert_eq!(world.members(&group).await, set(&members), "{case}");
                    world.finish().await;
                    world.is_sound().await;
                    for id in [&group, &members[0]] {
                        assert_eq!(world.rows_of(&rows::gone_parts_prefix(id)).await, [], "{case}");
                    }
                }
            }
        }
    }
    assert!(met >= 60, "only {met} met");
}

/// Else a commit that lands late would give access back that was taken since.
#[tokio::test]
async fn who_waits_for_a_group_that_is_back_waits_no_more() {
    let world = World::new().await;
    let users = world.many_users(2).await;
    let group = world.group_of(&users).await;
    world.remove(&world.groups, &group).await.unwrap();
    world.delete(&users[0]).await;
    let first = world.directory.pending().await.unwrap().gone.remove(&group).unwrap();
    world.restore(&group).await.unwrap();
    let edge = Edge {
        group: group.clone(),
        member: users[0].clone(),
        kind: Kind::User,
    };
    let row = rows::gone_edge_key(&users[0], &group);
    for deleted_again in [false, true] {
        if deleted_again {
            world.remove(&world.groups, &group).await.unwrap();
        }
        let late = world
            .directory
            .let_wait(&first.trace, std::slice::from_ref(&edge))
            .await;
        late.unwrap_err();
        assert_eq!(world.rows_of(&row).await, []);
    }
    let second = world.directory.pending().await.unwrap().gone.remove(&group).unwrap();
    for waited in [false, true] {
        let edge = std::slice::from_ref(&edge);
        assert_eq!(world.directory.let_wait(&second.trace, edge).await.unwrap(), waited);
        assert_eq!(world.rows_of(&row).await.len(), 1);
    }
}

/// What one waits for stands with the other, so that neither deletion nor erasure of one leaves anything wrong.
#[tokio::test]
async fn who_is_deleted_again_while_its_group_is_gone_has_it_when_both_are_back() {
    for erased in [false, true] {
        let world = World::new().await;
        let users = world.many_users(3).await;
        let group = world.group_of(&users).await;
        world.remove(&world.groups, &group).await.unwrap();
        world.delete(&users[0]).await;
        world.restore(&users[0]).await.unwrap();
        world.delete(&users[0]).await;
        if erased {
            world.directory.erase(&users[0]).await.unwrap();
        }
        let restored = world.restore(&group).await.unwrap();
        let told = if erased {
            restored.lost_members
        } else {
            restored.waiting_members
        };
        assert_eq!(told, users[..1]);
        assert_eq!(world.members(&group).await, set(&users[1..]));
        if !erased {
            world.restore(&users[0]).await.unwrap();
            assert_eq!(world.members(&group).await, set(&users));
        }
        world.finish().await;
        world.is_sound().await;
    }
}

/// Many groups that came back before their member, each by itself: more rows than one commit takes away.
#[tokio::test]
async fn a_member_has_many_groups_that_came_back_before_it() {
    for erases in [false, true] {
        let world = World::new().await;
        let id = world.user_named("bjensen").await;
        let groups = world.groups_with(Kind::User, &id, 130).await;
        world.delete(&id).await;
        for group in &groups {
            world.wait_for(group, &id).await;
        }
        if erases {
            world.directory.erase(&id).await.unwrap();
        } else {
            world.restore(&id).await.unwrap();
            assert_eq!(world.groups_of(&id).await, groups);
        }
        world.finish().await;
        world.is_sound().await;
        assert_eq!(world.rows_of(&rows::gone_parts_prefix(&id)).await, []);
    }
}

impl World {
    /// As a restored group leaves it that had this member.
    async fn wait_for(&self, group: &str, member: &str) {
        let edge = Edge {
            group: group.to_owned(),
            member: member.to_owned(),
            kind: Kind::User,
        };
        let changes = rejoin::waits(&edge, member);
        self.rows
            .commit(&self.directory.access.tenant.id, &changes)
            .await
            .unwrap();
    }

    /// A user restored into some of its 60 groups.
    async fn half_restored(&self) -> (String, BTreeSet<String>) {
        let id = self.user_named("bjensen").await;
        let groups = self.groups_with(Kind::User, &id, 60).await;
        self.delete(&id).await;
        self.faults.inject(Call::Commit, 2.., Fault::Unavailable);
        self.hasty().restore(&id, MONTH, false).await.unwrap_err();
        self.faults.heal();
        let some = self.groups_of(&id).await;
        assert!(!some.is_empty() && some.len() < 60, "{}", some.len());
        self.is_sound().await;
        (id, groups)
    }
}

/// Nobody has to remember that a restore was cut off.
#[tokio::test]
async fn a_restore_that_was_cut_off_is_finished_by_others() {
    for repairs in [false, true] {
        let world = World::new().await;
        let (id, groups) = world.half_restored().await;
        if repairs {
            let inspection = Inspection::new(world.elsewhere().directory, Span::from_mins(1), 5, |_| ());
            inspection.repair().await.unwrap();
        } else {
            world.directory.finish_pending().await.unwrap();
            assert_ne!(world.groups_of(&id).await, groups, "the restore may be under way");
            world.later(Duration::MINUTE).directory.finish_pending().await.unwrap();
        }
        assert_eq!(world.groups_of(&id).await, groups);
        assert!(matches!(world.restore(&id).await, Err(Denied::There(Kind::User))));
        world.is_sound().await;
        assert_eq!(world.rows_of(rows::JOINS_PREFIX).await, []);
        // The log tells of all of them.
        let told = world.events().await.into_iter().flat_map(|event| event.groups);
        assert_eq!(told.collect::<BTreeSet<_>>(), groups);
    }
}

/// Groups that it was to join are neither lost nor joined by a deletion in between.
#[tokio::test]
async fn who_is_deleted_half_restored_comes_back_whole() {
    let world = World::new().await;
    let (id, mut groups) = world.half_restored().await;
    world.delete(&id).await;
    assert_eq!(world.rows_of(rows::JOINS_PREFIX).await, []);
    world.later(Duration::MINUTE).directory.finish_pending().await.unwrap();
    assert_eq!(world.rows_of(&rows::memberships_prefix(&id)).await, []);
    let gone = groups.pop_last().unwrap();
    world.remove(&world.groups, &gone).await.unwrap();
    let restored = world.restore(&id).await.unwrap();
    assert_eq!(
        (set(&restored.groups), restored.waiting_groups),
        (groups.clone(), vec![gone.clone()])
    );
    world.restore(&gone).await.unwrap();
    groups.insert(gone);
    assert_eq!(world.groups_of(&id).await, groups);
    world.finish().await;
    world.is_sound().await;
}
