//! Storage that fails in every way in which a network and a busy service can, and what clients are told.
//!
//! Reading order: this file, `world` (the service), `workload` (its clients), `proxy` (what stands between it and Azurite).

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures::{future::join_all, join};
use reqwest::Method;

mod proxy;
mod workload;
mod world;

use proxy::Fate;
use workload::Workload;
use world::{Tenant, World};

/// Seconds for a request: a fifth of the standard 15. Tries take a fifth of what they take then too, and all times of storage
/// are a fifth of those that they stand for.
const DEADLINE: u64 = 3;
/// Seconds for a request when nobody says otherwise.
const STANDARD: u64 = 15;
/// Seconds for a request where it is not about time.
const PATIENT: u64 = 30;
/// Most sockets to storage that a process may have.
const MAX_SOCKETS: usize = 32;

/// pain 2: as many ports as there may be connections, in whatever state they are.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_requests_at_once_have_32_sockets() {
    let Some(world) = World::start(5, PATIENT).await else {
        return;
    };
    let world = Arc::new(world);
    let counting = Counting::start(&world);
    world.proxy.set(|| Fate::Late(Duration::from_millis(20)));
    let done = five_hundred(&world, "fair").await;
    let (connections, _) = world.proxy.connections();
    println!(
        "{done} of 500 done, with {connections} connections in all; {:?}",
        world.waits()
    );
    assert_eq!(done, 500);
    // More than 32 only if the machine stalls for as long as a try may take.
    assert!(connections <= 2 * MAX_SOCKETS, "{connections} connections");
    let mut random = fastrand::Rng::with_seed(7);
    world.proxy.set(move || match random.u64(..20) {
        0 => Fate::Stall,
        1 => Fate::Reset,
        2 => Fate::Half,
        3 => Fate::Busy(1),
        4 => Fate::LandLater(Duration::from_secs(1)),
        _ => Fate::Late(Duration::from_millis(20)),
    });
    let done = five_hundred(&world, "bad").await;
    let (connections, _) = world.proxy.connections();
    println!(
        "{done} of 500 done when a quarter fails, with {connections} connections in all; {:?}",
        world.waits()
    );
    let Some(most) = counting.most() else {
        println!("skipped: counting sockets, as there is no /proc");
        return;
    };
    println!("at most {most} sockets at a time");
    assert!(most <= MAX_SOCKETS, "{most} sockets");
}

/// Nobody has to pay for a secret that he makes up: all who do have a quarter of what storage is asked at a time.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_made_up_take_a_quarter_of_the_turns() {
    let Some(world) = World::start(1, PATIENT).await else {
        return;
    };
    let tenant = &world.tenants[0];
    world.proxy.set(|| Fate::Late(Duration::from_millis(50)));
    let strangers: Vec<_> = (0..40).map(|secret| tenant.stranger(secret)).collect();
    let asked = strangers
        .iter()
        .map(|stranger| world.send(stranger, Method::GET, "/Users", None));
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    let (_, most) = world.proxy.connections();
    assert_eq!(most, MAX_SOCKETS / 4);
}

