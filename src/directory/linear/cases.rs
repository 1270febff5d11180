//! Histories that went wrong once, or would if one line were missing.

use std::{
    slice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{
    Client, History, Hold, SIZES, Sabotage,
    model::{Ask, FIRST_GROUPS, Set, USERS},
    play,
    stage::{Fate, Stage},
    world::{Caller, Told, World},
};
use crate::{
    directory::memberships::Sizes,
    rows::{self, FORMAT, PENDING_PREFIX, TraceBody},
    store::{
        Change, Error, Page, Row, Store, Write,
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
    tenants::Catalogs,
};

const U0: Set = Set(1);
const U1: Set = Set(1 << 1);
const U2: Set = Set(1 << 2);
const G1: Set = Set(1 << (USERS + 1));
const NOBODY: Set = Set(0);

const READ: Ask = Ask::Read { resource: USERS };

fn change(add: Set, remove: Set) -> Ask {
    Ask::Change {
        group: 0,
        add,
        remove,
        name: None,
    }
}

fn history(members: Set, asks: &[&[Ask]]) -> History {
    let client = |asks: &&[Ask]| Client {
        asks: asks.to_vec(),
        fate: Fate::Lives,
        skew: 0,
        patience: 15_000,
    };
    let mut first = [NOBODY; FIRST_GROUPS];
    first[0] = members;
    History {
        members: first,
        clients: asks.iter().map(client).collect(),
        choices: Vec::new(),
        troubles: Vec::new(),
        page: 0,
        small: false,
        holds: Vec::new(),
    }
}

/// Plays one client's operation, and another's while calls of the first one that begin so wait.
#[track_caller]
fn check(members: Set, first: Ask, held: &str, meanwhile: &[Ask]) {
    let mut history = history(members, &[&[first], meanwhile]);
    history.holds.push(Hold {
        call: format!("0 {held}"),
        until: 1,
    });
    for small in [false, true] {
        history.small = small;
        let played = play(&history, Sabotage::None);
        assert!(played.is_ok(), "small: {small}: {}", played.unwrap_err());
    }
}

fn id(resource: usize) -> String {
    super::world::id(resource)
}

/// What joined between the look at its groups and the look at itself would keep a member that is gone.
#[test]
fn a_user_is_deleted_while_it_joins() {
    for held in ["get u~", "scan r~", "scan pend~", "commit"] {
        check(NOBODY, Ask::Delete { resource: 0 }, held, &[change(U0, NOBODY)]);
        check(U0, Ask::Delete { resource: 0 }, held, &[change(NOBODY, U0)]);
        check(NOBODY, change(U0, NOBODY), held, &[Ask::Delete { resource: 0 }]);
    }
}

#[test]
fn a_group_is_deleted_while_members_join_and_while_it_joins() {
    let (g0, g1) = (Ask::Delete { resource: USERS }, Ask::Delete { resource: USERS + 1 });
    for held in ["get g~", "scan r~", "scan m~", "scan pend~", "commit"] {
        for add in [U0, U0.and(U1)] {
            check(NOBODY, g0.clone(), held, &[change(add, NOBODY)]);
            check(NOBODY, change(add, NOBODY), held, slice::from_ref(&g0));
        }
        check(NOBODY, g1.clone(), held, &[change(G1, NOBODY)]);
        check(NOBODY, change(G1, NOBODY), held, slice::from_ref(&g1));
        check(U0, READ, held, slice::from_ref(&g0));
    }
}

/// Whoever has the version of a group must have its members: nobody would send them again (304), and who replaces the
/// group on condition of this version would undo what they never saw.
#[test]
fn no_version_is_newer_than_the_members_beside_it() {
    let rename = Ask::Rename { group: 0, name: 3 };
    for held in ["get g~", "scan m~", "scan pend~", "commit"] {
        for first in [READ, change(U0, NOBODY), rename.clone(), change(U2, NOBODY)] {
            for other in [
                change(U1, NOBODY),
                change(NOBODY, U2),
                change(U0.and(U1), U2),
                rename.clone(),
            ] {
                check(U2, first.clone(), held, &[other]);
            }
        }
    }
}

/// No row says that somebody is no member.
#[test]
fn who_is_to_leave_joins_meanwhile() {
    let both = Ask::Change {
        group: 0,
        add: NOBODY,
        remove: U0,
        name: Some(3),
    };
    let member = format!("get m~{}", id(USERS));
    for held in ["get g~", "scan m~", "scan pend~", "commit", &member] {
        for first in [change(U1, U0), both.clone()] {
            check(NOBODY, first.clone(), held, &[change(U0, NOBODY)]);
            check(NOBODY, first, held, &[change(U0.and(U2), NOBODY)]);
        }
    }
}

/// What is replaced must be what was looked at.
#[test]
fn a_put_meets_a_patch() {
    let put = |members| Ask::Put {
        group: 0,
        name: 2,
        members,
        if_match: false,
    };
    for held in ["get g~", "scan m~", "scan pend~", "commit"] {
        for members in [NOBODY, U0, U0.and(U1)] {
            check(U2, put(members), held, &[change(U0, U2)]);
            check(U2, put(members), held, &[change(U1, NOBODY), change(NOBODY, U1)]);
            check(U2, change(U0, U2), held, &[put(members)]);
        }
    }
}

/// What is removed from the edges may be forgotten only when nobody is left who has seen them.
#[test]
fn the_memberships_of_a_deleted_user_end_in_two_processes_while_they_are_read() {
    let dummy = |user, name| Ask::CreateUser { user, name };
    let mut history = history(
        U0,
        &[
            &[dummy(3, 4), READ],
            &[Ask::Delete { resource: 0 }],
            &[dummy(4, 5), Ask::Finish, Ask::Finish],
        ],
    );
    let hold = |call: &str, until| Hold {
        call: call.to_owned(),
        until,
    };
    history.holds = vec![hold("0 commit", 1), hold("2 commit", 1), hold("0 scan pend~", 2)];
    // The user is in two groups, which is too much for one commit of its process, and that dies.
    history.members[1] = U0;
    history.small = true;
    history.clients[1].patience = 30;
    history.clients[1].fate = Fate::DiesBefore(5);
    history.clients[2].skew = 70_000;
    let played = play(&history, Sabotage::None);
    assert!(played.is_ok(), "{}", played.unwrap_err());
}

/// A tenant whose clients change so many large groups that a change was decided or spread between any two looks.
struct Restless {
    inner: Stage,
    changes: AtomicUsize,
}

#[async_trait]
impl Store for Restless {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.inner.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        if from.starts_with(PENDING_PREFIX) {
            let number = self.changes.fetch_add(1, Ordering::Relaxed);
            let spread = TraceBody {
                format: FORMAT,
                id: number.to_string(),
                operation: String::new(),
                time: OffsetDateTime::UNIX_EPOCH,
                resource_type: String::new(),
            };
            let row = rows::write(rows::spread_key(&spread.id), &spread);
            self.inner.commit(partition, &[Change::Insert(row)]).await?;
        }
        self.inner.scan(partition, from, until, limit).await
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        self.inner.commit(partition, changes).await
    }
}

/// One who asks in a world of its own.
fn alone(store: Arc<dyn Store>) -> (World, Caller) {
    let caller = Caller {
        store,
        name: "0.0".to_owned(),
        skew: Duration::ZERO,
        patience: Duration::from_secs(15),
    };
    (World::new(Catalogs::standard()), caller)
}

const fn group(members: Set) -> Ask {
    Ask::CreateGroup {
        group: 0,
        name: 0,
        members,
    }
}

/// design §4: what a group's operations cost, also in the minute after they changed it. Who deletes a member leaves it
/// to the next write of the group to find out what the members are.
#[tokio::test(start_paused = true)]
async fn operations_on_groups_cost_the_round_trips_of_the_table() {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let (world, caller) = alone(Arc::clone(&store) as Arc<dyn Store>);
    let put = Ask::Put {
        group: 0,
        name: 1,
        members: U2,
        if_match: false,
    };
    let (set, rename) = (Ask::Set { group: 0, members: U1 }, Ask::Rename { group: 0, name: 2 });
    let mut others = Vec::new();
    let (user, none) = (|user, name| Ask::CreateUser { user, name }, NOBODY);
    for (ask, cost) in [
        (user(0, 0), 1),
        (user(1, 1), 1),
        (user(2, 2), 1),
        (group(U0), 1),
        (READ, 1),
        (change(U1, none), 2),
        (change(U1, none), 1),
        (READ, 1),
        (change(none, U1), 2),
        (change(U1, U0), 2),
        (change(none, U0), 1),
        (change(U0, none), 2),
        (set, 2),
        // Whoever is new to the group is looked up behind it.
        (put, 3),
        (READ, 1),
        (rename, 2),
        (change(U0, none), 2),
        (Ask::Delete { resource: 0 }, 3),
        (READ, 4),
        (change(U1, none), 3),
        (READ, 1),
        (change(none, U1), 2),
        (Ask::Delete { resource: USERS }, 2),
    ] {
        store.take();
        let told = world.ask(&caller, &ask, None).await;
        assert!(!matches!(told, Told::Failed(_) | Told::NotFound), "{ask:?}: {told:?}");
        let took = store.take().round_trips;
        if took != cost {
            others.push(format!("{ask:?}: {took}, not {cost}"));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

/// Rewrites the rows as versions wrote them that did not note which operation changed memberships last.
async fn age(store: &dyn Store, world: &World) {
    let page = store.scan(world.partition(), "-", "~", 1_000).await.unwrap();
    for mut row in page.rows {
        let is_gate = row.key.starts_with("m~") && (row.key.ends_with("~-") || row.key.ends_with("~."));
        if !is_gate && !row.key.starts_with("g~") {
            continue;
        }
        let bytes = if is_gate { &mut row.body } else { &mut row.stamp };
        let mut fields: Map<String, Value> = serde_json::from_slice(bytes).unwrap();
        fields.remove(if is_gate { "spread" } else { "members" });
        *bytes = serde_json::to_vec(&fields).unwrap();
        let stamp = if is_gate { Vec::new() } else { row.stamp };
        let (key, body) = (row.key, row.body);
        let write = Change::Upsert(Write { key, stamp, body });
        store.commit(world.partition(), &[write]).await.unwrap();
    }
}

/// design §4, "Formats": also of a change that an earlier version has decided and not spread.
#[tokio::test(start_paused = true)]
async fn what_earlier_versions_wrote_is_read() {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let faults = Arc::new(FaultStore::new(Arc::clone(&store) as Arc<dyn Store>));
    let (world, mut caller) = alone(Arc::clone(&faults) as Arc<dyn Store>);
    for (user, name) in (0..3).zip(0..) {
        let user = Ask::CreateUser { user, name };
        world.ask(&caller, &user, None).await;
    }
    let sees = async |caller: &Caller, ask: Ask, expected: Set| {
        let told = world.ask(caller, &ask, None).await;
        assert!(
            matches!(&told, Told::Group { members: Some(members), .. } if *members == expected),
            "{ask:?}: {told:?}"
        );
    };
    sees(&caller, group(U0.and(U1)), U0.and(U1)).await;
    age(&*store, &world).await;
    sees(&caller, READ, U0.and(U1)).await;
    caller.skew = Duration::from_mins(2);
    store.take();
    sees(&caller, READ, U0.and(U1)).await;
    assert_eq!(store.take().round_trips, 1);
    sees(&caller, change(U2, U1), U0.and(U2)).await;
    assert_eq!(store.take().round_trips, 2);
    age(&*store, &world).await;

    SIZES.set(Some(Sizes { at_once: 1, changes: 9 }));
    faults.inject(Call::Commit, 2.., Fault::Unavailable);
    let set = Ask::Set { group: 0, members: U1 };
    sees(&caller, set, U1).await;
    age(&*store, &world).await;
    faults.heal();
    sees(&caller, READ, U1).await;
    sees(&caller, change(U0, NOBODY), U0.and(U1)).await;
    sees(&caller, READ, U0.and(U1)).await;
    SIZES.set(None);
    world.check(&caller).await.unwrap();
}

/// Nobody waits for an answer because other groups are busy.
#[tokio::test(start_paused = true)]
async fn memberships_are_read_while_others_change_all_the_time() {
    let (world, caller) = alone(Arc::new(Restless {
        inner: Stage::default(),
        changes: AtomicUsize::new(0),
    }));
    let user = Ask::CreateUser { user: 0, name: 0 };
    for ask in [
        user,
        group(U0),
        READ,
        Ask::Read { resource: 0 },
        change(NOBODY, U0),
        READ,
    ] {
        match world.ask(&caller, &ask, None).await {
            Told::Group { .. } | Told::User { .. } => {}
            told => panic!("{ask:?}: {told:?}"),
        }
    }
}

/// A group is read, and all its members change between two answers of the scan.
fn changes_within_scans() -> impl Iterator<Item = History> {
    let all = U0.and(U1).and(U2).and(G1);
    let changes = [(all, NOBODY), (NOBODY, all), (U1.and(U2), U0.and(G1))];
    let range = rows::members_prefix(&id(USERS));
    (1..=3).flat_map(move |answer| {
        let held = format!("0 scan {range} {answer}");
        changes.map(|(members, after)| {
            let set = Ask::Set {
                group: 0,
                members: after,
            };
            let mut history = history(members, &[&[READ], &[set]]);
            let (call, until) = (held.clone(), 1);
            history.holds.push(Hold { call, until });
            history.page = 2;
            history.small = true;
            history
        })
    })
}

/// A scan is of one moment only as far as the service gives it with one answer.
#[test]
fn a_change_is_decided_and_spread_between_two_answers_of_a_scan() {
    for history in changes_within_scans() {
        let played = play(&history, Sabotage::None);
        assert!(played.is_ok(), "{}", played.unwrap_err());
    }
}

/// The same histories are torn where nobody knows of it: histories at random meet this seldom.
#[test]
fn a_scan_of_two_moments_that_nobody_knows_of_is_found() {
    let torn = changes_within_scans().filter(|history| play(history, Sabotage::Split).is_err());
    assert!(torn.count() > 0);
}
