use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::error::{Error, Rule};
use super::super::limits::MAX_BULK_OPERATIONS;
use super::super::resource::Envelope;
use super::super::schema::{Catalog, ENTERPRISE_USER_URN as ENTERPRISE, USER_URN};
use super::super::write::Write;
use super::plan::{Part, Step, plan};
use super::{BULK_REQUEST_URN, BULK_RESPONSE_URN, Job, reference};

const BASE: &str = "https://example.com/v2";

fn request(operations: Value) -> Value {
    let mut message = json!({ "schemas": [BULK_REQUEST_URN] });
    message["Operations"] = operations;
    message
}

fn job(body: Value) -> Job {
    Job::read(&Catalog::standard(), body).unwrap_or_else(|error| panic!("{error:?}"))
}

fn envelope(id: &str) -> Envelope {
    Envelope {
        id: id.to_owned(),
        created: OffsetDateTime::UNIX_EPOCH,
        last_modified: OffsetDateTime::UNIX_EPOCH,
        version: format!("v-{id}"),
    }
}

/// A POST of a user whose manager is another one's `bulkId:…`, or anybody.
fn post(bulk_id: &str, manager: &str) -> Value {
    let data = json!({ "schemas": [USER_URN], "userName": bulk_id, ENTERPRISE: { "manager": { "value": manager } } });
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": data })
}

/// A store in which everything succeeds but what `refuse` refuses; the id of a new user is its name. All that was
/// written.
fn run(job: &mut Job, refuse: impl Fn(&Write) -> Option<Rule>) -> Vec<Write> {
    let mut writes = Vec::new();
    while let Some(task) = job.next_task() {
        let result = match (&task.write, refuse(&task.write)) {
            (_, Some(rule)) => Err(rule.error()),
            (Write::Create { document }, None) => Ok(document["userName"].as_str().map(envelope)),
            (Write::Replace { id, .. } | Write::Patch { id, .. }, None) => Ok(Some(envelope(id))),
            (Write::Delete { .. }, None) => Ok(None),
        };
        writes.push(task.write);
        job.finish(result);
    }
    writes
}

/// One line a operation: `POST a 201`, with the rule that refused.
fn answers(job: &Job) -> Vec<String> {
    let response = job.response(BASE, |error| error.body(None));
    assert_eq!(response["schemas"], json!([BULK_RESPONSE_URN]));
    let spell = |answer: &Value| {
        let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("method"), text("bulkId"), text("status"))
    };
    response["Operations"].as_array().unwrap().iter().map(spell).collect()
}

mod order {
    use super::*;

    /// `0` is performed, `0-1` without 1, `0+1` completed with 1.
    fn spell(step: &Step) -> String {
        let sign = match step.part {
            Part::Most => "-",
            Part::Rest => "+",
        };
        let without = step.without.iter().map(|other| format!("{sign}{other}"));
        format!("{}{}", step.operation, without.collect::<String>())
    }

    #[track_caller]
    fn check(needs: &[&[usize]], expected: &str) {
        let needs: Vec<Vec<usize>> = needs.iter().map(|needs| needs.to_vec()).collect();
        let steps: Vec<String> = plan(&needs).iter().map(spell).collect();
        assert_eq!(steps.join(" "), expected, "{needs:?}");
    }

    /// RFC 7644 §3.7: the client's intent is preserved.
    #[test]
    fn it_is_the_requests_own_unless_something_is_needed_earlier() {
        check(&[], "");
        check(&[&[], &[], &[]], "0 1 2");
        check(&[&[], &[0], &[0, 1]], "0 1 2");
        check(&[&[], &[3], &[], &[]], "0 3 1 2");
        check(&[&[1], &[2], &[3], &[]], "3 2 1 0");
        check(&[&[2, 1], &[3], &[3], &[]], "3 2 1 0");
    }

