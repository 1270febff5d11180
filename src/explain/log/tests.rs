//! Logs in every form they come in, and in forms nobody wants them in.

use std::{collections::BTreeMap, fmt::Write};

use time::macros::datetime;

use super::{
    compare::compare,
    moment::moment,
    read::{Facts, Kind, kind, read},
    record::Status,
    tally::{MAX_LOST, Tally},
};
use crate::explain::cause::Reached;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/provisioning/",
            $name
        ))
        .as_slice()
    };
}

fn tally(files: &[&[u8]]) -> (Tally, Facts) {
    let mut tally = Tally::default();
    let mut last = None;
    for file in files {
        let facts = read(*file, &mut |kind, record| match kind {
            Kind::Log => tally.add(record),
            Kind::Steps => tally.add_step(record),
        });
        last = Some(facts.unwrap());
    }
    (tally, last.unwrap())
}

fn error(file: &[u8]) -> String {
    read(file, &mut |_, _| {}).unwrap_err().to_string()
}

fn causes(tally: &Tally) -> BTreeMap<&str, u64> {
    tally
        .causes
        .iter()
        .map(|cause| (cause.name.as_str(), cause.rows))
        .collect()
}

/// The same rows in every form of export.
#[track_caller]
fn check_failing(files: &[&[u8]]) -> (Tally, Facts) {
    let (tally, facts) = tally(files);
    assert_eq!(tally.rows, 15);
    assert_eq!(tally.failed(), 9);
    assert_eq!(tally.statuses[&Status::Success], 5);
    assert_eq!(
        causes(&tally),
        BTreeMap::from([
            ("envoy-protocol-error", 4),
            ("envoy-connection-failure", 1),
            ("functions-empty-500", 1),
            ("conflict-on-create", 1),
            ("scimgate required-missing", 1),
            ("unknown", 1),
        ])
    );
    assert_eq!(tally.timeless, 0);
    let protocol = tally
        .causes
        .iter()
        .find(|cause| cause.name == "envoy-protocol-error")
        .unwrap();
    assert_eq!((protocol.retried, &protocol.statuses), (3, &BTreeMap::from([(502, 4)])));
    // What "other" was is not known, so no request can be looked for.
    assert_eq!((tally.lost_in_all, tally.lost_unplaced), (6, 1));
    (tally, facts)
}

#[test]
fn every_export_gives_the_same_counts() {
    for file in [
        fixture!("failing.json"),
        fixture!("graph.json"),
        fixture!("AADProvisioningLogs.csv"),
    ] {
        check_failing(&[file]);
    }
    check_failing(&[
        fixture!("ProvisioningLogs_ProvisioningSteps.csv"),
        fixture!("ProvisioningLogs.csv"),
    ]);
}

#[test]
fn a_row_that_the_proxy_sent_twice_is_not_called_lost() {
    let csv = "Date,Action,Status,Reason\n\
               2026-11-22T10:42:07Z,Update,Failure,retried and the latest reset reason: connection failure\n\
               2026-11-22T10:42:08Z,Update,Failure,reset reason: connection failure\n";
    let (tally, _) = tally(&[csv.as_bytes()]);
    let [cause] = tally.causes.as_slice() else {
        panic!("{:?}", tally.causes)
    };
    let rows = [Reached::No, Reached::Perhaps, Reached::Yes].map(|reached| cause.rows_that(reached));
    assert_eq!((rows, cause.reached()), ([1, 1, 0], Reached::Perhaps));
}

#[test]
fn entra_s_own_codes_are_counted() {
    for file in [fixture!("failing.json"), fixture!("AADProvisioningLogs.csv")] {
        let (tally, _) = check_failing(&[file]);
        let code = "SystemForCrossDomainIdentityManagementServiceIncompatible".to_owned();
        assert_eq!(tally.codes, BTreeMap::from([(code, 9)]));
    }
}

#[test]
fn a_page_says_that_there_are_more() {
    assert!(check_failing(&[fixture!("graph.json")]).1.has_more);
    assert!(!check_failing(&[fixture!("failing.json")]).1.has_more);
}

