//! `kill -9` of the handler behind the Functions host, mid-load, as often as the host takes it and once more.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use functions_test_host::{Host, Mode, Options};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Desk,
    client::{Client, Scene},
};

const CLIENTS: usize = 20;
/// At this error the host gives up (functions-host.md §1.4), and the platform starts another one.
const GIVES_UP_AT: usize = 3;
/// After this a test gives up.
const LONG: Duration = Duration::from_mins(3);

async fn host(desk: &Desk, mode: Mode) -> Host {
    let program = "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath";
    let settings = desk.settings.iter().map(|(name, value)| (*name, value.as_str()));
    let environment = settings.chain([(program, env!("CARGO_BIN_EXE_scimgate"))]);
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = Options {
        mode: Some(mode),
        environment: owned.collect::<BTreeMap<_, _>>(),
        ..Options::new(env!("CARGO_MANIFEST_DIR"))
    };
    let host = Host::start(options).await.unwrap();
    // Then the first tenant is there.
    while !host.log().iter().any(|line| line.text.contains("scimgate listens")) {
        sleep(Duration::from_millis(20)).await;
    }
    host
}

/// Waits until so many more writes were answered; no client ends before.
async fn until_more(scene: &Scene, clients: &mut JoinSet<Client>, writes: usize) {
    let until = scene.acknowledged.load(Ordering::Relaxed) + writes;
    while scene.acknowledged.load(Ordering::Relaxed) < until {
        if let Some(ended) = clients.try_join_next() {
            panic!("a client ended: {:?}", ended.err());
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// With so many hosts, one after the other.
async fn kills(desk: &Desk, mode: Mode, hosts: usize) {
    let mut current = host(desk, mode).await;
    let scene = Scene::new(format!("http://{}", current.address()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(&scene, &format!("c{number}")).await.run());
    }
    for _ in 0..hosts {
        for kill in 1..=GIVES_UP_AT {
            // So that it meets many in the middle of something.
            until_more(&scene, &mut clients, fastrand::usize(CLIENTS..4 * CLIENTS)).await;
            assert!(
                current.handler_pid().is_some(),
                "gave up before kill {kill}: {:#?}",
                current.log()
            );
            current.kill_handler().await;
        }
        current.gave_up().await;
        current.stop().await;
        current = host(desk, mode).await;
        *scene.origin.lock().unwrap() = format!("http://{}", current.address());
    }
    until_more(&scene, &mut clients, CLIENTS).await;
    scene.stops.store(true, Ordering::Relaxed);
    let clients = clients.join_all().await;
    let mut kept = 0;
    for client in &clients {
        client.finds_everything().await;
        kept += client.users.len();
    }
    assert_eq!(scene.total("Users").await, kept as u64);
    assert_eq!(scene.total("Groups").await, CLIENTS as u64);
    current.stop().await;
    desk.is_sound();
    let [done, not] = scene.unanswered.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(done + not > 0, "no kill met a write");
    println!(
        "{mode:?}: {} kills under {CLIENTS} clients: {} answered writes are there; of {} without an answer {done} are, {not} \
         are not, 0 by half",
        hosts * GIVES_UP_AT,
        scene.acknowledged.load(Ordering::Relaxed),
        done + not,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_kills_on_sqlite_behind_a_proxy() {
    timeout(LONG, kills(&Desk::sqlite(), Mode::Proxy, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_kills_on_sqlite_behind_a_forwarder() {
    timeout(LONG, kills(&Desk::sqlite(), Mode::Forward, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_kills_on_tables() {
    let Some(desk) = Desk::tables() else {
        println!("skipped: kills on tables, as AZURITE_CONNECTION_STRING is not set");
        return;
    };
    timeout(LONG, kills(&desk, Mode::Proxy, 1)).await.unwrap();
}