    /// RFC 7644 §3.7.1.
    #[test]
    fn in_a_circle_one_goes_without_and_is_completed_at_once() {
        check(&[&[1], &[0]], "1-0 0 1+0");
        check(&[&[1], &[0], &[]], "1-0 0 1+0 2");
        check(&[&[0]], "0-0 0+0");
        check(&[&[1], &[2], &[0]], "2-0 1 0 2+0");
        check(&[&[1, 2], &[0, 2], &[0, 1]], "2-0-1 1-0 0 2+0+1 1+0");
        check(&[&[1], &[2], &[1]], "2-1 1 2+1 0");
        check(
            &[&[1], &[2], &[3], &[4], &[5], &[6], &[7], &[0]],
            "7-0 6 5 4 3 2 1 0 7+0",
        );
    }

    fn graph() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1..MAX_BULK_OPERATIONS).prop_flat_map(|size| {
            let needs = proptest::collection::hash_set(0..size, 0..4.min(size));
            let needs = needs.prop_map(|needs| needs.into_iter().collect());
            proptest::collection::vec(needs, size)
        })
    }

    proptest! {
        #[test]
        fn whatever_needs_what_all_is_there_before_it_is_needed(needs in graph()) {
            let (mut performed, mut lacking) = (HashSet::new(), Vec::new());
            for Step { operation, part, without } in plan(&needs) {
                match part {
                    Part::Most => {
                        prop_assert!(needs[operation].iter().all(|needed| performed.contains(needed) != without.contains(needed)));
                        prop_assert!(performed.insert(operation), "{} is performed twice", operation);
                        if !without.is_empty() {
                            lacking.push((operation, without));
                        }
                    }
                    Part::Rest => {
                        prop_assert!(without.iter().all(|needed| performed.contains(needed)));
                        let before = lacking.len();
                        lacking.retain(|one| *one != (operation, without.clone()));
                        prop_assert_eq!(lacking.len() + 1, before, "{} lacked nothing", operation);
                    }
                }
            }
            prop_assert_eq!(performed.len(), needs.len());
            prop_assert!(lacking.is_empty(), "never completed: {:?}", lacking);
        }

        /// Only what needs itself in the end may be performed without something.
        #[test]
        fn without_a_circle_nothing_is_left_out(needs in graph()) {
            let earlier = |(at, needs): (usize, &Vec<usize>)| needs.iter().copied().filter(|needed| *needed < at).collect();
            let acyclic: Vec<Vec<usize>> = needs.iter().enumerate().map(earlier).collect();
            let own_order: Vec<usize> = (0..needs.len()).collect();
            let steps = plan(&acyclic);
            prop_assert!(steps.iter().all(|step| step.without.is_empty()));
            prop_assert_eq!(steps.iter().map(|step| step.operation).collect::<Vec<_>>(), own_order);
            let size = needs.len();
            let turned: Vec<Vec<usize>> = acyclic
                .iter()
                .rev()
                .map(|needs| needs.iter().map(|needed| size - 1 - needed).collect())
                .collect();
            prop_assert!(plan(&turned).iter().all(|step| step.without.is_empty()));
        }
    }
}

mod references {
    use super::*;

    #[track_caller]
    fn check(document: &Value, found: &[&str], resolved: &Value) {
        assert_eq!(reference::all(document), found, "{document}");
        let mut id_of = |bulk_id: &str| Some(format!("<{bulk_id}>"));
        assert_eq!(reference::resolved(document, &mut id_of), *resolved);
    }

    /// RFC 7644 §3.7.2.
    #[test]
    fn a_text_of_its_own_is_one_wherever_it_stands() {
        check(
            &json!({ "members": [{ "value": "bulkId:a", "type": "User" }, { "value": "26118915" }, "bulkId:b"] }),
            &["a", "b"],
            &json!({ "members": [{ "value": "<a>", "type": "User" }, { "value": "26118915" }, "<b>"] }),
        );
        check(
            &json!({ ENTERPRISE: { "manager": { "value": "bulkId:a" } }, "x": { "y": [["bulkId:a"]] } }),
            &["a"],
            &json!({ ENTERPRISE: { "manager": { "value": "<a>" } }, "x": { "y": [["<a>"]] } }),
        );
        for text in ["a bulkId:b", "BulkId:a", "bulkId", "", "/Users/bulkId:a"] {
            check(&json!({ "title": text }), &[], &json!({ "title": text }));
        }
    }

