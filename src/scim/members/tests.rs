//! What edits need to know, and what they change.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::error::{Error, Rule};
use super::super::limits::{MAX_MEMBER_WORK, MAX_MEMBERS};
use super::super::normalize::Trace;
use super::super::path::Path;
use super::super::schema::Catalog;
use super::{Change, Edits, Filter, Kind, Member, Plan};

/// Groups are the members whose ids begin with `g`.
fn kind(id: &str) -> Kind {
    if id.starts_with('g') { Kind::Group } else { Kind::User }
}

fn apply(edits: &Edits, present: &[Member]) -> Result<Change, Error> {
    edits.apply(present, |id| Some(kind(id)))
}

/// Members by ids with spaces between them, as a client names them.
fn named(ids: &str) -> Vec<Member> {
    ids.split_whitespace()
        .map(|id| Member {
            id: id.to_owned(),
            kind: None,
        })
        .collect()
}

/// The same as they are stored.
fn stored(ids: &str) -> Vec<Member> {
    let known = named(ids).into_iter();
    known
        .map(|it| Member {
            kind: Some(kind(&it.id)),
            ..it
        })
        .collect()
}

fn ids(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn filter(text: &str) -> Filter {
    let catalog = Catalog::standard();
    let rt = catalog.resource_type("Group").expect("groups");
    let path = Path::parse(rt, &format!("members[{text}]"), &mut Trace::default()).expect("a path");
    let path = path.expect("members");
    path.filter().expect("a filter").clone()
}

/// Edits as text: `+ a b`, `- a`, `= a`, `? type eq "User"`.
fn edits(lines: &[&str]) -> Edits {
    let mut edits = Edits::default();
    for line in lines {
        let (sign, rest) = line.split_at(1);
        match sign {
            "+" => edits.add(named(rest)),
            "-" => edits.remove(ids(rest)),
            "=" => edits.replace(named(rest)),
            _ => edits.remove_matching(filter(rest.trim()), None),
        }
    }
    edits
}

#[track_caller]
fn check_plan(lines: &[&str], expected: &Plan) {
    assert_eq!(edits(lines).plan(), *expected, "{lines:?}");
}

/// What the edits change where `a b g1` are the members.
#[track_caller]
fn check(lines: &[&str], add: &str, remove: &str) {
    let expected = Change {
        add: stored(add),
        remove: ids(remove),
    };
    let change = apply(&edits(lines), &stored("a b g1")).expect("little work");
    assert_eq!(change, expected, "{lines:?}");
}

#[test]
fn the_last_edit_of_a_member_decides() {
    let change = |add: &str, remove: &str| {
        Plan::Named(Change {
            add: named(add),
            remove: ids(remove),
        })
    };
    check_plan(&[], &Plan::Nothing);
    check_plan(&["+"], &Plan::Nothing);
    check_plan(&["-"], &Plan::Nothing);
    check_plan(&["+ a b", "+ c"], &change("a b c", ""));
    check_plan(&["+ a b", "- a"], &change("b", "a"));
    check_plan(&["- a", "+ a b"], &change("a b", ""));
    check_plan(&["+ a", "- a b", "+ a"], &change("a", "b"));
    check_plan(&["+ a a", "- b b"], &change("a", "b"));
}

#[test]
fn a_replace_makes_void_what_was_before_it() {
    check_plan(&["="], &Plan::Whole(named("")));
    check_plan(&["+ a", "? value pr", "= b"], &Plan::Whole(named("b")));
    check_plan(&["= a b", "- b c", "+ d"], &Plan::Whole(named("a d")));
    check_plan(&["= a", "= b"], &Plan::Whole(named("b")));
}

#[test]
fn a_filter_needs_the_present_members() {
    check_plan(&["+ c", "? type eq \"User\""], &Plan::Matching(named("c")));
    check_plan(&["? type eq \"User\"", "+ c d", "- d"], &Plan::Matching(named("c")));
    check_plan(&["= c", "? type eq \"User\""], &Plan::Matching(named("c")));
}

#[test]
fn what_changes_is_told_of_the_present_members() {
    check(&[], "", "");
    check(&["+ a c"], "c", "");
    check(&["- a c"], "", "a");
    check(&["="], "", "a b g1");
    check(&["= b c"], "c", "a g1");
    check(&["= b", "+ a"], "", "g1");
    check(&["? type eq \"user\""], "", "a b");
    check(&["? value ne \"a\""], "", "b g1");
    check(&["? type eq \"User\" and value sw \"b\""], "", "b");
    check(&["? not (type eq \"User\")"], "", "g1");
    check(&["+ c g2", "? type eq \"Group\""], "c", "g1");
    check(&["? type eq \"User\"", "+ b c"], "c", "a");
    check(&["= c g2", "? type eq \"User\""], "g2", "a b g1");
}

#[test]
fn a_filter_may_choose_among_listed_ones_only() {
    let mut edits = Edits::default();
    edits.remove_matching(
        filter("type eq \"User\""),
        Some(["a", "g1", "c"].map(str::to_owned).into()),
    );
    let change = apply(&edits, &stored("a b g1")).expect("little work");
    assert_eq!((change.add, change.remove), (vec![], ids("a")));
}

#[test]
fn what_a_request_names_is_limited() {
    let many = |count: usize| {
        (0..count)
            .map(|number| Member {
                id: number.to_string(),
                kind: None,
            })
            .collect()
    };
    let mut edits = Edits::default();
    edits.add(many(MAX_MEMBERS));
    edits.remove(ids("1 2 3"));
    let mut edits = edits.checked().expect("nobody is counted twice");
    edits.remove(ids("more"));
    let error = edits.checked().expect_err("one too many");
    assert_eq!((error.rule(), error.status()), (Rule::TooManyMembers, 413));
    assert!(error.detail().contains("10000"), "{error}");
}

#[test]
fn what_can_be_no_id_is_nobody() {
    for id in ["a/b", "a b", "é", &"x".repeat(129)] {
        let mut edits = Edits::default();
        edits.remove([id.to_owned()]);
        assert_eq!(edits.plan(), Plan::Nothing, "{id}");
        edits.add(vec![Member {
            id: id.to_owned(),
            kind: None,
        }]);
        assert_eq!(edits.checked().expect_err(id).rule(), Rule::UnknownMember);
    }
}

#[test]
fn the_work_of_filters_is_limited() {
    let present = stored(&"a ".repeat(1_000));
    let rounds = |count: usize| {
        let mut edits = Edits::default();
        for _ in 0..count {
            edits.remove_matching(filter(&vec!["type eq \"Group\""; 200].join(" or ")), None);
        }
        apply(&edits, &present)
    };
    assert_eq!(rounds(2), Ok(Change::default()));
    let error = rounds(MAX_MEMBER_WORK / 200 / present.len() + 1).expect_err("too many");
    assert_eq!(error.rule(), Rule::PatchTooCostly);
}

fn any_edit() -> impl Strategy<Value = String> {
    let names = || prop::collection::vec("[a-dg]", 0..4).prop_map(|names| names.join(" "));
    prop_oneof![
        3 => names().prop_map(|names| format!("+ {names}")),
        3 => names().prop_map(|names| format!("- {names}")),
        1 => names().prop_map(|names| format!("= {names}")),
        1 => prop::sample::select(vec!["? type eq \"User\"", "? value eq \"a\" or type eq \"Group\"", "? value gt \"b\""])
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// One edit after the other on a set, and the plan carried out, make the same group.
    #[test]
    fn edits_are_what_they_do_one_after_the_other(
        lines in prop::collection::vec(any_edit(), 0..6),
        present in "([a-dg] )*",
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut distinct = stored(&present);
        distinct.sort_by(|one, other| one.id.cmp(&other.id));
        distinct.dedup();
        let before: BTreeSet<String> = distinct.iter().map(|member| member.id.clone()).collect();
        let mut expected = before.clone();
        for line in &lines {
            let rest = &line[1..];
            match &line[..1] {
                "+" => expected.extend(ids(rest)),
                "-" => ids(rest).iter().for_each(|id| _ = expected.remove(id)),
                "=" => expected = ids(rest).into_iter().collect(),
                _ => expected.retain(|id| match rest.trim() {
                    "type eq \"User\"" => id == "g",
                    "value gt \"b\"" => id.as_str() <= "b",
                    _ => id != "a" && id != "g",
                }),
            }
        }
        let edits = edits(&lines);
        let carried_out = |change: Change| {
            let mut after = before.clone();
            after.retain(|id| !change.remove.contains(id));
            after.extend(change.add.into_iter().map(|member| member.id));
            after
        };
        let change = apply(&edits, &distinct).expect("little work");
        prop_assert!(change.remove.iter().all(|id| before.contains(id)));
        prop_assert!(change.add.iter().all(|member| !before.contains(&member.id)));
        prop_assert_eq!(&carried_out(change), &expected);
        match edits.plan() {
            Plan::Nothing => prop_assert_eq!(&before, &expected),
            Plan::Named(change) => prop_assert_eq!(&carried_out(change), &expected),
            Plan::Whole(members) => {
                let whole: BTreeSet<String> = members.into_iter().map(|member| member.id).collect();
                prop_assert_eq!(&whole, &expected);
            }
            Plan::Matching(may_come) => {
                let known = |id: &String| before.contains(id) || may_come.iter().any(|member| member.id == *id);
                prop_assert!(expected.iter().all(known));
            }
        }
    }
}
