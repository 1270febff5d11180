//! Pages of everything: what they cost in which process, and whether each user is on one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{Directory, Error, Found, Shown, marks, tests::World};
use crate::{
    ambient::Ambient,
    rows::{self, FORMAT, MarkBody},
    scim::list::{ListQuery, Paging},
    store::{
        Change, Store,
        faults::{Call, Fault, FaultStore},
    },
    totals,
};

/// A clock that is set by hand.
#[derive(Clone, Debug, Default)]
struct Clock {
    seconds: Arc<AtomicU64>,
    ids: Arc<AtomicU64>,
}

impl Ambient for Clock {
    fn now(&self) -> OffsetDateTime {
        let seconds = Duration::from_secs(self.seconds.load(Ordering::Relaxed));
        OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + seconds
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(self.ids.fetch_add(1, Ordering::Relaxed).into())
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.ids.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        secret
    }
}

fn id(number: usize) -> String {
    format!("id-{number:06}")
}

async fn filled(users: usize) -> (World, Clock) {
    let clock = Clock::default();
    let mut world = World::with(clock.clone()).await;
    world.directory.deadline = Instant::now() + Duration::from_mins(10);
    let user = |number| (id(number), json!({ "userName": format!("u{number}"), "active": true }));
    world.fill("u", (0..users).map(user)).await;
    (world, clock)
}

fn at(start: usize, count: usize) -> ListQuery {
    ListQuery {
        paging: Paging::Index(start),
        count,
        ..ListQuery::default()
    }
}

fn ids(found: &Found) -> Vec<String> {
    let id = |document: &serde_json::Map<String, Value>| document["id"].as_str().unwrap().to_owned();
    found.resources.iter().map(|user| id(&user.document)).collect()
}

/// The page at a position, and its round trips.
async fn page(world: &World, start: usize, count: usize) -> (Vec<String>, usize) {
    let query = at(start, count);
    let mut found = None;
    let cost = world
        .cost(async { found = Some(world.find(&query).await.unwrap()) })
        .await;
    world.directory.shared.idle().await;
    (ids(&found.unwrap()), cost)
}

/// All pages in sequence, each from the next of the processes; and what the dearest cost.
async fn walk(count: usize, mut process: impl FnMut(usize) -> World) -> (Vec<String>, usize) {
    let (mut seen, mut dearest) = (Vec::new(), 0);
    for number in 0.. {
        let (users, cost) = page(&process(number), seen.len() + 1, count).await;
        if users.is_empty() {
            break;
        }
        dearest = dearest.max(cost);
        seen.extend(users);
    }
    (seen, dearest)
}

impl World {
    /// The same process again.
    fn again(&self) -> World {
        let mut again = self.elsewhere();
        again.store = Arc::clone(&self.store);
        again.directory.store = Arc::clone(&self.directory.store);
        again.directory.shared = Arc::clone(&self.directory.shared);
        again
    }

    /// How many users there are, counted one by one.
    async fn counted(&self) -> usize {
        let (from, until) = rows::range("u~");
        let page = self
            .store
            .scan(&self.directory.access.tenant.id, &from, &until, usize::MAX)
            .await;
        page.unwrap().rows.len()
    }
}

/// R-PAGE-01, E-LIFE-06; design §4: "next page in sequence: as a first page (+ 1 elsewhere)".
#[tokio::test]
async fn pages_in_sequence_cost_their_size_in_any_process() {
    const USERS: usize = 6_000;
    let (world, clock) = filled(USERS).await;
    let all: Vec<String> = (0..USERS).map(id).collect();
    for (count, alone, by_turns, elsewhere) in [(7, 1, 1, 2), (100, 1, 1, 2), (450, 1, 1, 2), (1_000, 1, 2, 2)] {
        let count_of = |most: usize| format!("{count} a page, at most {most} round trips");
        let one = world.elsewhere();
        let (seen, cost) = walk(count, |_| one.again()).await;
        assert!(seen == all && cost <= alone, "{}: {cost}", count_of(alone));
        let two = [world.elsewhere(), world.elsewhere()];
        let (seen, cost) = walk(count, |number| two[number % 2].again()).await;
        assert!(seen == all && cost <= by_turns, "{}: {cost}", count_of(by_turns));
        let (seen, cost) = walk(count, |_| world.elsewhere()).await;
        assert!(seen == all && cost <= elsewhere, "{}: {cost}", count_of(elsewhere));
        // The next size finds no marks of this one.
        clock.seconds.fetch_add(3_600, Ordering::Relaxed);
    }
}

