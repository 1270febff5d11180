//! A deployment while customers write: the new process starts before the old one is stopped, as in a rolling update and when
//! the host restarts its job host, or after it, as when all instances are recreated.

use std::time::{Duration, Instant};

use functions_test_host::{Host, Mode};
use tokio::time::timeout;

use crate::{
    Desk,
    load::{CLIENTS, LONG, Load, host},
};

const DEPLOYMENTS: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Order {
    NewBeforeOld,
    StopThenStart,
}

/// The host that serves afterwards, and how long it took until that answered a write.
async fn deploy(desk: &Desk, mode: Mode, order: Order, old: Host, load: &mut Load) -> (Host, Duration) {
    let began = Instant::now();
    let new = match order {
        Order::NewBeforeOld => {
            old.restart_job_host().await.unwrap();
            old
        }
        Order::StopThenStart => {
            old.stop().await;
            let new = host(desk, mode).await;
            load.moves_to(&new);
            new
        }
    };
    load.goes_on(1).await;
    (new, began.elapsed())
}

async fn deploys(desk: &Desk, mode: Mode, order: Order) {
    let mut current = host(desk, mode).await;
    let mut load = Load::start(&current).await;
    let mut longest = Duration::ZERO;
    for _ in 0..DEPLOYMENTS {
        load.goes_on(fastrand::usize(CLIENTS..4 * CLIENTS)).await;
        let (new, took) = deploy(desk, mode, order, current, &mut load).await;
        (current, longest) = (new, longest.max(took));
    }
    load.goes_on(CLIENTS).await;
    let scene = load.scene.clone();
    let [done, not] = load.ends(desk, current).await;
    let (sent, cut_off, unreached) = scene.requests();
    println!(
        "{order:?}, {mode:?}: {DEPLOYMENTS} deployments under {CLIENTS} clients: {sent} requests, {cut_off} cut off, {unreached} \
         found nobody; of the writes among them {done} are done, {not} are not, 0 by half; one took {} ms at most",
        longest.as_millis(),
    );
    if let Order::NewBeforeOld = order {
        assert_eq!((cut_off, unreached), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_with_the_new_process_first_fails_no_request() {
    for mode in [Mode::Proxy, Mode::Forward] {
        timeout(LONG, deploys(&Desk::sqlite(), mode, Order::NewBeforeOld))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_stops_first_loses_no_write_that_was_answered() {
    timeout(LONG, deploys(&Desk::sqlite(), Mode::Proxy, Order::StopThenStart))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_on_tables_fail_no_more() {
    let Some(desk) = Desk::tables() else {
        println!("skipped: deployments on tables, as AZURITE_CONNECTION_STRING is not set");
        return;
    };
    timeout(LONG, deploys(&desk, Mode::Proxy, Order::NewBeforeOld))
        .await
        .unwrap();
}