/// More strangers than there is room for, at everybody's URL: nobody is kept out whom the process has met, or who was there when it
/// started. Prints how many it takes, and what the others notice.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_made_up_keep_nobody_out() {
    const STRANGERS: usize = 700;
    let Some(world) = World::start(2, STANDARD).await else {
        return;
    };
    let (met, there) = (&world.tenants[0], &world.tenants[1]);
    assert_eq!(world.send(met, Method::GET, "/Users", None).await.status, 200);
    world.proxy.set(|| Fate::Late(Duration::from_millis(10)));
    let (is_over, began) = (AtomicBool::new(false), Instant::now());
    let strangers = join_all((0..STRANGERS).map(async |number| {
        let mut told = [0, 0];
        for round in (0..).take_while(|_| !is_over.load(SeqCst)) {
            let stranger = world.tenants[number % 2].stranger(round * STRANGERS + number);
            let status = world.send(&stranger, Method::GET, "/Users", None).await.status;
            assert!(status == 401 || status == 503, "{status}");
            told[usize::from(status == 503)] += 1;
            if status == 503 {
                // As it is told to.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        told
    }));
    let others = async {
        // Until there are more than there is room for.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let new = world.create("new").await;
        let noticed = join!(tests(&world, met, 20), tests(&world, there, 20), tests(&world, &new, 3));
        is_over.store(true, SeqCst);
        (noticed, began.elapsed().as_secs_f64())
    };
    let (told, ((met, there, new), took)) = tokio::select! {
        noticed = async { join!(strangers, others) } => noticed,
        () = world.background() => unreachable!("it never ends"),
    };
    let [unknown, full] = [0, 1].map(|of: usize| told.iter().map(|told| f64::from(told[of])).sum::<f64>() / took);
    println!("strangers: {unknown:.0} a second are told 401, {full:.0} a second 503");
    for (name, tests) in [("met before", &met), ("there before", &there), ("made since", &new)] {
        let passed = tests.iter().filter(|(status, _)| *status == 200).count();
        let mut times: Vec<_> = tests.iter().map(|(_, took)| took).collect();
        times.sort_unstable();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{name}: {passed} of {} tests pass, half within {median:?}, all within {slowest:?}",
            tests.len()
        );
    }
    assert!(full > 0.0, "there was room for all");
    assert!(met.iter().chain(&there).all(|(status, _)| *status == 200));
}

/// Test Connections of a tenant, one after the other: status and time of each.
async fn tests(world: &World, tenant: &Tenant, count: usize) -> Vec<(u16, Duration)> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let find = "/Users?filter=userName%20eq%20%22nobody%22";
        let answer = world.send(tenant, Method::GET, find, None).await;
        answers.push((answer.status, answer.took));
    }
    answers
}

/// Requests of five tenants at the same time, reads and writes; how many were done. Others are told 503.
async fn five_hundred(world: &World, name: &str) -> usize {
    let requests = (0..500).map(async |number| {
        let tenant = &world.tenants[number % world.tenants.len()];
        let user = workload::user(&format!("{name}{number}"));
        let find = format!("/Users?filter=userName%20eq%20%22{name}{number}%22");
        match number % 3 {
            0 => world.send(tenant, Method::POST, "/Users", Some(&user)).await,
            1 => world.send(tenant, Method::GET, &find, None).await,
            _ => world.send(tenant, Method::GET, "/Groups", None).await,
        }
    });
    let answers = join_all(requests).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201 | 503)));
    answers.iter().filter(|answer| answer.status < 300).count()
}

/// Looks for sockets again and again, beside everything else.
struct Counting {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Option<usize>>,
}

impl Counting {
    fn start(world: &Arc<World>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (world, ends) = (Arc::clone(world), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            // The system shows one socket after another, while others come and go; those that are there twice in a row
            // were there at the same time.
            let (mut most, mut before) = (0, BTreeSet::new());
            while !ends.load(SeqCst) {
                let now = world.sockets()?;
                most = most.max(now.intersection(&before).count());
                before = now;
                std::thread::sleep(Duration::from_millis(1));
            }
            Some(most)
        });
        Self { is_over, thread }
    }

    /// The most sockets at a time; nothing where they can't be counted.
    fn most(self) -> Option<usize> {
        self.is_over.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}