/// R-PAGE-01: what was listed before resources came and went misleads nobody afterwards, even if half of the new marks are
/// lost.
#[tokio::test]
async fn each_user_is_on_one_page_whatever_happened_before() {
    const USERS: usize = 5_000;
    let (world, _) = filled(USERS).await;
    let (seen, _) = walk(100, |_| world.elsewhere()).await;
    assert_eq!(seen.len(), USERS);
    for number in 10..30 {
        world.delete(&id(number)).await;
    }
    world.create(json!({ "userName": "new" })).await.unwrap();
    let all = page(&world, 1, 1_000).await.0;
    assert_eq!((all.len(), &all[0][..4]), (1_000, "0000"), "the new one is the first");

    let loses_half = |number: usize| {
        let mut process = world.elsewhere();
        if number.is_multiple_of(2) {
            let faults = FaultStore::new(Arc::clone(&process.directory.store));
            faults.inject(Call::Commit, .., Fault::LoseRequest);
            process.directory.store = Arc::new(faults);
        }
        process
    };
    for count in [100, 250] {
        let (mut seen, _) = walk(count, loses_half).await;
        assert_eq!(seen.len(), USERS - 19, "{count} a page");
        assert!(seen.is_sorted(), "{count} a page");
        seen.dedup();
        assert_eq!(seen.len(), USERS - 19, "{count} a page");
    }
}

/// While others write, a page in sequence still costs little, and near the start it is exact all the same.
#[tokio::test]
async fn pages_cost_little_while_others_write() {
    const USERS: usize = 6_000;
    let (world, _) = filled(USERS).await;
    let (mut next, mut dearest) = (1, 0);
    for number in 0..60 {
        world
            .create(json!({ "userName": format!("new{number}") }))
            .await
            .unwrap();
        let (users, cost) = page(&world.elsewhere(), next, 100).await;
        assert_eq!(users.len(), 100);
        next += users.len();
        dearest = dearest.max(cost);
    }
    // To the start or to a mark that is no longer true: 2,000 users and a page.
    assert!(dearest <= 4, "{dearest} round trips");
}

/// design §4: a jump walks from the nearest mark, or from the start, in steps of 1,000.
#[tokio::test]
async fn a_jump_walks_and_the_page_behind_it_does_not() {
    let (world, clock) = filled(6_000).await;
    let far = |number: usize| vec![id(number), id(number + 1)];
    let (users, cost) = page(&world, 4_001, 2).await;
    assert_eq!((users, cost), (far(4_000), 6), "marks, and 4,002 users");
    assert_eq!(page(&world.elsewhere(), 4_003, 2).await, (far(4_002), 2));
    assert_eq!(
        page(&world.elsewhere(), 5_001, 2).await,
        (far(5_000), 2),
        "from the mark before"
    );
    assert_eq!(
        page(&world.elsewhere(), 4_001, 2).await.0,
        far(4_000),
        "a mark behind is of no use"
    );
    clock.seconds.fetch_add(3_600, Ordering::Relaxed);
    assert_eq!(page(&world, 5_001, 2).await, (far(5_000), 7), "an hour later");
}

/// R-PAGE-01: beyond the end there is nothing, and it costs nothing to find out.
#[tokio::test]
async fn a_page_beyond_the_end_is_empty() {
    let (world, _) = filled(3_000).await;
    for start in [3_001, 100_000, usize::MAX] {
        assert_eq!(page(&world, start, 1_000).await, (Vec::new(), 1), "{start}");
    }
    assert_eq!(page(&world, 3_000, 1_000).await.0, [id(2_999)]);
    assert_eq!(page(&world, 1, 0).await, (Vec::new(), 1));
    assert_eq!(world.find(&at(99_999, 10)).await.unwrap().total, Some(3_000));
}

