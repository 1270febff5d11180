//! Lines and files that cannot be imported as they are, and what is said of them.

use super::*;
use crate::directory::import::MAX_LINE_BYTES;

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
    let long = json!({ "userName": "x".repeat(MAX_LINE_BYTES) });
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
            format!("[{},\n{}]", "x".repeat(MAX_LINE_BYTES), user("a", "a")),
            "'.[]'",
        ),
        (
            json!({ "Resources": ["x".repeat(MAX_LINE_BYTES)] }).to_string(),
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