    /// As many as a body has room for; looking for each among all others would take minutes.
    #[test]
    fn there_may_be_a_hundred_thousand() {
        let texts: Vec<String> = (0..100_000).map(|number| format!("bulkId:{number}")).collect();
        let found = reference::all(&json!({ "members": [texts, texts] }));
        assert_eq!(found.len(), 100_000);
        assert_eq!(found[99_999], "99999");
    }

    #[test]
    fn the_last_segment_of_an_address_is_one() {
        check(
            &json!({ "$ref": "../Users/bulkId:a", "members": [{ "$REF": "https://example.com/v2/Users/bulkId:b" }] }),
            &["a", "b"],
            &json!({ "$ref": "../Users/<a>", "members": [{ "$REF": "https://example.com/v2/Users/<b>" }] }),
        );
        check(
            &json!({ "$ref": "/Users/26118915" }),
            &[],
            &json!({ "$ref": "/Users/26118915" }),
        );
    }

    /// RFC 7644 §3.5.2: the filter in a PATCH path.
    #[test]
    fn a_quoted_text_of_a_path_is_one() {
        for (path, found, resolved) in [
            ("members[value eq \"bulkId:a\"]", vec!["a"], "members[value eq \"<a>\"]"),
            (
                "members[value eq \"bulkId:a\" or value eq \"bulkId:b\"].display",
                vec!["a", "b"],
                "members[value eq \"<a>\" or value eq \"<b>\"].display",
            ),
            (
                r#"members[display eq "\"bulkId:a\\" or value eq "bulkId:\u0061\"b"]"#,
                vec!["a\"b"],
                r#"members[display eq "\"bulkId:a\\" or value eq "<a\"b>"]"#,
            ),
            (
                "members[value eq \"a bulkId:b\"]",
                vec![],
                "members[value eq \"a bulkId:b\"]",
            ),
            ("members[value eq \"bulkId:a", vec![], "members[value eq \"bulkId:a"),
            ("members[value eq \"", vec![], "members[value eq \""),
            ("members", vec![], "members"),
        ] {
            check(
                &json!({ "Operations": [{ "op": "remove", "path": path }] }),
                &found,
                &json!({ "Operations": [{ "op": "remove", "path": resolved }] }),
            );
        }
    }

    /// What is left and what was taken out make the whole.
    #[test]
    fn a_value_is_taken_out_as_a_whole() {
        let mut document = json!({
            "displayName": "Tour Guides",
            "members": [{ "value": "bulkId:a", "type": "Group" }, { "value": "bulkId:b" }, { "value": "26118915" }],
            "title": "bulkId:a",
            ENTERPRISE: { "department": "Tour", "manager": { "value": "bulkId:a" } },
        });
        let taken = reference::take_out(document.as_object_mut().unwrap(), &["a".to_owned()]);
        assert_eq!(
            document,
            json!({
                "displayName": "Tour Guides",
                "members": [{ "value": "bulkId:b" }, { "value": "26118915" }],
                ENTERPRISE: { "department": "Tour" },
            })
        );
        assert_eq!(
            Value::Object(taken),
            json!({
                "members": [{ "value": "bulkId:a", "type": "Group" }],
                "title": "bulkId:a",
                ENTERPRISE: { "manager": { "value": "bulkId:a" } },
            })
        );
    }

    proptest! {
        #[test]
        fn any_path_is_read_to_its_end(path in "[\"\\\\a:é ]{0,12}(bulkId:)?[\"\\\\a]{0,4}") {
            reference::resolved(&json!({ "path": path }), &mut |_| Some("é\"".to_owned()));
        }
    }
}

