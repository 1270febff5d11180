//! What becomes of files: `lines` and files that are wrong, `others` who are in the way, and here what is imported.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Conflict, Count, End, How, Import, Progress, Pulse, Report};
use crate::{
    directory::{
        Directory, Precondition,
        check::Inspection,
        tests::{World, shown},
    },
    rows,
    scim::schema::{Catalog, ENTERPRISE_USER_URN as ENTERPRISE, ResourceType},
    store::faults::{Call, Fault},
};

mod lines;
mod others;

impl World {
    fn import_as(&self, how: How) -> Import {
        Import {
            directory: self.directory.clone(),
            catalog: Arc::new(Catalog::standard()),
            step: Duration::from_mins(1),
            how,
            stop: Arc::new(AtomicBool::new(false)),
            pulse: Pulse::default(),
        }
    }

    async fn import(&self, file: &str) -> Report {
        self.import_how(file, How::default()).await
    }

    async fn import_how(&self, file: &str, how: How) -> Report {
        self.import_as(how).run(Cursor::new(file), |_| {}).await.unwrap()
    }

    async fn document(&self, of: &ResourceType, id: &str) -> Value {
        let stored = self.directory().read(of, id, shown(of)).await.unwrap();
        Value::Object(stored.document(of, "https://example.com/scim/acme"))
    }

    /// With time enough, however long the test has taken.
    fn directory(&self) -> Directory {
        Directory {
            deadline: Instant::now() + Duration::from_mins(2),
            ..self.directory.clone()
        }
    }

    async fn members_of(&self, group: &str) -> Vec<String> {
        let document = self.document(&self.groups, group).await;
        let members = document["members"].as_array().cloned().unwrap_or_default();
        let id = |member: &Value| member["value"].as_str().unwrap().to_owned();
        members.iter().map(id).collect()
    }

    /// Everything that is there but what each try does anew: versions, events and pieces of totals.
    async fn content(&self) -> BTreeMap<String, Value> {
        let mut content = BTreeMap::new();
        for row in self.rows_of("").await {
            let key = row.key.split('~').next().unwrap().to_owned();
            if matches!(&*key, "o" | "sum" | "pend") || row.key.ends_with("~-") {
                continue;
            }
            let mut body: Value = serde_json::from_slice(&row.body).unwrap();
            body.as_object_mut().unwrap().remove("created");
            content.insert(row.key, body);
        }
        for kind in ["u", "g"] {
            let directory = self.directory();
            let partition = &directory.access.tenant.id;
            let tally = crate::totals::tally(&*directory.store, partition, kind, directory.deadline).await;
            content.insert(format!("total of {kind}"), json!(tally.unwrap().total()));
        }
        content
    }

    async fn check_sound(&self) {
        let inspection = Inspection::new(self.directory(), Duration::from_mins(2), 3, |_| {});
        let report = inspection.check().await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

fn user(id: &str, name: &str) -> Value {
    json!({ "id": id, "userName": name })
}

fn group(id: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({ "id": id, "displayName": format!("Group {id}"), "members": members })
}

fn file(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |mut file, line| {
        writeln!(file, "{line}").unwrap();
        file
    })
}

fn conflicts(report: &Report) -> Vec<(u32, &'static str)> {
    let short = |conflict: &Conflict| (conflict.line, conflict.why.name());
    report.conflicts.iter().map(short).collect()
}

const MADE_3: Count = Count { made: 3, same: 0 };

fn some_file() -> String {
    let manager = |id: &str| json!({ "manager": { "value": id } });
    file(&[
        group("g1", &["u2", "g2", "42"]),
        json!({ "userName": "bjensen@example.com" }),
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "id": "42", "externalId": "e-42", "userName": "b@example.com", "active": false,
            "emails": [{ "value": "b@example.com", "type": "work" }],
            "meta": { "resourceType": "User", "created": "2020-01-02T03:04:05Z", "lastModified": "2021-02-03T04:05:06.789Z" },
            "groups": [{ "value": "g1" }],
            ENTERPRISE: manager("u2"),
        }),
        json!({ "id": "u2", "userName": "c@example.com", ENTERPRISE: manager("42") }),
        group("g2", &["42"]),
        group("g3", &[]),
    ])
}

