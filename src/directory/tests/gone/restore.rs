//! What comes back, whatever others do.

use serde_json::json;
use time::Duration;

use super::{MONTH, World, costs, moments, refusal, set, shown};
use crate::{
    directory::{
        Denied,
        edges::{Edge, Side},
    },
    rows,
    scim::members::Kind,
    store::faults::{Call, Fault},
};

#[tokio::test]
async fn a_restored_user_is_as_it_was_under_a_new_version() {
    for groups in [0, 3, 20, 60] {
        let world = World::new().await;
        let id = world.user_named("bjensen").await;
        let groups = world.groups_with(Kind::User, &id, groups).await;
        let before = world
            .directory
            .read(&world.users, &id, shown(&world.users))
            .await
            .unwrap();
        world.delete(&id).await;
        let outlook = world.directory.restore(&id, MONTH, true).await.unwrap();
        assert_eq!(set(&outlook.groups), groups);
        let rows = world.rows_of("").await;
        let restored = world.restore(&id).await.unwrap();
        assert_ne!(world.rows_of("").await, rows, "a dry run changes nothing");
        assert_eq!(set(&restored.groups), groups);
        assert_eq!((restored.lost_groups, restored.lost_members), (Vec::new(), Vec::new()));
        let after = world
            .directory
            .read(&world.users, &id, shown(&world.users))
            .await
            .unwrap();
        assert_eq!(after.ids(&world.users), groups);
        assert_eq!(after.attributes.as_map(), before.attributes.as_map());
        assert_eq!(after.envelope.created, before.envelope.created);
        assert!(after.envelope.version > before.envelope.version);
        let found = world.query(Some(r#"userName eq "BJENSEN""#), 10).await.unwrap();
        assert_eq!(found.resources.len(), 1);
        assert_eq!(world.query(None, 10).await.unwrap().total, Some(1));
        let events = world.events().await;
        let event = events.iter().find(|event| event.kind == "restore").unwrap();
        assert_eq!((event.id.as_str(), event.resource_type.as_str()), (id.as_str(), "User"));
        assert_eq!(event.actor, world.directory.access.credential);
        world.finish().await;
        world.is_sound().await;
        assert_eq!(world.rows_of("gone~").await, []);
        // And again.
        world.delete(&id).await;
        world.restore(&id).await.unwrap();
        assert_eq!(world.groups_of(&id).await, groups);
        world.finish().await;
        world.is_sound().await;
    }
}

/// design §4: whatever its size.
#[tokio::test]
async fn a_group_is_restored_in_three_round_trips() {
    for members in [0, 40, 300] {
        let world = World::new().await;
        let users = world.many_users(members).await;
        let group = world.group_of(&users).await;
        world.finish().await;
        let version = world.version(&group).await;
        world.remove(&world.groups, &group).await.unwrap();
        let cost = world.cost(async { world.restore(&group).await.unwrap() }).await;
        assert_eq!(cost, 3, "{members} members");
        assert_eq!(world.members(&group).await, set(&users));
        assert!(world.version(&group).await > version);
        world.is_sound().await;
        assert_eq!(world.rows_of("pend~").await, []);
        let added = world.many_users(1).await;
        world
            .directory
            .change(&world.groups, &group, costs::add(&added))
            .await
            .unwrap();
        assert_eq!(world.members(&group).await.len(), members + 1);
        world.is_sound().await;
    }
}

#[tokio::test]
async fn a_group_whose_members_were_laid_down_is_restored() {
    let world = World::new().await;
    let users = world.many_users(90).await;
    let group = world.group_of(&users).await;
    let parents = world.groups_with(Kind::Group, &group, 2).await;
    world.bury(&group).await;
    world.remove(&world.users, &users[7]).await.unwrap();
    let outlook = world.directory.restore(&group, MONTH, true).await.unwrap();
    let copy = world.copy().await;
    let restored = world.restore(&group).await.unwrap();
    assert_eq!(restored.waiting_members, users[7..8]);
    assert_eq!(outlook.waiting_members, users[7..8]);
    assert_eq!(restored.lost_members, [""; 0]);
    assert_eq!(set(&restored.groups), parents);
    let mut left = set(&users);
    left.remove(&users[7]);
    assert_eq!(world.members(&group).await, left);
    world.finish().await;
    world.is_sound().await;
    assert_eq!(world.rows_of(&rows::gone_parts_prefix(&group)).await, []);

    // Cut off at any commit, and done again.
    for commits in 1..6 {
        let world = copy.copy().await;
        world.faults.inject(Call::Commit, commits.., Fault::Unavailable);
        let directory = world.hasty();
        assert!(matches!(
            directory.restore(&group, MONTH, false).await,
            Err(Denied::Failed(_))
        ));
        world.faults.heal();
        let elsewhere = world.elsewhere();
        elsewhere.finish().await;
        elsewhere.is_sound().await;
        elsewhere.restore(&group).await.unwrap();
        assert_eq!(elsewhere.members(&group).await, left, "after {commits} commits");
        elsewhere.finish().await;
        elsewhere.is_sound().await;
    }
}

#[tokio::test]
async fn a_restore_that_was_cut_off_goes_on() {
    let world = World::new().await;
    let id = world.user_named("bjensen").await;
    let groups = world.groups_with(Kind::User, &id, 60).await;
    world.delete(&id).await;
    world.faults.inject(Call::Commit, 2.., Fault::Unavailable);
    let directory = world.hasty();
    directory.restore(&id, MONTH, false).await.unwrap_err();
    world.faults.heal();
    let some = world.groups_of(&id).await;
    assert!(!some.is_empty() && some.len() < 60, "{}", some.len());
    world.is_sound().await;
    world.restore(&id).await.unwrap();
    assert_eq!(world.groups_of(&id).await, groups);
    assert!(matches!(world.restore(&id).await, Err(Denied::There(Kind::User))));
    world.finish().await;
    world.is_sound().await;
}

/// Decided memberships count, spread or not.
#[tokio::test]
async fn who_is_deleted_before_its_membership_is_spread_has_it_again() {
    let world = World::new().await;
    let users = world.many_users(80).await;
    let group = world.group_of(&[]).await;
    world.faults.inject(Call::Commit, 2.., Fault::Unavailable);
    world
        .hasty()
        .change(&world.groups, &group, costs::add(&users))
        .await
        .unwrap();
    world.faults.heal();
    let world = world.elsewhere();
    world.delete(&users[3]).await;
    world.finish().await;
    assert_eq!(world.members(&group).await.len(), 79);
    let restored = world.restore(&users[3]).await.unwrap();
    assert_eq!(restored.groups, std::slice::from_ref(&group));
    assert_eq!(world.members(&group).await.len(), 80);
    world.finish().await;
    world.is_sound().await;
}

#[tokio::test]
async fn what_cannot_come_back_is_told_why() {
    let world = World::new().await;
    let id = world.user_named("bjensen").await;
    let why = async |world: &World, id: &str| match world.restore(id).await {
        Err(Denied::Failed(error)) => refusal(&error).to_owned(),
        Err(denied) => format!("{denied:?}")
            .chars()
            .take_while(|c| c.is_alphabetic())
            .collect(),
        Ok(_) => "restored".to_owned(),
    };
    assert_eq!(why(&world, "nobody").await, "Unknown");
    assert_eq!(why(&world, &id).await, "There");
    world.delete(&id).await;
    let other = world.user_named("bjensen").await;
    for dry_run in [false, true] {
        let denied = world.directory.restore(&id, MONTH, dry_run).await.unwrap_err();
        let said = denied.to_string();
        assert!(said.contains(&other) && !said.contains("bjensen"), "{said}");
    }
    world.is_sound().await;
    world.delete(&other).await;
    assert_eq!(why(&world.later(MONTH - Duration::MINUTE), &id).await, "restored");
    world.delete(&id).await;
    assert_eq!(why(&world.later(MONTH * 2), &id).await, "Past");
    let restorable = world.directory.restorable(MONTH).await.unwrap();
    assert_eq!(restorable.len(), 2);
    let credential = Some(world.directory.access.credential.clone());
    assert!(
        restorable
            .iter()
            .all(|one| one.by == credential && one.kind == Kind::User)
    );
    assert!(
        world
            .later(MONTH * 2)
            .directory
            .restorable(MONTH)
            .await
            .unwrap()
            .is_empty()
    );
    world.directory.erase(&id).await.unwrap();
    assert_eq!(why(&world, &id).await, "Erased");
    assert_eq!(world.directory.restorable(MONTH).await.unwrap().len(), 1);
}

/// Whichever of their commits storage does not take at once, or takes and does not say so.
#[tokio::test]
async fn what_storage_does_at_any_commit_ends_neither_restore_nor_erase_nor_purge() {
    let before = World::new().await;
    let users = before.many_users(3).await;
    let group = before.group_of(&users).await;
    before.bury(&group).await;
    before.remove(&before.users, &users[1]).await.unwrap();
    let [kept, other] = [before.group_of(&users[..1]).await, before.group_of(&users[..1]).await];
    before.remove(&before.groups, &other).await.unwrap();
    before.delete(&users[0]).await;
    let mut met = 0;
    for fault in [Fault::Busy(None), Fault::Unavailable, Fault::LoseAnswer] {
        for deed in ["restore a group", "restore a user", "erase", "purge"] {
            for commit in 1..12 {
                let case = format!("{deed}, {fault:?} at commit {commit}");
                let world = before.copy().await;
                let later = world.later(MONTH + Duration::HOUR);
                let world = if deed == "purge" { later } else { world };
                world.faults.inject(Call::Commit, commit..=commit, fault);
                match deed {
                    "restore a group" => {
                        let restored = world.restore(&group).await.expect(&case);
                        assert_eq!(set(&restored.waiting_members), set(&users[..2]), "{case}");
                        assert_eq!(world.members(&group).await, set(&users[2..]), "{case}");
                    }
                    "restore a user" => {
                        let restored = world.restore(&users[0]).await.expect(&case);
                        assert_eq!(restored.groups, std::slice::from_ref(&kept), "{case}");
                        assert_eq!(world.groups_of(&users[0]).await.len(), 1, "{case}");
                    }
                    "erase" => drop(world.directory.erase(&users[0]).await.expect(&case)),
                    _ => assert!(world.purge().await.tombstones > 1, "{case}"),
                }
                met += usize::from(world.store.take().commits >= commit);
                world.faults.heal();
                world.is_sound().await;
            }
        }
    }
    assert!(met > 40, "{met}");
}

/// Whatever others do before any of its calls.
#[tokio::test]
async fn a_restore_meets_others() {
    for moment in moments() {
        for other in 0..6 {
            for size in [2, 60] {
                let world = World::new().await;
                let users = world.many_users(size).await;
                let user = users[0].clone();
                let group = world.group_of(&users).await;
                world.delete(&user).await;
                let elsewhere = world.elsewhere();
                let meanwhile = async {
                    match other {
                        0 => drop(elsewhere.remove(&elsewhere.groups, &group).await),
                        1 => drop(elsewhere.restore(&user).await),
                        2 => drop(elsewhere.directory.erase(&user).await),
                        3 => drop(
                            elsewhere
                                .directory
                                .change(&elsewhere.groups, &group, costs::remove(&users[1..]))
                                .await,
                        ),
                        4 => elsewhere.finish().await,
                        _ => drop(elsewhere.create(json!({ "userName": "somebody" })).await),
                    }
                };
                let restore = Box::pin(world.restore(&user));
                let (restored, _) = world.in_the_middle(moment, restore, Box::pin(meanwhile)).await;
                match restored {
                    Ok(restored) => {
                        let joined = set(&restored.groups);
                        let groups = world.groups_of(&user).await;
                        assert!(groups.is_subset(&joined), "{moment:?} {other}");
                        assert!(other == 0 || !groups.is_empty(), "{moment:?} {other}");
                    }
                    Err(Denied::There(_) | Denied::Erased(_)) => {}
                    Err(denied) => panic!("{moment:?} {other}: {denied}"),
                }
                world.finish().await;
                world.is_sound().await;
            }
        }
    }
}

#[tokio::test]
async fn a_group_comes_back_whatever_others_do() {
    for moment in moments() {
        for other in 0..3 {
            for buried in [false, true] {
                if buried && other == 2 && moment.1 > 2 {
                    continue;
                }
                let world = World::new().await;
                let users = world.many_users(3).await;
                let group = world.group_of(&users).await;
                if buried {
                    world.bury(&group).await;
                } else {
                    world.remove(&world.groups, &group).await.unwrap();
                }
                let elsewhere = world.elsewhere();
                let meanwhile = async {
                    match other {
                        0 => elsewhere.delete(&users[0]).await,
                        1 => drop(elsewhere.restore(&group).await),
                        _ => elsewhere.finish().await,
                    }
                };
                let restore = Box::pin(world.restore(&group));
                let (restored, met) = world.in_the_middle(moment, restore, Box::pin(meanwhile)).await;
                assert!(
                    matches!(restored, Ok(_) | Err(Denied::There(_))),
                    "{moment:?} {other}: {restored:?}"
                );
                let mut left = set(&users);
                if other == 0 && met.is_some() {
                    left.remove(&users[0]);
                }
                assert_eq!(world.members(&group).await, left, "{moment:?} {other} {buried}");
                world.finish().await;
                world.is_sound().await;
            }
        }
    }
}

/// What one deletion began and lands late must not touch what the next one keeps.
#[tokio::test]
async fn what_lands_late_meets_another_deletion() {
    let world = World::new().await;
    let users = world.many_users(3).await;
    let group = world.group_of(&users).await;
    world.remove(&world.groups, &group).await.unwrap();
    let first = world.directory.pending().await.unwrap().gone.remove(&group).unwrap();
    world.restore(&group).await.unwrap();
    world.remove(&world.groups, &group).await.unwrap();
    let edges = users.iter().map(|user| Edge {
        group: group.clone(),
        member: user.clone(),
        kind: Kind::User,
    });
    world
        .directory
        .end_members(&first.trace, &edges.collect::<Vec<_>>(), None)
        .await
        .unwrap();
    world.restore(&group).await.unwrap();
    assert_eq!(world.members(&group).await, set(&users));
}

/// Who lays members down removes their edges a few at a time; a restore may have written them again and forgotten the list
/// meanwhile.
#[tokio::test]
async fn what_lays_members_down_late_removes_none_that_were_taken_up() {
    let world = World::new().await;
    let users = world.many_users(3).await;
    let group = world.group_of(&users).await;
    world.remove(&world.groups, &group).await.unwrap();
    let gone = world.directory.pending().await.unwrap().gone.remove(&group).unwrap();
    let edges: Vec<Edge> = world.directory.standing(&Side::Members.of(&group)).await.unwrap();
    let list = rows::gone_members_key(&group, 0);
    world
        .directory
        .end_members(&gone.trace, &edges, Some(&list))
        .await
        .unwrap();
    world.restore(&group).await.unwrap();
    assert_eq!(world.members(&group).await, set(&users));
}