mod messages {
    use super::*;

    #[track_caller]
    fn check_refused(body: &Value, rule: Rule) {
        let refused = Job::read(&Catalog::standard(), body.clone()).map(|_| ());
        assert_eq!(refused.map_err(|error| error.rule()), Err(rule), "{body}");
    }

    /// RFC 7644 §3.7, §3.7.4: before anything is written.
    #[test]
    fn what_cannot_be_answered_one_by_one_is_refused_as_a_whole() {
        let delete = json!({ "method": "DELETE", "path": "/Users/1" });
        let some = json!([delete]);
        for (body, rule) in [
            (json!([]), Rule::BodyNotObject),
            (json!({}), Rule::NotBulkRequest),
            (json!({ "Operations": some }), Rule::NotBulkRequest),
            (
                json!({ "schemas": [USER_URN], "Operations": some }),
                Rule::NotBulkRequest,
            ),
            (request(json!(null)), Rule::NoOperations),
            (request(json!([])), Rule::NoOperations),
            (request(delete.clone()), Rule::NoOperations),
            (request(json!([delete, null])), Rule::BulkOperation),
            (request(json!([delete, "DELETE"])), Rule::BulkOperation),
            (request(json!([delete, { "path": "/Users/1" }])), Rule::BulkOperation),
            (
                request(json!([{ "method": 1, "path": "/Users/1" }])),
                Rule::BulkOperation,
            ),
            (
                request(json!([{ "method": "DELETE", "METHOD": "PUT" }])),
                Rule::AttributeTwice,
            ),
            (
                request(json!([{ "method": "DELETE", "bulkId": 1 }])),
                Rule::BulkOperation,
            ),
            (
                request(json!([post("a", "1"), post("b", "1"), post("a", "1")])),
                Rule::BulkIdTwice,
            ),
            (
                request(json!([post("a", "1"), { "method": "DELETE", "bulkId": "a", "path": "/Users/1" }])),
                Rule::BulkIdTwice,
            ),
            (
                request(vec![delete.clone(); MAX_BULK_OPERATIONS + 1].into()),
                Rule::TooManyOperations,
            ),
        ] {
            check_refused(&body, rule);
        }
        assert_eq!(
            answers(&job(request(vec![delete; MAX_BULK_OPERATIONS].into()))),
            [""; 0]
        );
        for number in [json!(0), json!(-1), json!(1.5), json!("one"), json!(true), json!([1])] {
            let mut body = request(json!([{ "method": "DELETE", "path": "/Users/1" }]));
            body["failOnErrors"] = number;
            check_refused(&body, Rule::WrongType);
        }
    }

    #[track_caller]
    fn check_answer(operation: &Value, rule: Rule, says: &str) {
        let mut job = job(request(json!([operation, { "method": "delete", "path": "/Users/1" }])));
        let writes = run(&mut job, |_| None);
        assert_eq!(writes, [Write::Delete { id: "1".to_owned() }], "{operation}");
        let errors: Vec<&Error> = job.errors().collect();
        assert_eq!((errors.len(), errors[0].rule()), (1, rule), "{operation}: {errors:?}");
        assert!(errors[0].detail().contains(says), "{operation}: {}", errors[0]);
        assert_eq!(answers(&job).len(), 2);
    }

