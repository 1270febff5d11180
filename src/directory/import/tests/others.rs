//! Imports that are cut off or stopped, on a store that fails, beside others who write, and beside one another.

use super::*;

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
