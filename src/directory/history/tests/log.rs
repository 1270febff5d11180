//! The order of a log, who follows it, and what is forgotten of it.

use super::*;

/// A command's step may take two minutes, and what it writes has the time at which it began.
#[tokio::test]
async fn who_follows_is_told_what_lands_late_and_nothing_from_before() {
    let world = World::new().await;
    let begun = world.directory.ambient.now();
    world.create(user("a")).await.unwrap();
    let since = world.directory.ambient.now();
    world.create(user("b")).await.unwrap();
    let scope = Scope {
        since,
        until: world.directory.ambient.now(),
        ..world.scope()
    };
    let mut follower = Follower::behind(Arc::clone(&world.directory.store), STEP, scope.clone());
    for event in world.log(scope).await {
        follower.told(&event);
    }
    let mut news = async || {
        let news = follower.news(world.directory.ambient.now()).await.unwrap();
        news.into_iter().map(|event| event.body.kind).collect::<Vec<_>>()
    };
    assert_eq!(news().await, [""; 0]);
    let late = async |time: OffsetDateTime, number: u8| {
        let operation = Operation::new(time, 0, [number; 32]);
        let body = EventBody::new("late", ("User", "x"), "test", operation.time());
        let insert = Change::Insert(rows::write(rows::event_key(&operation), &body));
        let partition = &world.directory.access.tenant.id;
        world.store.commit(partition, &[insert]).await.unwrap();
    };
    late(since + Duration::MILLISECOND, 1).await;
    assert_eq!(news().await, ["late"]);
    late(begun, 2).await;
    assert_eq!(news().await, [""; 0], "before it was asked for");
}

#[tokio::test]
async fn a_log_is_in_the_order_of_time_whatever_wrote_it() {
    let world = World::new().await;
    world.create(user("a")).await.unwrap();
    world.refuse("unique-taken", Some("a"), "").await;
    world.create(user("b")).await.unwrap();
    world.refuse("unique-taken", Some("a"), "").await;
    let bar = Operation::new(world.directory.ambient.now(), 0, [7; 32]);
    let bar = Change::Insert(Write {
        key: rows::event_key(&bar),
        stamp: BARRED.to_vec(),
        body: Vec::new(),
    });
    let partition = &world.directory.access.tenant.id;
    world.store.commit(partition, &[bar]).await.unwrap();
    let told = |event: &Event| {
        (
            event.body.kind.clone(),
            event.body.refused.as_ref().map(|one| one.count),
        )
    };
    let all = world.log(world.scope()).await;
    let expected = [
        ("tenant-create", None),
        ("create", None),
        ("refuse", Some(2)),
        ("create", None),
    ];
    let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected);
    let refused = all[2].body.refused.as_ref().unwrap();
    assert!(refused.first < all[3].time() && all[3].time() < refused.last);
    let late = Scope {
        since: all[3].time(),
        ..world.scope()
    };
    assert_eq!(world.log(late).await.len(), 2, "a refusal ends with its last one");
    let operators = Scope {
        tenant: None,
        ..world.scope()
    };
    assert_eq!(world.log(operators).await.len(), 1);
    world.is_sound().await;
}

#[tokio::test]
async fn who_follows_is_told_each_event_once_and_each_further_refusal() {
    let world = World::new().await;
    world.create(user("a")).await.unwrap();
    world.refuse("unique-taken", Some("a"), "").await;
    let scope = Scope {
        until: world.directory.ambient.now(),
        ..world.scope()
    };
    let mut follower = Follower::behind(Arc::clone(&world.directory.store), STEP, scope.clone());
    for event in world.log(scope).await {
        follower.told(&event);
    }
    let mut news = async || {
        let news = follower.news(world.directory.ambient.now()).await.unwrap();
        news.into_iter().map(|event| event.body.kind).collect::<Vec<_>>()
    };
    assert_eq!(news().await, [""; 0]);
    world.create(user("b")).await.unwrap();
    assert_eq!(news().await, ["create"]);
    world.refuse("unique-taken", Some("a"), "").await;
    assert_eq!(news().await, ["refuse"]);
    assert_eq!(news().await, [""; 0]);
}

fn event(number: u64, parts: usize) -> Vec<Change> {
    let operation = Operation::new(OffsetDateTime::UNIX_EPOCH, number, [0; 32]);
    let body = EventBody {
        parts,
        ..EventBody::new("patch", ("Group", "g"), "test", operation.time())
    };
    let mut changes = vec![Change::Insert(rows::write(rows::event_key(&operation), &body))];
    changes.extend((0..parts).map(|part| {
        let key = rows::event_part_key(&operation.to_string(), part);
        Change::Insert(rows::write(key, &MembersBody::default()))
    }));
    changes
}

/// How many rows each step takes until there are no more, and the first that is left.
async fn forgotten(world: &World, before: OffsetDateTime) -> (Vec<usize>, String) {
    let store = Arc::clone(&world.directory.store);
    let mut steps = Vec::new();
    loop {
        let gone = forget(&store, "p", before, Instant::now() + STEP).await.unwrap();
        if gone == 0 {
            break;
        }
        steps.push(gone);
    }
    let left = store.scan("p", "o~", "p", 1).await.unwrap();
    let first = left
        .rows
        .first()
        .map(|row| row.key[.."o~0000000000000000".len()].to_owned());
    (steps, first.unwrap_or_default())
}

#[tokio::test]
async fn old_events_go_in_steps_with_all_their_parts() {
    let world = World::new().await;
    for changes in [
        event(1, 2),
        (2..98).flat_map(|number| event(number, 0)).collect(),
        event(98, 3),
        event(1_000, 0),
    ] {
        world.store.commit("p", &changes).await.unwrap();
    }
    let before = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(500);
    let (steps, left) = forgotten(&world, before).await;
    // The last event of the first hundred rows has parts behind it.
    assert_eq!(steps, [99, 4]);
    assert_eq!(left, "o~00000000000003e9");
}

#[tokio::test]
async fn what_is_still_to_be_spread_is_not_forgotten() {
    let world = World::new().await;
    let operation = Operation::new(OffsetDateTime::UNIX_EPOCH, 2, [0; 32]).to_string();
    let journal = JournalBody {
        format: FORMAT,
        group: "g".to_owned(),
        parts: 1,
        operation: operation.clone(),
    };
    let pending = Change::Insert(rows::write(rows::journal_key(&operation), &journal));
    for changes in [event(1, 0), event(2, 1), event(3, 0), vec![pending]] {
        world.store.commit("p", &changes).await.unwrap();
    }
    let before = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(500);
    let (steps, left) = forgotten(&world, before).await;
    assert_eq!(steps, [1]);
    assert_eq!(left, "o~0000000000000003");
    let done = Change::Delete(rows::journal_key(&operation), None);
    world.store.commit("p", &[done]).await.unwrap();
    assert_eq!(forgotten(&world, before).await, (vec![3], String::new()));
    let control = forget(&world.directory.store, CONTROL, before, Instant::now() + STEP).await;
    assert_eq!(control.unwrap(), 0, "what operators did is of another time");
}