#[tokio::test]
async fn lines_in_any_order_become_what_they_describe() {
    let world = World::new().await;
    let report = world.import(&some_file()).await;
    assert_eq!((report.users, report.groups, report.end), (MADE_3, MADE_3, End::Done));
    assert_eq!(report.memberships, Count { made: 4, same: 0 });
    let document = world.document(&world.users, "42").await;
    assert_eq!(document["meta"]["created"], "2020-01-02T03:04:05.000Z");
    assert_eq!(document["meta"]["lastModified"], "2021-02-03T04:05:06.789Z");
    assert_eq!(document["externalId"], "e-42");
    assert_eq!(document[ENTERPRISE]["manager"]["value"], "u2");
    assert_eq!(document["active"], false);
    assert_eq!(document["groups"].as_array().unwrap().len(), 2);
    assert_eq!(world.members_of("g1").await, ["42", "g2", "u2"]);
    for filter in [
        "userName eq \"BJensen@example.com\"",
        "emails.value eq \"B@EXAMPLE.COM\"",
    ] {
        assert_eq!(world.query(Some(filter), 10).await.unwrap().total, Some(1), "{filter}");
    }
    assert_eq!(world.query(None, 10).await.unwrap().total, Some(3));
    world.check_sound().await;
}

#[tokio::test]
async fn what_is_imported_is_what_a_request_makes() {
    let (by_import, by_request) = (World::new().await, World::new().await);
    let attributes =
        json!({ "userName": "B@example.com", "externalId": "e", "emails": [{ "value": "b@example.com" }] });
    by_request.create(attributes.clone()).await.unwrap();
    by_import.import(&file(&[attributes])).await;
    let shape = |keys: Vec<String>| -> Vec<String> {
        let letter = |key: &String| key.split('~').next().unwrap().to_owned();
        keys.iter().map(letter).collect()
    };
    assert_eq!(shape(by_import.keys().await), shape(by_request.keys().await));
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let world = World::new().await;
    world.import(&some_file()).await;
    let before = world.rows_of("").await;
    for dry_run in [true, false] {
        let report = world
            .import_how(
                &some_file(),
                How {
                    dry_run,
                    ..How::default()
                },
            )
            .await;
        let same = |same| Count { made: 0, same };
        assert_eq!(
            (report.users, report.groups, report.memberships),
            (same(3), same(3), same(4))
        );
    }
    assert_eq!(world.rows_of("").await, before);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_tells_what_would_be_made() {
    let world = World::new().await;
    let before = world.keys().await;
    let how = How {
        dry_run: true,
        ..How::default()
    };
    let report = world.import_how(&some_file(), how).await;
    assert_eq!(
        (report.users, report.groups, report.end),
        (MADE_3, MADE_3, End::Planned)
    );
    assert_eq!(report.memberships, Count { made: 4, same: 0 });
    assert_eq!(world.keys().await, before);
}

#[tokio::test]
async fn events_tell_that_it_was_an_import_and_whether_it_is_news() {
    for as_new in [false, true] {
        let world = World::new().await;
        world
            .import_how(
                &some_file(),
                How {
                    as_new,
                    ..How::default()
                },
            )
            .await;
        let events = world.events().await;
        let imports: Vec<_> = events.iter().filter(|event| event.kind == "import").collect();
        assert_eq!(imports.len(), 3 + 3 + 2);
        assert!(imports.iter().all(|event| event.is_new == as_new));
    }
}

/// A resource is as old as its last change at least.
#[tokio::test]
async fn a_time_that_is_not_told_is_taken_from_the_other() {
    let world = World::new().await;
    let modified = json!({ "resourceType": "User", "lastModified": "2021-02-03T04:05:06Z" });
    world
        .import(&file(&[json!({ "id": "a", "userName": "a", "meta": modified })]))
        .await;
    let document = world.document(&world.users, "a").await;
    let meta = &document["meta"];
    assert_eq!(meta["created"], "2021-02-03T04:05:06.000Z");
    assert_eq!(meta["lastModified"], meta["created"]);
}

/// Only what an import began is completed: a membership that somebody ended since stays ended.
#[tokio::test]
async fn a_membership_that_was_ended_since_does_not_come_back() {
    let world = World::new().await;
    let lines = file(&[user("a", "a"), user("b", "b"), group("g", &["a", "b"])]);
    world.import(&lines).await;
    let leave = json!([{ "op": "remove", "path": "members[value eq \"a\"]" }]);
    world.directory.change(&world.groups, "g", leave).await.unwrap();
    let report = world.import(&lines).await;
    assert_eq!(conflicts(&report), [(3, "differs")]);
    assert_eq!(world.members_of("g").await, ["b"]);
}

/// Lines whose members need several commits, and one that needs several decisions.
fn large_file(users: usize, sizes: &[usize]) -> String {
    let ids: Vec<String> = (0..users).map(|number| format!("u{number}")).collect();
    let mut lines: Vec<Value> = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let members: Vec<&str> = ids.iter().take(*size).map(String::as_str).collect();
        lines.push(group(&format!("g{number}"), &members));
    }
    lines.extend(ids.iter().map(|id| user(id, id)));
    file(&lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_any_size_are_imported() {
    let world = World::new().await;
    let report = world.import(&large_file(10_100, &[10_100, 100, 33, 32, 0])).await;
    assert_eq!(report.memberships.made, 10_100 + 100 + 33 + 32);
    let directory = world.directory();
    let edges = directory
        .edges(&crate::directory::edges::Side::Members.of("g0"), usize::MAX)
        .await;
    assert_eq!(edges.unwrap().edges.len(), 10_100);
    world.check_sound().await;
    assert_eq!(
        world
            .import(&large_file(10_100, &[10_100, 100, 33, 32, 0]))
            .await
            .memberships
            .made,
        0
    );
}

/// Nothing is asserted of time; of commits it is: sixteen users and more in each.
#[tokio::test]
async fn a_commit_has_as_many_resources_as_fit() {
    let world = World::new().await;
    let lines: Vec<Value> = (0..330)
        .map(|number| user(&number.to_string(), &number.to_string()))
        .collect();
    world.store.take();
    world.import(&file(&lines)).await;
    let commits = world.store.take().commits;
    // Three rows each, and one that counts.
    assert!(commits <= 330_usize.div_ceil(33) + 1, "{commits} commits");
}

#[tokio::test]
async fn what_is_imported_lives_on_like_everything_else() {
    let world = World::new().await;
    world.import(&some_file()).await;
    let patched = world
        .patch("42", json!([{ "op": "replace", "path": "active", "value": true }]))
        .await
        .unwrap();
    assert_eq!(patched.attributes.as_map()["active"], true);
    let deleted = world.directory.delete(&world.groups, "g1", &Precondition::None).await;
    deleted.unwrap();
    world.delete("u2").await;
    assert_eq!(world.query(None, 10).await.unwrap().total, Some(2));
    let keys = world.keys().await;
    assert!(keys.contains(&rows::gone_key("u2")), "{keys:?}");
    world.check_sound().await;
}

#[tokio::test]
async fn who_waits_for_members_and_managers_to_be_looked_up_is_told_how_far_it_is() {
    let mut lines: Vec<Value> = (0..1_000)
        .map(|number| json!({ "id": number.to_string(), "userName": number.to_string(), "manager": "x" }))
        .collect();
    lines.extend((0..500).map(|number| group(&format!("g{number}"), &["1"])));
    let told = std::sync::Mutex::new(Vec::new());
    let progress = |progress| {
        if let Progress::LookedUp(done, all) = progress {
            told.lock().unwrap().push((done, all));
        }
    };
    let world = World::new().await;
    let how = How {
        dry_run: true,
        ..How::default()
    };
    world
        .import_as(how)
        .run(Cursor::new(file(&lines)), progress)
        .await
        .unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.len() >= 3 && told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&(1_500, 1_500)));
}

/// What a large group leaves behind is read by every reader of memberships; where no service runs, somebody else removes it.
#[tokio::test]
async fn what_large_groups_leave_behind_is_purged_or_goes_with_the_next_import() {
    let lines = large_file(400, &[400, 399]);
    let left = async |world: &World| {
        let rows = world.rows_of("pend~").await;
        rows.len()
    };
    for is_purged in [true, false] {
        let world = World::new().await;
        world.import(&lines).await;
        assert_eq!(left(&world).await, 2);
        let later = world.later(time::Duration::minutes(2));
        if is_purged {
            let kept = crate::directory::Kept {
                deleted: time::Duration::days(30),
                events: Duration::from_hours(24 * 365),
            };
            let (purged, _) = later.directory().purge(kept, None).await.unwrap();
            assert_eq!(purged.left_behind, 2);
        } else {
            later.import(&file(&[group("g9", &["u1"])])).await;
        }
        assert_eq!(left(&world).await, 0);
    }
}