#[test]
fn the_portal_s_files_are_told_apart() {
    assert_eq!(kind(fixture!("ProvisioningLogs.csv")), Kind::Log);
    assert_eq!(kind(fixture!("ProvisioningLogs_ProvisioningSteps.csv")), Kind::Steps);
    assert_eq!(kind(fixture!("graph.json")), Kind::Log);
    assert!(error(fixture!("ProvisioningLogs_ModifiedProperties.csv")).contains("modified properties"));
}

#[test]
fn query_04_holds_times_methods_and_causes_and_nobody_s_name() {
    let (tally, _) = check_failing(&[fixture!("failing.json")]);
    let query = tally.query(Some("acme")).unwrap();
    assert!(query.starts_with("// 04 which rows of the customer's provisioning log never reached us?\n"));
    let rows: Vec<_> = query.lines().filter(|line| line.starts_with("    datetime(")).collect();
    assert_eq!(
        rows[0],
        "    datetime(2026-11-22 10:42:07), \"PATCH\", \"c0000000-0000-4000-8000-000000000005\", \"502 envoy-protocol-error, retried\","
    );
    let verbs: Vec<_> = rows.iter().filter_map(|row| row.split('"').nth(1)).collect();
    // The fifth failed while Entra looked the user up.
    assert_eq!(verbs, ["PATCH", "POST", "PATCH", "PATCH", "GET", "DELETE"]);
    assert!(
        query.contains(&format!("[\n{}\n];\nlet seen", rows.join("\n"))),
        "{query}"
    );
    for filled in [
        "let tenantId = \"acme\";\nlet slack = 5s;\n",
        "between (datetime(2026-11-22T10:32:07.1234567Z) .. datetime(2026-11-22T",
    ] {
        assert!(query.contains(filled), "{query}");
    }
    assert!(!query.contains("jensen"), "{query}");
}

#[test]
fn a_time_line_has_few_lines_whatever_it_covers() {
    let (tally, _) = check_failing(&[fixture!("failing.json")]);
    let (minutes, lines) = tally.time_line();
    assert_eq!(minutes, 5);
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (lines[1].from, lines[1].rows, lines[1].failed),
        (datetime!(2026-11-22 10:40 UTC), 10, 9)
    );
    assert_eq!(lines.iter().map(|line| line.rows).sum::<u64>(), 15);
    let mut csv = "activityDateTime,status\n".to_owned();
    for day in 1..=28 {
        for month in 1..=12 {
            writeln!(csv, "2026-{month:02}-{day:02}T10:00:00Z,failure").unwrap();
        }
    }
    let (tally, _) = super::tests::tally(&[csv.as_bytes()]);
    assert!(tally.time_line().1.len() < 60);
}

#[test]
fn a_log_of_any_size_keeps_a_bounded_number_of_rows() {
    let mut csv = "Date,Action,Status,Reason,Change ID\n".to_owned();
    for row in 0..MAX_LOST + 7 {
        let (minute, second) = (row / 60, row % 60);
        writeln!(
            csv,
            "2026-11-22T10:{minute:02}:{second:02}Z,Update,Failure,upstream request timeout,c{row}"
        )
        .unwrap();
    }
    let (tally, _) = tally(&[csv.as_bytes()]);
    assert_eq!((tally.lost.len(), tally.lost_in_all), (MAX_LOST, MAX_LOST as u64 + 7));
    assert_eq!(
        tally.lost.first_key_value().unwrap().0.0,
        datetime!(2026-11-22 10:00:07 UTC)
    );
}

#[test]
fn two_logs_are_compared() {
    let (failing, _) = check_failing(&[fixture!("failing.json")]);
    let (healthy, _) = tally(&[fixture!("healthy.json")]);
    let measures = compare(&failing, &healthy);
    let values = |name: &str| measures.iter().find(|measure| measure.name == name).unwrap().values;
    assert_eq!(values("rows"), [Some(15.0), Some(13.0)]);
    assert_eq!(values("active minutes"), [Some(8.0), Some(13.0)]);
    assert_eq!(values("rows in the busiest minute"), [Some(5.0), Some(1.0)]);
    assert_eq!(values("failed rows, %"), [Some(60.0), Some(100.0 / 13.0)]);
    assert_eq!(values("bursts of failures"), [Some(1.0), Some(1.0)]);
    assert_eq!(values("longest burst of failures, minutes"), [Some(2.0), Some(1.0)]);
    assert_eq!(values("rows failed by envoy-protocol-error"), [Some(4.0), Some(0.0)]);
    assert_eq!(values("duration of failures, p95 ms"), [Some(4100.0), Some(410.0)]);
}

