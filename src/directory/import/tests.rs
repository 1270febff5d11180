//! Files, good and bad, into tenants of which something may be there already; cut off at every commit, and done again.

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

/// A file of one line, or several, has these conflicts, and nothing is written because of them.
#[track_caller]
fn check_conflicts(file: &str, expected: &[(u32, &'static str)]) {
    let check = async {
        let world = World::new().await;
        let before = world.keys().await;
        let report = world.import(file).await;
        assert_eq!(conflicts(&report), expected, "{:?}", report.conflicts);
        assert_eq!(report.end, End::Refused);
        assert_eq!(world.keys().await, before);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(check);
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

#[tokio::test]
async fn a_file_may_have_been_edited_anywhere() {
    let world = World::new().await;
    let lines = "\u{FEFF}{\"userName\":\"a\"}\r\n\r\n   \n{\"userName\":\"b\"}\r\n{\"userName\":\"c\"}";
    let report = world.import(lines).await;
    assert_eq!((report.lines, report.users), (3, MADE_3));
}

#[test]
fn a_line_that_is_no_resource_is_named() {
    check_conflicts("{\"userName\":\"a\"}\n\n{\"userName\":\n", &[(3, "not-json")]);
    check_conflicts(
        "{}\n[]\n1\n{\"externalId\":\"e\"}\n",
        &[(1, "no-type"), (2, "no-type"), (3, "no-type"), (4, "no-type")],
    );
    check_conflicts("{\"userName\":\"a\",\"userName\":\"b\"}", &[(1, "refused")]);
    check_conflicts("{\"userName\":\"a\",\"active\":7}", &[(1, "refused")]);
    check_conflicts("{\"userName\":\"a\",\"shoe\":7}", &[(1, "unknown-attribute")]);
    check_conflicts(&file(&[user(&"x".repeat(129), "a")]), &[(1, "id")]);
    for id in ["a/b", "a b", "é", "..", ".", ""] {
        check_conflicts(&file(&[user(id, "a")]), &[(1, "id")]);
    }
    for id in [json!(4725.5), json!(-1), json!(true), json!({ "value": "a" })] {
        check_conflicts(&file(&[json!({ "id": id, "userName": "a" })]), &[(1, "id")]);
    }
    for created in [json!("yesterday"), json!("9999-01-01T00:00:00Z"), json!(7)] {
        let line = json!({ "userName": "a", "meta": { "created": created } });
        check_conflicts(&file(&[line]), &[(1, "time")]);
    }
    check_conflicts("\u{FFFE}{\"userName\":\"a\"}", &[(1, "not-json")]);
}

#[test]
fn a_line_that_is_too_long_is_named_and_the_next_one_is_read() {
    let long = json!({ "userName": "x".repeat(super::MAX_LINE_BYTES) });
    check_conflicts(&file(&[long, user("b/", "b")]), &[(1, "too-long"), (2, "id")]);
}

/// The message names line and column.
#[tokio::test]
async fn what_is_no_json_is_found_at_line_70_000() {
    let mut lines = String::new();
    for number in 1..=70_000 {
        writeln!(
            lines,
            "{{\"userName\":\"{number}\"{}",
            if number == 70_000 { ",,}" } else { "}" }
        )
        .unwrap();
    }
    let world = World::new().await;
    let how = How {
        dry_run: true,
        ..How::default()
    };
    let report = world.import_how(&lines, how).await;
    assert_eq!(conflicts(&report), [(70_000, "not-json")]);
    assert_eq!(report.conflicts[0].why.to_string(), "it is no JSON from column 21 on");
}

#[test]
fn lines_that_contradict_each_other_are_named() {
    let twice = |lines: &[u32]| lines.iter().map(|line| (*line, "twice")).collect::<Vec<_>>();
    check_conflicts(
        &file(&[user("a", "a"), user("b", "b"), user("a", "c")]),
        &twice(&[1, 3]),
    );
    check_conflicts(
        &file(&[user("a", "Straße"), user("b", "STRASSE"), user("c", "strasse")]),
        &twice(&[1, 2, 3]),
    );
    check_conflicts(&file(&[user("a", "a"), group("a", &[])]), &twice(&[1, 2]));
    let named = |id: &str| json!({ "id": id, "displayName": "Tour Guides", "externalId": "e" });
    check_conflicts(&file(&[named("a"), named("b")]), &twice(&[1, 2]));
    check_conflicts(
        &file(&[user("a", "a"), json!({ "id": "a", "userName": "b", "shoe": 7 })]),
        &[(1, "twice"), (2, "unknown-attribute"), (2, "twice")],
    );
    check_conflicts(
        &file(&[group("a", &["b", "c"]), user("b", "b")]),
        &[(1, "unknown-member")],
    );
    check_conflicts(&file(&[group("a", &["a"])]), &[(1, "own-member")]);
}

#[tokio::test]
async fn what_is_in_the_way_in_the_tenant_is_named() {
    let world = World::new().await;
    let there = file(&[user("a", "a"), user("b", "b"), user("gone", "gone"), group("g", &["a"])]);
    world.import(&there).await;
    world.delete("gone").await;
    let before = world.keys().await;
    let report = world
        .import(&file(&[
            user("a", "other"),
            user("c", "B"),
            user("g", "g"),
            user("gone", "gone"),
            json!({ "userName": "A", "title": "Tour Guide" }),
            group("b", &[]),
            group("g", &[]),
        ]))
        .await;
    let expected = [
        (1, "differs"),
        (2, "taken"),
        (3, "other-type"),
        (3, "twice"),
        (4, "deleted"),
        (5, "differs"),
        (6, "other-type"),
        (7, "twice"),
    ];
    assert_eq!(conflicts(&report), expected);
    assert_eq!(world.keys().await, before);
    let report = world.import(&file(&[group("g", &["b"])])).await;
    assert_eq!(conflicts(&report), [(1, "differs")], "members");
}

#[tokio::test]
async fn what_was_erased_is_not_offered_to_be_restored() {
    let world = World::new().await;
    world.import(&file(&[user("a", "a")])).await;
    world.delete("a").await;
    world.directory.erase("a").await.unwrap();
    let report = world.import(&file(&[user("a", "a")])).await;
    assert_eq!(conflicts(&report), [(1, "erased")]);
    let says = report.conflicts[0].why.to_string();
    assert!(!says.contains("restore"), "{says}");
}

/// It may be anything, and anybody's name.
#[tokio::test]
async fn a_member_that_cannot_be_one_is_not_shown() {
    let world = World::new().await;
    let report = world.import(&file(&[group("g", &["Barbara Jensen", "nobody"])])).await;
    let says: Vec<_> = report
        .conflicts
        .iter()
        .map(|conflict| conflict.why.to_string())
        .collect();
    assert_eq!(conflicts(&report), [(1, "unknown-member"); 2], "{says:?}");
    assert!(!says[0].contains("Barbara") && says[1].contains("nobody"), "{says:?}");
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

#[tokio::test]
async fn conflicts_can_be_skipped() {
    let world = World::new().await;
    let lines = file(&[
        user("a", "a"),
        user("b", "twice"),
        user("c", "Twice"),
        json!({ "userName": "d", "shoe": 7 }),
        group("g", &["a", "b", "nobody"]),
    ]);
    let how = How {
        skip_conflicts: true,
        ..How::default()
    };
    let report = world.import_how(&lines, how).await;
    let expected = [
        (2, "twice"),
        (3, "twice"),
        (4, "unknown-attribute"),
        (5, "lost-member"),
        (5, "unknown-member"),
    ];
    assert_eq!(conflicts(&report), expected);
    assert_eq!(
        (report.users.made, report.groups.made, report.memberships.made),
        (1, 1, 1)
    );
    assert_eq!(world.members_of("g").await, ["a"]);
    world.check_sound().await;
}

/// A user's line turns out to be in conflict only when it is written, so the group's cannot have told it before.
#[tokio::test]
async fn a_member_who_comes_to_nothing_between_the_readings_is_told() {
    let world = World::new().await;
    world.import(&file(&[user("z", "z")])).await;
    let lines = file(&[
        user("a", "a"),
        user("b", "b"),
        user("z", "z"),
        group("g", &["a", "b", "z"]),
    ]);
    let other = async {
        let elsewhere = world.elsewhere();
        elsewhere.create(json!({ "userName": "B" })).await.unwrap();
        elsewhere.delete("z").await;
    };
    let (report, other) = world
        .in_the_middle((Call::Commit, 1), Box::pin(world.import(&lines)), other)
        .await;
    other.unwrap();
    let expected = [(2, "taken"), (4, "lost-member"), (4, "lost-member")];
    assert_eq!(conflicts(&report), expected);
    assert_eq!((report.memberships.made, report.end), (1, End::Done));
    assert_eq!(world.members_of("g").await, ["a"]);
    world.check_sound().await;
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

/// The store fails from each commit on, before or after the commit took place; then the import is done again.
#[tokio::test(start_paused = true)]
async fn whatever_cuts_an_import_off_it_goes_on_exactly() {
    let file = large_file(370, &[360, 40, 3]);
    let whole = World::new().await;
    whole.import(&file).await;
    let expected = whole.content().await;
    for fault in [Fault::Unavailable, Fault::LoseAnswer] {
        for cut in 1.. {
            let world = World::new().await;
            world.faults.inject(Call::Commit, cut.., fault);
            let import = Import {
                step: Duration::from_secs(1),
                ..world.import_as(How::default())
            };
            world.store.take();
            let cut_off = import.run(Cursor::new(&file), |_| {}).await.is_err();
            let is_behind_the_end = world.store.take().commits < cut;
            assert!(!cut_off || !is_behind_the_end, "{fault:?} {cut}");
            world.faults.heal();
            world.directory.shared.idle().await;
            let again = world.import(&file).await;
            assert_eq!((again.end, again.conflicts.len()), (End::Done, 0), "{fault:?} {cut}");
            assert!(world.content().await == expected, "{fault:?} {cut}");
            world.check_sound().await;
            if is_behind_the_end {
                assert!(cut > 20, "{cut}");
                break;
            }
        }
    }
}

/// A store that is away for a while delays it, whatever it is at; one that stays away ends it.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_delays_an_import() {
    let file = large_file(370, &[360, 40, 3]);
    let whole = World::new().await;
    let expected = whole.import(&file).await;
    let away = |fault, seconds, first: usize| {
        let file = &file;
        async move {
            let world = World::new().await;
            let import = Import {
                step: Duration::from_secs(15),
                ..world.import_as(How::default())
            };
            world.faults.inject(Call::Any, first.., fault);
            let run = async {
                let begun = Instant::now();
                let report = import.run(Cursor::new(file), |_| {}).await;
                (report, begun.elapsed().as_secs())
            };
            let heal = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                world.faults.heal();
            };
            let ((report, took), ()) = tokio::join!(Box::pin(run), heal);
            (world, report, took)
        }
    };
    for fault in [Fault::Unavailable, Fault::LoseAnswer] {
        for first in (1..60).step_by(7) {
            let (world, report, took) = away(fault, 90, first).await;
            let case = format!("{fault:?} from call {first} on, {took} s: {report:?}");
            let report = report.unwrap();
            assert!((90..120).contains(&took), "{case}");
            assert_eq!(
                (report.users, report.groups),
                (expected.users, expected.groups),
                "{case}"
            );
            assert_eq!((report.end, report.conflicts.len()), (End::Done, 0), "{case}");
            assert_eq!(report.memberships, expected.memberships, "{case}");
            assert!(world.content().await == whole.content().await, "{case}");
        }
    }
    for first in [1, 10, 20, 30] {
        let (_, report, took) = away(Fault::Unavailable, 900, first).await;
        assert!(report.is_err() && (120..300).contains(&took), "{took} s: {report:?}");
    }
}

/// As Ctrl-C does it.
#[tokio::test]
async fn who_asks_to_stop_gets_what_is_done_and_goes_on_later() {
    let file = large_file(2_000, &[1_000]);
    let whole = World::new().await;
    whole.import(&file).await;
    for stop_at in [1, 3, 6, 9] {
        let world = World::new().await;
        let import = world.import_as(How::default());
        let told = AtomicUsize::new(0);
        let stop = Arc::clone(&import.stop);
        let progress = |_: Progress| stop.store(told.fetch_add(1, Relaxed) + 1 >= stop_at, Relaxed);
        let report = import.run(Cursor::new(&file), progress).await.unwrap();
        assert_eq!(report.end, End::Stopped);
        let made = [report.users.made, report.groups.made, report.memberships.made];
        let again = world.import(&file).await;
        assert_eq!(again.end, End::Done);
        assert_eq!(again.users.same, made[0], "what was only planned is not done");
        assert_eq!((again.groups.same, again.memberships.same), (made[1], made[2]));
        assert!(world.content().await == whole.content().await, "{stop_at}");
    }
}

/// Somebody provisions while the file is imported.
#[tokio::test]
async fn what_comes_in_between_is_left_alone_and_told() {
    let world = World::new().await;
    let lines = file(&[user("a", "a"), user("b", "b"), user("c", "c")]);
    let other = async {
        let elsewhere = world.elsewhere();
        elsewhere.create(json!({ "userName": "B" })).await.unwrap()
    };
    let (report, other) = world
        .in_the_middle((Call::Commit, 1), Box::pin(world.import(&lines)), other)
        .await;
    assert_eq!(conflicts(&report), [(2, "taken")]);
    assert_eq!((report.users.made, report.end), (2, End::Done));
    world
        .directory
        .read(&world.users, &other.unwrap(), shown(&world.users))
        .await
        .unwrap();
    world.check_sound().await;
}

/// Somebody leaves a group while others are still joining it, before each of the commits there are.
#[tokio::test]
async fn who_leaves_between_two_commits_of_an_import_stays_out() {
    let lines = large_file(70, &[70]);
    let mut left = 0;
    for number in 1.. {
        let world = World::new().await;
        let other = async {
            let elsewhere = world.elsewhere();
            let leave = json!([{ "op": "remove", "path": "members[value eq \"u0\"]" }]);
            let changed = elsewhere.directory.change(&elsewhere.groups, "g0", leave).await;
            changed.ok().map(|group| group.envelope)
        };
        let (report, changed) = world
            .in_the_middle((Call::Commit, number), Box::pin(world.import(&lines)), Box::pin(other))
            .await;
        let Some(changed) = changed else { break };
        let Some(changed) = changed else { continue };
        let now = world.document(&world.groups, "g0").await;
        let has_left = !world.members_of("g0").await.contains(&"u0".to_owned());
        if has_left {
            left += 1;
            let is_told = conflicts(&report) == [(1, "differs")];
            assert!(is_told || report.memberships.made == 70, "{number}: {report:?}");
            let told = now["meta"]["lastModified"].as_str().unwrap();
            assert_eq!(
                crate::scim::resource::parse_date_time(told),
                Some(changed.last_modified),
                "{number}"
            );
        }
        world.import(&lines).await;
        assert_eq!(
            has_left,
            !world.members_of("g0").await.contains(&"u0".to_owned()),
            "{number}"
        );
        world.check_sound().await;
    }
    assert!(left >= 2, "{left}");
}

/// A group that goes while others are still joining it is its line's matter, and does not end the import.
#[tokio::test]
async fn a_group_that_is_deleted_between_two_commits_is_told() {
    let lines = large_file(70, &[70]);
    let mut told = 0;
    for number in 1.. {
        let world = World::new().await;
        let other = async {
            let elsewhere = world.elsewhere();
            let deleted = elsewhere.directory.delete(&elsewhere.groups, "g0", &Precondition::None);
            deleted.await.is_ok()
        };
        let (report, deleted) = world
            .in_the_middle((Call::Commit, number), Box::pin(world.import(&lines)), other)
            .await;
        let Some(deleted) = deleted else { break };
        let is_whole = report.memberships.made == 70;
        assert_eq!(
            report.conflicts.is_empty(),
            !deleted || is_whole,
            "{number}: {report:?}"
        );
        told += usize::from(!report.conflicts.is_empty());
        world.check_sound().await;
    }
    assert!(told >= 2, "{told}");
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

/// The group's line is right; who looks for what is wrong is sent to the other.
#[tokio::test]
async fn a_member_whom_a_line_describes_that_is_not_imported_is_told_with_that_line() {
    for odd in [
        json!({ "id": "b", "userName": "b", "shoe": 7 }),
        json!({ "id": "b", "userName": "A" }),
        json!({ "id": "b", "userName": "b", "meta": { "created": "yesterday" } }),
        json!({ "id": "b", "active": true }),
    ] {
        let lines = file(&[user("a", "a"), odd, group("g", &["b"])]);
        let report = World::new().await.import(&lines).await;
        let told = report.conflicts.last().unwrap();
        assert_eq!(
            (told.line, told.why.name()),
            (3, "lost-member"),
            "{:?}",
            report.conflicts
        );
        let says = told.why.to_string();
        assert!(says.contains("line 2 describes it"), "{says}");
    }
}

/// What somebody is whom no schema names, the attributes tell.
#[tokio::test]
async fn a_user_without_a_name_is_not_taken_for_a_group() {
    for line in [
        json!({ "displayName": "Barbara Jensen", "active": true }),
        json!({ "displayName": "Barbara Jensen", "emails": [{ "value": "bjensen@example.com" }] }),
        json!({ "displayName": "Barbara Jensen", "department": "Tour" }),
        json!({ "displayName": "Barbara Jensen", ENTERPRISE: { "department": "Tour" } }),
    ] {
        let report = World::new().await.import(&file(&[line])).await;
        let says = report.conflicts[0].why.to_string();
        assert!(says.contains("userName"), "{says}");
    }
    let world = World::new().await;
    let lines = file(&[
        json!({ "displayName": "a", "externalId": "e" }),
        json!({ "displayName": "b", "members": [] }),
    ]);
    assert_eq!(world.import(&lines).await.groups.made, 2);
    // Whoever has members is a group, whatever else it has.
    check_conflict(
        &json!({ "displayName": "a", "members": [], "active": true }),
        "have no attribute active",
    )
    .await;
}

/// The only line of a file is in conflict, and this is said of it.
async fn check_conflict(line: &Value, expected: &str) {
    let report = World::new().await.import(&file(std::slice::from_ref(line))).await;
    let says = report.conflicts[0].why.to_string();
    assert!(says.contains(expected), "{says}");
}

#[tokio::test]
async fn what_is_wrong_with_an_id_is_said() {
    check_conflict(&json!({ "id": 4725.5, "userName": "a" }), "a whole number").await;
    check_conflict(&json!({ "id": -1, "userName": "a" }), "not negative").await;
}

/// Only so many of the things are remembered that are odd about a line: behind them unknown attributes may be hidden.
#[tokio::test]
async fn a_line_too_odd_to_be_judged_is_a_conflict() {
    let numbers = |names: &[&str]| -> Value { names.iter().map(|name| ((*name).to_owned(), json!(7))).collect() };
    let address = [
        "formatted",
        "streetAddress",
        "locality",
        "region",
        "postalCode",
        "country",
    ];
    let line = json!({
        "userName": 7, "nickName": 7, "title": 7, "userType": 7, "displayName": 7, "preferredLanguage": 7, "locale": 7,
        "timezone": 7, "externalId": 7, "active": "True",
        "name": numbers(&["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"]),
        "addresses": [numbers(&address)],
        "emails": [numbers(&["value", "display", "type"])],
        "phoneNumbers": [numbers(&["value", "display", "type"])],
        "ims": [numbers(&["value", "display", "type"])],
        "entitlements": [numbers(&["value", "display", "type"])],
        "roles": [numbers(&["value", "display", "type"])],
        // What is known of extensions comes last.
        ENTERPRISE: { "manager": { "value": "b", "shoe": 7 } },
    });
    check_conflict(&line, "nobody can tell").await;
}

/// A file that is JSON, but not lines of it, says what to do; nobody reads of a conflict on each of its lines.
#[tokio::test]
async fn a_file_that_has_no_lines_says_how_to_make_some() {
    let list = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 1,
        "Resources": [user("a", "a")] });
    let array = json!([user("a", "a"), user("b", "b")]);
    let spread = format!("{:#}\n{:#}\n", user("a", "a"), user("b", "b"));
    for (file, filter) in [
        (list.to_string(), "'.Resources[]'"),
        (format!("\u{FEFF}\r\n{list:#}"), "'.Resources[]'"),
        (format!("{list}\n{list}\n"), "'.Resources[]'"),
        (array.to_string(), "'.[]'"),
        (format!("\n  {array:#}"), "'.[]'"),
        (
            format!("[{},\n{}]", "x".repeat(super::MAX_LINE_BYTES), user("a", "a")),
            "'.[]'",
        ),
        (
            json!({ "Resources": ["x".repeat(super::MAX_LINE_BYTES)] }).to_string(),
            "'.Resources[]'",
        ),
        (spread, "'.'"),
    ] {
        let world = World::new().await;
        let before = world.keys().await;
        let failed = world.import_as(How::default()).run(Cursor::new(&file), |_| {}).await;
        let says = failed.unwrap_err().to_string();
        assert!(
            says.contains(&format!("jq --compact-output {filter} FILE > LINES")),
            "{says}"
        );
        assert_eq!(world.keys().await, before);
    }
    for broken in [
        "{\"userName\"",
        "{\"userName\":\"a\"\n{\"userName\":\"b\"}\n",
        "{\n{\"userName\":\"b\"}\n",
    ] {
        let report = World::new().await.import(broken).await;
        assert_eq!(conflicts(&report), [(1, "not-json")], "{broken}");
    }
}

#[tokio::test]
async fn a_file_without_a_line_is_a_failure() {
    for empty in ["", "\n", "\u{FEFF}", "\r\n \n"] {
        let world = World::new().await;
        let failed = world.import_as(How::default()).run(Cursor::new(empty), |_| {}).await;
        let says = failed.unwrap_err().to_string();
        assert!(says.contains("no line"), "{says}");
    }
}

/// As no client is refused for a manager who does not exist (design §6), it is told only.
#[tokio::test]
async fn a_manager_whom_nobody_knows_is_told_and_imported() {
    let world = World::new().await;
    world.import(&file(&[user("there", "there"), group("team", &[])])).await;
    let managed =
        |id: &str, manager: &str| json!({ "id": id, "userName": id, ENTERPRISE: { "manager": { "value": manager } } });
    let lines = file(&[
        managed("a", "b"),
        managed("b", "a"),
        managed("c", "there"),
        managed("d", "404"),
        managed("e", "Barbara Jensen"),
        managed("f", "odd"),
        json!({ "id": "odd", "userName": "odd", "shoe": 7 }),
    ]);
    for (dry_run, made) in [(true, 6), (false, 6), (false, 0)] {
        let how = How {
            dry_run,
            skip_conflicts: true,
            ..How::default()
        };
        let report = world.import_how(&lines, how).await;
        let told: Vec<_> = report
            .notices
            .iter()
            .map(|notice| (notice.line, notice.why.name()))
            .collect();
        assert_eq!(told, [4, 5, 6].map(|line| (line, "unknown-manager")));
        let says: Vec<_> = report.notices.iter().map(|notice| notice.why.to_string()).collect();
        assert!(
            says[0].contains("manager 404 is") && !says[1].contains("Barbara"),
            "{says:?}"
        );
        assert_eq!(conflicts(&report), [(7, "unknown-attribute")]);
        assert_eq!(report.users.made, made);
    }
    let document = world.document(&world.users, "d").await;
    assert_eq!(document[ENTERPRISE]["manager"]["value"], "404");
    let report = world.import(&file(&[managed("d", "404")])).await;
    assert_eq!(
        (report.end, report.notices.len()),
        (End::Done, 1),
        "it is in nobody's way"
    );
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

/// One of those who were to be made with one commit is there by now: the others are made with another.
#[tokio::test]
async fn who_finds_one_there_looks_at_the_others_together() {
    let world = World::new().await;
    let lines: Vec<Value> = (0..330)
        .map(|number| user(&number.to_string(), &number.to_string()))
        .collect();
    let other = async {
        let elsewhere = world.elsewhere();
        elsewhere.create(json!({ "userName": "7" })).await.unwrap();
    };
    world.store.take();
    let (report, _) = world
        .in_the_middle((Call::Commit, 1), Box::pin(world.import(&file(&lines))), other)
        .await;
    let cost = world.store.take();
    assert_eq!((report.users.made, conflicts(&report)), (329, vec![(8, "taken")]));
    // 33 when the file is read, and four for those who shared the commit.
    assert_eq!((cost.gets, cost.commits), (33 + 4, 10 + 1));
}

/// Two import the same, each from its own process: before each commit of the one, the other does all of its work.
#[tokio::test]
async fn two_imports_of_one_file_are_one() {
    let lines = large_file(100, &[100, 40, 3, 0]);
    let whole = World::new().await;
    whole.import(&lines).await;
    let expected = whole.content().await;
    for number in 1.. {
        let world = World::new().await;
        let other = async { world.elsewhere().import(&lines).await };
        let (report, other) = world
            .in_the_middle((Call::Commit, number), Box::pin(world.import(&lines)), Box::pin(other))
            .await;
        let Some(other) = other else {
            assert!(number > 8, "{number}");
            break;
        };
        for report in [&report, &other] {
            assert_eq!(
                (report.end, report.conflicts.len()),
                (End::Done, 0),
                "{number}: {report:?}"
            );
            let all = |count: Count| count.made + count.same;
            assert_eq!(
                (all(report.users), all(report.groups)),
                (100, 4),
                "{number}: {report:?}"
            );
        }
        let made = [&report, &other].map(|report| (report.users.made, report.groups.made));
        assert_eq!((made[0].0 + made[1].0, made[0].1 + made[1].1), (100, 4), "{number}");
        assert!(world.content().await == expected, "{number}");
        world.check_sound().await;
    }
}

/// As it happens when two people do it: each call of either may meet any of the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_at_once_are_one() {
    let lines = large_file(370, &[360, 40, 3]);
    let whole = World::new().await;
    whole.import(&lines).await;
    let expected = whole.content().await;
    for number in 0..5 {
        let world = World::new().await;
        let elsewhere = world.elsewhere();
        let (one, other) = tokio::join!(world.import(&lines), elsewhere.import(&lines));
        for report in [one, other] {
            assert_eq!(
                (report.end, report.conflicts.len()),
                (End::Done, 0),
                "{number}: {report:?}"
            );
        }
        assert!(world.content().await == expected, "{number}");
        world.check_sound().await;
    }
}

/// Files that contradict each other: of each resource, and of each group's members, one of them is right, and the other is told.
#[tokio::test]
async fn of_two_imports_that_contradict_each_other_one_is_right_in_each_point() {
    let ids: Vec<String> = (0..70).map(|number| format!("u{number}")).collect();
    let file_of = |title: &str, members: &[String]| {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let users = ids.iter().map(|id| json!({ "id": id, "userName": id, "title": title }));
        file(&users.chain([group("g", &members)]).collect::<Vec<_>>())
    };
    let (ones, others) = (&ids[..60], &ids[20..]);
    let (one, other) = (file_of("one", ones), file_of("other", others));
    for number in 1.. {
        let world = World::new().await;
        let between = async {
            let how = How {
                skip_conflicts: true,
                ..How::default()
            };
            world.elsewhere().import_how(&other, how).await
        };
        let (first, second) = world
            .in_the_middle((Call::Commit, number), Box::pin(world.import(&one)), Box::pin(between))
            .await;
        let Some(second) = second else { break };
        assert_eq!((first.end, second.end), (End::Done, End::Done), "{number}");
        let mut titles = BTreeMap::<String, usize>::new();
        for id in &ids {
            let document = world.document(&world.users, id).await;
            *titles
                .entry(document["title"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
        let title = |name: &str| titles.get(name).copied().unwrap_or_default() as u64;
        assert_eq!(
            (title("one"), title("other")),
            (first.users.made, second.users.made),
            "{number}"
        );
        let differ = |report: &Report| report.conflicts.iter().filter(|one| one.line <= 70).count() as u64;
        assert_eq!(
            (differ(&first), differ(&second)),
            (title("other"), title("one")),
            "{number}"
        );
        let members = world.members_of("g").await;
        let is = |file: &[String]| file.iter().collect::<std::collections::BTreeSet<_>>() == members.iter().collect();
        let told = |report: &Report| {
            report
                .conflicts
                .iter()
                .any(|one| one.line == 71 && one.why.name() == "differs")
        };
        assert!(
            (is(ones) && told(&second)) || (is(others) && told(&first)),
            "{number}: {members:?} {first:?} {second:?}"
        );
        world.check_sound().await;
    }
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

/// Whoever mends something must find it: what ends an import names the line, and while it waits, what for.
#[tokio::test(start_paused = true)]
async fn what_ends_an_import_names_its_line() {
    let world = World::new().await;
    let lines = large_file(100, &[3]);
    let import = Import {
        step: Duration::from_secs(1),
        ..world.import_as(How::default())
    };
    world.faults.inject(Call::Commit, 2.., Fault::Unavailable);
    let waits = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        import.pulse.trouble()
    };
    let (report, waits) = tokio::join!(import.run(Cursor::new(&lines), |_| {}), waits);
    assert!(waits.is_some_and(|says| says.contains("unavailable")));
    let says = report.unwrap_err().to_string();
    // The first line is the group; 33 users share a commit, and which of the three that are left fails last is not known.
    let line = says.strip_prefix("line ").and_then(|rest| rest.split_once(':'));
    let (line, error) = line.unwrap_or_else(|| panic!("{says}"));
    assert!([2, 35, 68, 101].contains(&line.parse::<u32>().unwrap()), "{says}");
    assert!(error.contains("unavailable"), "{says}");
    world.faults.heal();
    assert_eq!(world.import(&lines).await.end, End::Done);
}