    #[test]
    fn what_is_wrong_with_one_operation_is_its_own_failure() {
        let user = json!({ "schemas": [USER_URN], "userName": "a" });
        for (operation, says) in [
            (
                json!({ "method": "GET", "path": "/Users/1" }),
                "Operation 1 of the bulk request",
            ),
            (json!({ "method": "", "path": "/Users/1" }), "as method"),
            (json!({ "method": "POST", "path": "/Users", "data": user }), "a bulkId"),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": "", "data": user }),
                "a bulkId",
            ),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": "a" }),
                "an object as data",
            ),
            (
                json!({ "method": "POST", "path": "/Users", "bulkId": "a", "data": [user] }),
                "an object as data",
            ),
            (
                json!({ "method": "PUT", "path": "/Users/1", "data": "{}" }),
                "an object as data",
            ),
            (
                json!({ "method": "DELETE", "path": "/Users/1", "version": 1 }),
                "a text as version",
            ),
            (json!({ "method": "DELETE" }), "a path"),
            (json!({ "method": "DELETE", "path": 1 }), "a path"),
        ] {
            check_answer(&operation, Rule::BulkOperation, says);
        }
        let data = json!({ "displayName": "a", "Members": [{ "value": "1" }, { "value": "bulkId:a" }] });
        let own = json!({ "method": "POST", "path": "/Groups", "bulkId": "a", "data": data });
        check_answer(&own, Rule::OwnMember, "The group a ");
        for (method, path, says) in [
            ("POST", "/Users/1", "POST: use PUT"),
            ("PUT", "/Users", "PUT: use POST"),
            ("PATCH", "/Users/", "PATCH: use POST"),
        ] {
            let operation = json!({ "method": method, "path": path, "bulkId": "a", "data": user });
            check_answer(&operation, Rule::MethodNotAllowed, says);
        }
    }

    /// No other host, tenant or endpoint, and no bulk request in another.
    #[test]
    fn a_path_leads_to_resources_and_nowhere_else() {
        for path in [
            "",
            "/",
            "//",
            "Bulk",
            "/Bulk",
            "/.search",
            "/Users/.search/1",
            "/Me",
            "/Schemas",
            "/v2/Users/1",
            "https://example.com/v2/Users/1",
            "//example.com/Users/1",
            "//Users/1",
            "/../globex/Users/1",
            "/Users/../Users/1",
            "/Users/..",
            "/Users/.",
            "/Users/%2e%2e",
            "/Users/1/2",
            "/Users/1/",
            "/Users/a%2Fb",
            "/Users/%ff",
            "/Users/1?attributes=id",
            "/Users?count=1",
            "/Users/1#a",
            "/Users/a b",
            "/scim/acme/Users/1",
            "\\Users\\1",
        ] {
            let operation = json!({ "method": "DELETE", "path": path });
            check_answer(&operation, Rule::BulkOperation, "a path such as /Users");
        }
        for (path, id) in [
            ("/Users/1", "1"),
            ("Users/1", "1"),
            ("/users/a%40b", "a@b"),
            ("/Users/a@b", "a@b"),
        ] {
            let mut job = job(request(json!([{ "method": "DELETE", "path": path }])));
            assert_eq!(run(&mut job, |_| None), [Write::Delete { id: id.to_owned() }], "{path}");
        }
    }

    #[test]
    fn members_are_read_in_any_case_and_what_is_left_out_is_noted() {
        let body = json!({
            "Schemas": [BULK_REQUEST_URN.to_uppercase()], "FAILONERRORS": "1", "color": "red",
            "operations": [{ "Method": "delete", "PATH": "/Users/1", "data": {}, "color": "red" }, post("a", "1")],
        });
        let mut job = job(body);
        assert_eq!(run(&mut job, |_| None).len(), 2);
        assert_eq!(answers(&job), ["DELETE - 204", "POST a 201"]);
        let notes: Vec<String> = job
            .trace
            .notes()
            .iter()
            .map(|note| format!("{} {}", note.quirk.name(), note.path))
            .collect();
        let expected = [
            "unknown-member color",
            "number-string failOnErrors",
            "unknown-member Operations.color",
            "unknown-member Operations.data",
        ];
        assert_eq!(notes, expected);
    }
}