#[test]
fn names_of_columns_may_be_spelled_in_any_way() {
    let good = "activityDateTime,provisioningAction,provisioningStatusInfo.status,provisioningStatusInfo.errorInformation.reason\n\
                2026-11-22T10:42:07Z,update,failure,upstream request timeout\n";
    let spreadsheet =
        "\u{feff}Date (UTC);ACTION;Status;Status Reason\r\n22.11.2026;Update;Failure;upstream request timeout\r\n";
    let tabs =
        "Activity Date Time\tAction\tResult\tReason\n2026-11-22 10:42:07\tUpdate\tFailed\tupstream request timeout\n";
    let one = "{\"ActivityDateTime\":\"/Date(1763808127000)/\",\"StatusInfo\":{\"Status\":\"Failure\",\"Reason\":\"upstream request timeout\"}}\n";
    for file in [good, spreadsheet, tabs, one, &format!("{one}{one}")] {
        let (tally, _) = tally(&[file.as_bytes()]);
        assert_eq!(
            causes(&tally).keys().copied().collect::<Vec<_>>(),
            ["envoy-timeout"],
            "{file}"
        );
    }
    // A day first is no time that could be told from a month.
    assert_eq!(tally(&[spreadsheet.as_bytes()]).0.timeless, 1);
}

#[test]
fn a_broken_file_is_told_where_it_breaks() {
    let cut_off = error(fixture!("cut_off.json"));
    assert!(
        cut_off.contains("behind 7 complete rows") && cut_off.contains("at line "),
        "{cut_off}"
    );
    for (file, says) in [
        (b"".as_slice(), "empty"),
        (b"\xff\xfe[\x00", "UTF-16"),
        (b"PK\x03\x04", "ZIP"),
        (b"[1, 2]", "nothing in it looks like a provisioning log"),
        (b"hello\nworld\n", "nothing in it looks like a provisioning log"),
        (b"{\"value\": 1}", "behind 0 complete rows"),
        (
            b"[{\"activityDateTime\": \"2026-11-22T10:42:07Z\"}, {",
            "behind 1 complete rows",
        ),
        (b"[\"\xff\"]", "at line 1"),
    ] {
        let said = error(file);
        assert!(said.contains(says), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

/// Cut anywhere, or with any byte replaced, it is read or refused.
#[test]
fn no_file_breaks_it() {
    for whole in [
        fixture!("graph.json"),
        fixture!("ProvisioningLogs.csv"),
        fixture!("ProvisioningLogs_ProvisioningSteps.csv"),
    ] {
        let step = whole.len() / 31;
        for at in (0..whole.len()).step_by(step) {
            let mut broken = whole.to_vec();
            broken[at] = b'"';
            for file in [&whole[..at], &whole[at..], &broken] {
                let mut tally = Tally::default();
                let _ = read(file, &mut |_, record| tally.add(record));
                let _ = (tally.time_line(), tally.query(None), compare(&tally, &tally));
            }
        }
    }
}

#[test]
fn times_are_read_as_exports_spell_them() {
    let noon = datetime!(2026-11-22 12:42:07 UTC);
    for text in [
        "2026-11-22T12:42:07Z",
        "2026-11-22T13:42:07+01:00",
        "2026-11-22 12:42:07",
        "2026-11-22T12:42:07",
        "11/22/2026, 12:42:07.000 PM",
        "11/22/2026 12:42:07 PM",
        "11/22/2026, 12:42:07\u{202f}PM",
    ] {
        assert_eq!(moment(text), Some(noon), "{text}");
    }
    assert_eq!(moment("11/22/2026, 12:00:00 AM"), Some(datetime!(2026-11-22 00:00 UTC)));
    for text in [
        "",
        "yesterday",
        "22/11/2026 12:00:00",
        "2026-11-22",
        "2026-13-22 10:00",
        "2026-11-22 25:00",
        // Nobody could add minutes to these, or print them.
        "9999-12-31T23:59:59Z",
        "/Date(-99999999999999)/",
        "1/1/-5, 10:00:00",
    ] {
        assert_eq!(moment(text), None, "{text}");
    }
}