/// design §7: 503 at the deadline; who tries again gets further.
#[tokio::test(start_paused = true)]
async fn a_jump_that_takes_too_long_is_finished_by_the_next_one() {
    let (mut world, _) = filled(25_000).await;
    let slow = FaultStore::new(Arc::clone(&world.directory.store));
    slow.inject(Call::Scan, .., Fault::Delay(Duration::from_secs(1)));
    world.directory.store = Arc::new(slow);
    let mut tries = 0;
    let found = loop {
        tries += 1;
        world.directory.deadline = Instant::now() + Duration::from_secs(15);
        match world.find(&at(24_001, 10)).await {
            Ok(found) => break found,
            Err(Error::Store(_)) if tries < 5 => world.directory.shared.idle().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((ids(&found)[0].clone(), tries), (id(24_000), 3));
}

/// Nothing on which an answer depends: neither marks nor folds can fail a request.
#[tokio::test]
async fn a_page_is_answered_although_nothing_can_be_written() {
    let (mut world, _) = filled(3_000).await;
    let faults = FaultStore::new(Arc::clone(&world.directory.store));
    faults.inject(Call::Commit, .., Fault::Unavailable);
    world.directory.store = Arc::new(faults);
    let (seen, _) = walk(250, |_| {
        let mut process = world.elsewhere();
        process.directory.store = Arc::clone(&world.directory.store);
        process
    })
    .await;
    assert_eq!(seen, (0..3_000).map(id).collect::<Vec<_>>());
}

/// The process forgets the oldest first, and tells tenants apart by their partitions.
#[test]
fn a_process_remembers_a_thousand_marks() {
    let recent = marks::Recent::default();
    let now = OffsetDateTime::UNIX_EPOCH;
    for position in 1..=5_000 {
        recent.remember(
            "p",
            "u",
            marks::Mark {
                position,
                key: Some(id(position)),
                changes: None,
            },
            now,
        );
        recent.remember(
            "p",
            "u",
            marks::Mark {
                position,
                key: Some(id(position)),
                changes: Some(1),
            },
            now,
        );
    }
    assert_eq!(recent.len(), 1_024);
    let nearest = |partition, kind, position, seconds| {
        let found = recent.nearest(partition, kind, position, now + Duration::from_secs(seconds));
        found.map(|mark| (mark.position, mark.changes))
    };
    assert_eq!(nearest("p", "u", 9_000, 0), Some((5_000, Some(1))));
    assert_eq!(nearest("p", "u", 4_500, 3_599), Some((4_500, Some(1))));
    assert_eq!(nearest("p", "u", 3_000, 0), None);
    assert_eq!(nearest("p", "u", 4_500, 3_600), None);
    assert_eq!((nearest("q", "u", 4_500, 0), nearest("p", "g", 4_500, 0)), (None, None));
}

#[test]
fn a_true_mark_is_preferred_unless_it_is_far() {
    let mark = |position, changes| marks::Mark {
        position,
        key: Some(id(position)),
        changes: Some(changes),
    };
    for (marks, position, expected) in [
        (vec![], 5_000, 0),
        (vec![mark(900, 7)], 1_000, 900),
        (vec![mark(900, 6)], 1_000, 0),
        (vec![mark(900, 6)], 2_000, 0),
        (vec![mark(900, 6)], 2_001, 900),
        (vec![mark(3_900, 6), mark(2_500, 7)], 4_000, 2_500),
        (vec![mark(3_900, 6), mark(1_500, 7)], 4_000, 3_900),
        (vec![mark(3_900, 7), mark(3_950, 8), mark(3_800, 7)], 4_000, 3_900),
    ] {
        let chosen = marks::choose(marks.clone(), position, 7);
        assert_eq!(chosen.position, expected, "{position}: {marks:?}");
    }
}

#[tokio::test]
async fn old_marks_are_removed() {
    let (world, clock) = filled(1).await;
    let partition = &world.directory.access.tenant.id;
    let hour = time::Duration::HOUR;
    for (position, age) in [(1, hour), (2, hour / 2), (3, hour * 2), (4, time::Duration::ZERO)] {
        let body = MarkBody {
            format: FORMAT,
            position,
            key: id(position),
            changes: Some(1),
            time: clock.now() - age,
        };
        let change = Change::Upsert(rows::write(rows::mark_key("u", position), &body));
        world.store.commit(partition, &[change]).await.unwrap();
    }
    let old = marks::remove_old(&*world.store, partition, "u", clock.now(), world.directory.deadline);
    assert!(old.await.unwrap() > 0);
    let left = world.directory.marks_before("u", 100).await.unwrap();
    assert_eq!(left.iter().map(|mark| mark.position).collect::<Vec<_>>(), [4, 2]);
    let keys = world.keys().await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("mark~")).count(), 2);
}

/// design §4: totals are exact after every change, and those who write and read keep them short.
#[tokio::test]
async fn totals_are_exact_and_kept_short() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..300 {
        ids.push(world.create(json!({ "userName": format!("u{number}") })).await.unwrap());
        if number % 3 == 0 {
            world.delete(&ids.remove(0)).await;
        }
        if number % 50 == 0 {
            let total = world.query(None, 1).await.unwrap().total;
            assert_eq!(total, Some(ids.len()));
        }
    }
    world.directory.shared.idle().await;
    let rows = world
        .keys()
        .await
        .into_iter()
        .filter(|key| key.starts_with("sum~"))
        .count();
    assert!(rows < 200, "{rows} rows although 400 resources came and went");
    assert_eq!(world.query(None, 0).await.unwrap().total, Some(world.counted().await));
}

/// Whoever finds a long sum lets it be folded, whatever made it long.
#[tokio::test]
async fn a_long_total_is_folded_by_its_reader() {
    let (world, clock) = filled(10).await;
    let partition = &world.directory.access.tenant.id;
    for _ in 0..600 {
        let operation = rows::Operation::new(clock.now(), 0, clock.secret());
        let change = totals::count("u", &operation, 1);
        world.store.commit(partition, &[change]).await.unwrap();
    }
    assert_eq!(world.query(None, 1).await.unwrap().total, Some(610));
    world.directory.shared.idle().await;
    let rows = world
        .keys()
        .await
        .into_iter()
        .filter(|key| key.starts_with("sum~"))
        .count();
    assert_eq!(rows, 2, "base and seal");
    assert_eq!(world.query(None, 1).await.unwrap().total, Some(610));
}

fn is_send<T: Send>(_: T) {}

/// Queries run on servers of any kind.
#[tokio::test]
async fn a_query_can_move_between_threads() {
    let world = World::new().await;
    let directory: &Directory = &world.directory;
    let (types, query) = ([Arc::clone(&world.users)], ListQuery::default());
    let mut trace = crate::scim::normalize::Trace::default();
    is_send(directory.query(&types, &query, &[Shown::default()], "", &mut trace));
}