/// Nothing is lost, doubled or half done, and all are answered in time, whatever becomes of a third of the requests to storage.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_told_is_what_is_there() {
    let Some(world) = World::start(1, DEADLINE).await else {
        return;
    };
    let mut workload = Workload::prepare(&world).await;
    let mut random = fastrand::Rng::with_seed(7);
    world.proxy.set(move || {
        let faults = [
            Fate::Late(Duration::from_millis(random.u64(200..6_000))),
            Fate::Stall,
            Fate::Swallow,
            Fate::LandLater(Duration::from_millis(random.u64(600..6_000))),
            Fate::Reset,
            Fate::ResetAfter,
            Fate::Half,
            Fate::Busy(1),
        ];
        *faults.get(random.usize(..3 * faults.len())).unwrap_or(&Fate::Pass)
    });
    workload.run().await;
    println!("to storage: {}", world.proxy.fates());
    println!("to clients: {}", workload.told.lock().unwrap());
    world.proxy.clear();
    world.proxy.idle().await;
    let (in_doubt, done) = workload.agrees().await;
    let found = workload.check().await;
    println!("{in_doubt} in doubt, of which {done} were done; (users, groups, memberships) are {found:?}, sound");
}

/// As long as every request to storage meets the same fate, clients are told 503, or served if they can be. The very next
/// request afterwards is served: no connection is spoilt, and nobody remembers that storage was bad.
#[tokio::test(flavor = "multi_thread")]
async fn as_soon_as_storage_is_back_so_are_we() {
    let Some(world) = World::start(1, DEADLINE).await else {
        return;
    };
    let workload = Workload::prepare(&world).await;
    let late = |milliseconds| Fate::Late(Duration::from_millis(milliseconds));
    for (name, fate, is_served) in [
        ("stall", Fate::Stall, false),
        ("swallow", Fate::Swallow, false),
        ("later", Fate::LandLater(Duration::from_secs(1)), false),
        ("reset", Fate::Reset, false),
        ("reset-after", Fate::ResetAfter, false),
        ("half", Fate::Half, false),
        ("busy", Fate::Busy(1), false),
        // A second of latency, 10 and 30.
        ("late-1", late(200), true),
        ("late-10", late(2_000), false),
        ("late-30", late(6_000), false),
    ] {
        outage(&world, name, fate, is_served).await;
    }
    world.proxy.idle().await;
    let (users, groups, memberships) = workload.check().await;
    println!("afterwards {users} users, {groups} groups and {memberships} memberships are sound");
}

async fn outage(world: &World, name: &str, fate: Fate, is_served: bool) {
    let send = async |method, path: &str, body| world.send(&world.tenants[0], method, path, body).await;
    let user = |part: &str| workload::user(&format!("{part}-{name}"));
    let (before, created, changed, after) = (user("before"), user("during"), user("changed"), user("after"));
    let made = send(Method::POST, "/Users", Some(&before)).await;
    assert_eq!(made.status, 201, "{name}: {}", made.body);
    let own = format!("/Users/{}", made.id());
    world.proxy.set(move || fate);
    let answers = join!(
        send(Method::POST, "/Users", Some(&created)),
        send(Method::PUT, &own, Some(&changed)),
        send(Method::DELETE, "/Users/nobody", None),
        send(Method::GET, "/Users", None),
    );
    let told = [&answers.0, &answers.1, &answers.2, &answers.3].map(|answer| answer.status);
    assert_eq!(told, if is_served { [201, 200, 404, 200] } else { [503; 4] }, "{name}");
    world.proxy.clear();
    let next = join!(
        send(Method::GET, &own, None),
        send(Method::POST, "/Users", Some(&after))
    );
    assert_eq!((next.0.status, next.1.status), (200, 201), "{name}: {}", next.0.body);
    println!(
        "{name}: {told:?}, and then served in {:?} and {:?}",
        next.0.took, next.1.took
    );
    // Whoever comes back learns that it was done, or does it.
    let again = join!(
        send(Method::POST, "/Users", Some(&created)),
        send(Method::PUT, &own, Some(&changed))
    );
    assert!(matches!(again.0.status, 201 | 409), "{name}: {}", again.0.body);
    assert_eq!(again.1.status, 200, "{name}: {}", again.1.body);
}