/// R-BULK-02 (RFC 7644 §3.7.2): what refers to a resource that did not come into being is refused, and says which.
#[test]
fn what_refers_to_nothing_fails_with_it() {
    let operations = json!([
        post("a", "bulkId:nobody"),
        post("b", "bulkId:a"),
        post("c", "bulkId:b"),
        post("d", "1"),
        { "method": "DELETE", "path": "/Users/bulkId:a" },
        { "method": "DELETE", "path": "/Users/bulkId:d" },
        { "method": "PUT", "bulkId": "e", "path": "/Users/1", "data": {} },
        { "method": "PATCH", "path": "/Users/2", "data": { "Operations": [{ "path": "x", "value": "bulkId:e" }] } },
    ]);
    let mut job = job(request(operations));
    let writes = run(&mut job, |_| None);
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert_eq!(writes[1], Write::Delete { id: "d".to_owned() });
    let statuses = [
        "POST a 400",
        "POST b 409",
        "POST c 409",
        "POST d 201",
        "DELETE - 409",
        "DELETE - 204",
        "PUT e 200",
        "PATCH - 400",
    ];
    assert_eq!(answers(&job), statuses);
    let details: Vec<String> = job.errors().map(Error::detail).collect();
    for (detail, named) in details
        .iter()
        .zip(["bulkId nobody,", "bulkId a,", "bulkId b,", "bulkId a,", "bulkId e,"])
    {
        assert!(detail.contains(named), "{detail}");
    }
}

/// What failed on our side is told the same to what depends on it: both are to be sent again.
#[test]
fn what_is_to_be_tried_again_is_so_for_what_refers_to_it() {
    let mut job = job(request(json!([post("a", "1"), post("b", "bulkId:a")])));
    run(&mut job, |_| Some(Rule::StorageUnavailable));
    assert_eq!(answers(&job), ["POST a 503", "POST b 503"]);
}

/// RFC 7644 §3.7.1: one is created without the reference, which is put in as soon as the other is there.
#[test]
fn a_circle_is_created_and_then_closed() {
    let mut job = job(request(json!([
        post("a", "bulkId:b"),
        post("b", "bulkId:a"),
        post("c", "bulkId:c")
    ])));
    let writes = run(&mut job, |_| None);
    let closed = |of: &str, with: &str| Write::Patch {
        id: of.to_owned(),
        message: json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "add", "value": { ENTERPRISE: { "manager": { "value": with } } } }],
        }),
    };
    let created = |name: &str, extension: Value| Write::Create {
        document: json!({ "schemas": [USER_URN], "userName": name, ENTERPRISE: extension }),
    };
    let expected = [
        created("b", json!({})),
        created("a", json!({ "manager": { "value": "b" } })),
        closed("b", "a"),
        created("c", json!({})),
        closed("c", "c"),
    ];
    assert_eq!(writes, expected);
    assert_eq!(answers(&job), ["POST a 201", "POST b 201", "POST c 201"]);
}

/// The client learns that the resource is there, where, and what it lacks.
#[test]
fn a_circle_that_cannot_be_closed_says_what_is_missing() {
    let is_a = |write: &Write| matches!(write, Write::Create { document } if document["userName"] == "a");
    let mut job = job(request(json!([
        post("a", "bulkId:b"),
        post("b", "bulkId:a"),
        post("c", "bulkId:b")
    ])));
    run(&mut job, |write| is_a(write).then_some(Rule::UniqueTaken));
    assert_eq!(answers(&job), ["POST a 409", "POST b 409", "POST c 201"]);
    let response = job.response(BASE, |error| error.body(None));
    assert_eq!(response["Operations"][0].get("location"), None);
    let b = &response["Operations"][1];
    assert_eq!(b["location"], format!("{BASE}/Users/b"));
    assert!(
        b["response"]["detail"]
            .as_str()
            .unwrap()
            .contains("was created without its reference to the bulkId a,")
    );
}

