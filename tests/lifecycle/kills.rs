//! `kill -9` of the handler behind the Functions host, mid-load, as often as the host takes it and once more.

use functions_test_host::Mode;
use tokio::time::timeout;

use crate::{
    Desk,
    load::{CLIENTS, LONG, Load, host},
};

/// At this error the host gives up (functions-host.md §1.4), and the platform starts another one.
const GIVES_UP_AT: usize = 3;

/// With so many hosts, one after the other.
async fn kills(desk: &Desk, mode: Mode, hosts: usize) {
    let mut current = host(desk, mode).await;
    let mut load = Load::start(&current).await;
    for _ in 0..hosts {
        for kill in 1..=GIVES_UP_AT {
            // So that it meets many in the middle of something.
            load.goes_on(fastrand::usize(CLIENTS..4 * CLIENTS)).await;
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
        load.moves_to(&current);
    }
    load.goes_on(CLIENTS).await;
    let scene = load.scene.clone();
    let [done, not] = load.ends(desk, current).await;
    assert!(done + not > 0, "no kill met a write");
    println!(
        "{mode:?}: {} kills under {CLIENTS} clients: {} answered writes are there; of {} without an answer {done} are, {not} \
         are not, 0 by half",
        hosts * GIVES_UP_AT,
        scene.acknowledged(),
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
