//! Bulk requests to a service whose store fails as told: what was done is reported as done, and what was not can be
//! sent again.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::super::tests::{Answer, FAULTS, World, user};
use crate::store::faults::{Call, Fault};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Creates of users with these names; what stands behind a colon is the bulkId of the manager.
fn creates(names: &[&str]) -> Value {
    let create = |text: &&str| {
        let (name, manager) = text.split_once(':').unwrap_or((text, ""));
        let mut data = user(name);
        if !manager.is_empty() {
            data[ENTERPRISE] = json!({ "manager": { "value": format!("bulkId:{manager}") } });
        }
        json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": data })
    };
    let operations: Vec<Value> = names.iter().map(create).collect();
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations })
}

#[track_caller]
fn statuses(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let operations = answer.body["Operations"].as_array().unwrap();
    operations
        .iter()
        .map(|operation| operation["status"].as_str().unwrap())
        .collect()
}

async fn send(world: &World, names: &[&str]) -> Answer {
    world.send("POST", "/Bulk", Some(&creates(names))).await
}

async fn users(world: &World) -> u64 {
    world.send("GET", "/Users?count=0", None).await.body["totalResults"]
        .as_u64()
        .unwrap()
}

/// Waits until there are as many users: a write that was under way goes on to its end.
async fn until_there_are(world: &World, number: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while users(world).await != number {
        assert!(Instant::now() < deadline, "there are {}", users(world).await);
        sleep(Duration::from_millis(20)).await;
    }
}

/// R-BULK-01: one fault is healed inside of its operation.
#[test]
fn one_fault_is_healed_and_nobody_sees_it() {
    actix_web::rt::System::new().block_on(async {
        for fault in FAULTS {
            let world = World::start(&[]).await;
            world.store.inject(Call::Commit, 2..=2, fault);
            let answer = send(&world, &["a:b", "b:a", "c"]).await;
            assert_eq!(statuses(&answer), ["201", "201", "201"], "{fault:?}: {}", answer.body);
            assert!(!answer.retry_after);
            world.store.heal();
            world.store.land().await;
            assert_eq!(users(&world).await, 3, "{fault:?}");
            assert_eq!(
                (world.events("create").await, world.events("patch").await),
                (3, 1),
                "{fault:?}"
            );
        }
    });
}

/// R-BULK-01: the store is gone from the third write on. All is answered, with when to come again; nothing is answered
/// 503 as a whole after something was written. What is sent again then is done once.
#[test]
fn an_outage_midway_leaves_what_was_done_and_reports_it() {
    actix_web::rt::System::new().block_on(async {
        for fault in [Fault::Unavailable, Fault::Busy(None), Fault::LoseRequest] {
            let world = World::start(&["--deadline", "1"]).await;
            world.store.inject(Call::Commit, 3.., fault);
            let names = ["a", "b", "c", "d:c", "e"];
            let answer = send(&world, &names).await;
            assert_eq!(
                statuses(&answer),
                ["201", "201", "503", "503", "503"],
                "{fault:?}: {}",
                answer.body
            );
            assert!(answer.retry_after, "{fault:?}");
            let detail = answer.body["Operations"][4]["response"]["detail"].as_str().unwrap();
            assert!(detail.contains(" Reference "), "{detail}");
            world.store.heal();
            let again = send(&world, &names).await;
            assert_eq!(
                statuses(&again),
                ["409", "409", "201", "201", "201"],
                "{fault:?}: {}",
                again.body
            );
            assert_eq!((users(&world).await, world.events("create").await), (5, 5), "{fault:?}");
        }
    });
}

/// R-BULK-01: a write that hangs. The answer comes in time; what is under way goes on to its end, and nothing is begun
/// after it.
#[test]
fn when_time_runs_out_midway_the_rest_is_503_each() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&["--deadline", "1"]).await;
        world
            .store
            .inject(Call::Commit, 3..=3, Fault::Delay(Duration::from_secs(2)));
        let answer = send(&world, &["a", "b", "c", "d", "e"]).await;
        assert_eq!(
            statuses(&answer),
            ["201", "201", "503", "503", "503"],
            "{}",
            answer.body
        );
        assert!(answer.retry_after);
        assert_eq!(users(&world).await, 2);
        // The operations take more than that, the answer less.
        assert!(!world.is_free_but(8 * 1024), "they are held by what is under way");
        until_there_are(&world, 3).await;
        let again = send(&world, &["a", "b", "c", "d", "e"]).await;
        assert_eq!(statuses(&again), ["409", "409", "409", "201", "201"], "{}", again.body);
    });
}

/// RFC 7644 §3.7.1: what was created before time ran out is named, though it lacks its reference.
#[test]
fn a_circle_that_time_leaves_open_says_where_it_stands() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&["--deadline", "1"]).await;
        world.store.inject(Call::Commit, 3.., Fault::Unavailable);
        let answer = send(&world, &["a:b", "b:a"]).await;
        assert_eq!(statuses(&answer), ["201", "503"], "{}", answer.body);
        let location = answer.body["Operations"][1]["location"].as_str().unwrap();
        let path = location.strip_prefix(&world.url).unwrap();
        assert_eq!(world.send("GET", path, None).await.body["userName"], "b");
    });
}

/// A bug in one write is no reason to keep quiet about the others.
#[test]
fn a_panic_is_one_operations_500() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&[]).await;
        world.store.inject(Call::Commit, 2..=2, Fault::Panic);
        let answer = send(&world, &["a", "b", "c", "d:b"]).await;
        assert_eq!(statuses(&answer), ["201", "500", "201", "500"], "{}", answer.body);
        assert_eq!(users(&world).await, 2);
    });
}

/// Design §7: whoever sent it is gone, and all of it is done.
#[test]
fn a_client_that_goes_away_takes_nothing_back() {
    actix_web::rt::System::new().block_on(async {
        let world = World::start(&[]).await;
        world
            .store
            .inject(Call::Commit, 1..=1, Fault::Delay(Duration::from_millis(500)));
        let request = world
            .client
            .post(format!("{}/Bulk", world.url))
            .bearer_auth(&world.token);
        let request = request.header("content-type", "application/scim+json");
        let request = request.body(creates(&["a:b", "b:a", "c"]).to_string());
        let gone = request.timeout(Duration::from_millis(100)).send().await;
        assert!(gone.is_err_and(|error| error.is_timeout()));
        until_there_are(&world, 3).await;
    });
}