/// R-BULK-03 (RFC 7644 §3.7.3): what was not begun is not in the answer; what was begun is brought to its end.
#[test]
fn after_as_many_errors_as_the_client_accepts_nothing_is_begun() {
    let failing = |number: usize| json!({ "method": "DELETE", "path": format!("/Users/{number}"), "bulkId": format!("d{number}") });
    for (limit, expected) in [
        (json!(1), vec!["DELETE d1 404"]),
        (json!(2), vec!["DELETE d1 404", "POST a 201", "DELETE d2 404"]),
        (
            json!(3),
            vec!["DELETE d1 404", "POST a 201", "DELETE d2 404", "DELETE d3 404"],
        ),
        (
            json!(4),
            vec![
                "DELETE d1 404",
                "POST a 201",
                "DELETE d2 404",
                "DELETE d3 404",
                "POST b 201",
            ],
        ),
        (
            json!(null),
            vec![
                "DELETE d1 404",
                "POST a 201",
                "DELETE d2 404",
                "DELETE d3 404",
                "POST b 201",
            ],
        ),
    ] {
        let mut body = request(json!([
            failing(1),
            post("a", "1"),
            failing(2),
            failing(3),
            post("b", "1")
        ]));
        body["failOnErrors"] = limit.clone();
        let mut job = job(body);
        let writes = run(&mut job, |write| {
            matches!(write, Write::Delete { .. }).then_some(Rule::NotFound)
        });
        assert_eq!(answers(&job), expected, "{limit}");
        assert_eq!(writes.len(), expected.len(), "{limit}");
    }
    let mut body = request(json!([post("a", "bulkId:b"), post("b", "bulkId:a"), failing(1)]));
    body["failOnErrors"] = json!(1);
    let mut job = job(body);
    let is_a = |write: &Write| matches!(write, Write::Create { document } if document["userName"] == "a");
    run(&mut job, |write| is_a(write).then_some(Rule::UniqueTaken));
    assert_eq!(answers(&job), ["POST a 409", "POST b 409"]);
}

#[test]
fn when_time_is_up_what_is_not_done_is_to_be_sent_again() {
    let operations = json!([post("a", "1"), post("b", "bulkId:c"), post("c", "bulkId:b"), { "method": "DELETE", "path": "/Users/1" }]);
    let mut job = job(request(operations));
    for name in ["a", "c"] {
        assert!(job.next_task().is_some());
        job.finish(Ok(Some(envelope(name))));
    }
    assert!(job.next_task().is_some(), "b is under way");
    job.abandon();
    assert!(job.next_task().is_none());
    job.finish(Ok(Some(envelope("b"))));
    assert_eq!(
        answers(&job),
        ["POST a 201", "POST b 503", "POST c 503", "DELETE - 503"]
    );
    let response = job.response(BASE, |error| error.body(None));
    let locations: Vec<&str> = (0..4)
        .filter_map(|at| response["Operations"][at]["location"].as_str())
        .collect();
    assert_eq!(
        locations,
        ["a", "c", "1"].map(|id| format!("{BASE}/Users/{id}")),
        "c is there already"
    );
}

/// RFC 7644 §3.7.3.
#[test]
fn an_answer_says_where_the_resource_is_and_in_which_version() {
    let operations = json!([
        post("qwerty", "1"),
        { "method": "DELETE", "path": "/Users/e9025315", "version": "W/\"0ee8add0a938e1a\"" },
        { "method": "PUT", "path": "/Users/b7c14771", "data": {}, "version": "W/\"1\", W/\"2\"" },
        { "method": "PATCH", "path": "/Users/bulkId:qwerty", "data": {} },
    ]);
    let mut job = job(request(operations));
    let mut versions = Vec::new();
    while let Some(task) = job.next_task() {
        versions.push(task.version);
        job.finish(match task.write {
            Write::Create { .. } => Ok(Some(envelope("92b725cd"))),
            Write::Delete { .. } => Ok(None),
            Write::Replace { .. } => Err(Rule::PreconditionFailed.error()),
            Write::Patch { id, .. } => Ok(Some(envelope(&id))),
        });
    }
    let given = [None, Some("W/\"0ee8add0a938e1a\""), Some("W/\"1\", W/\"2\""), None];
    assert_eq!(versions, given.map(|version| version.map(str::to_owned)));
    let expected = json!([
        { "location": format!("{BASE}/Users/92b725cd"), "method": "POST", "bulkId": "qwerty",
          "version": "W/\"v-92b725cd\"", "status": "201" },
        { "location": format!("{BASE}/Users/e9025315"), "method": "DELETE", "status": "204" },
        { "location": format!("{BASE}/Users/b7c14771"), "method": "PUT", "status": "412", "response": "an error" },
        { "location": format!("{BASE}/Users/92b725cd"), "method": "PATCH", "version": "W/\"v-92b725cd\"", "status": "200" },
    ]);
    let response = job.response(BASE, |_| json!("an error"));
    assert_eq!(response["Operations"].to_string(), expected.to_string());
}

fn any_job() -> impl Strategy<Value = (Vec<Value>, Option<usize>, Vec<bool>)> {
    (1..30_usize).prop_flat_map(|size| {
        let operation = (0..5_usize, 0..size + 1, 0..size);
        let operations = proptest::collection::vec(operation, size).prop_map(move |all| {
            let one = |(at, (kind, manager, target)): (usize, (usize, usize, usize))| {
                let manager = if manager == size { "1".to_owned() } else { format!("bulkId:b{manager}") };
                let path = format!("/Users/bulkId:b{target}");
                match kind {
                    0 => json!({ "method": "DELETE", "path": path }),
                    1 => json!({ "method": "PUT", "path": path, "data": { "manager": manager } }),
                    2 => json!({ "method": "PATCH", "path": "/Users/1", "bulkId": format!("b{at}"), "data": { "manager": manager } }),
                    _ => post(&format!("b{at}"), &manager),
                }
            };
            all.into_iter().enumerate().map(one).collect()
        });
        (operations, proptest::option::of(1..4_usize), proptest::collection::vec(proptest::bool::weighted(0.2), 60))
    })
}

proptest! {
    /// Whatever refers to what and whatever fails: nothing is written with an open reference, each operation is
    /// answered once and in the request's order, and what was not begun is left out only when the client asked for
    /// that.
    #[test]
    fn every_operation_is_answered_once((operations, fail_on_errors, failures) in any_job()) {
        let mut body = request(operations.clone().into());
        body["failOnErrors"] = json!(fail_on_errors);
        let mut job = job(body);
        let mut failures = failures.into_iter();
        let mut created = HashSet::from(["1".to_owned()]);
        let mut count = 0;
        while let Some(task) = job.next_task() {
            count += 1;
            let text = format!("{:?}", task.write);
            prop_assert!(!text.contains("bulkId:"), "{}", text);
            let fails = failures.next().unwrap_or_default();
            let result = match &task.write {
                _ if fails => Err(Rule::UniqueTaken.error()),
                Write::Create { document } => Ok(document["userName"].as_str().map(envelope)),
                Write::Replace { id, .. } | Write::Patch { id, .. } => Ok(Some(envelope(id))),
                Write::Delete { .. } => Ok(None),
            };
            if let Write::Replace { id, .. } | Write::Patch { id, .. } | Write::Delete { id } = &task.write {
                prop_assert!(created.contains(id), "{} is not there", id);
            }
            created.extend(result.as_ref().ok().into_iter().flatten().map(|envelope| envelope.id.clone()));
            job.finish(result);
        }
        prop_assert!(count <= 2 * operations.len());
        let asked: Vec<String> = operations
            .iter()
            .map(|one| format!("{} {}", one["method"].as_str().unwrap(), one["bulkId"].as_str().unwrap_or("-")))
            .collect();
        let answered: Vec<String> = answers(&job).iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        let errors = job.errors().count();
        match fail_on_errors {
            Some(limit) if errors >= limit => {
                let mut rest = asked.iter();
                prop_assert!(answered.iter().all(|line| rest.any(|one| one == line)), "{:?} of {:?}", answered, asked);
            }
            _ => prop_assert_eq!(answered, asked),
        }
    }
}
