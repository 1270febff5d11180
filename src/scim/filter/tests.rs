use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::error::Rule;
use super::super::limits::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
use super::super::normalize::{Quirk, Trace};
use super::super::schema::{Catalog, Extension, ResourceType, Schema};
use super::*;

/// The type User with an extension that has what the standard schemas lack.
fn user() -> ResourceType {
    let mut rt = (**Catalog::standard().resource_type("User").unwrap()).clone();
    let schema = Schema::from_json(&json!({"id": "urn:example:2.0:Extra", "attributes": [
        {"name": "level", "type": "integer"},
        {"name": "rate", "type": "decimal"},
        {"name": "hired", "type": "dateTime"},
        {"name": "tags", "type": "string", "multiValued": true},
        {"name": "secret", "type": "string", "returned": "never"},
        {"name": "key", "type": "complex", "subAttributes": [{"name": "pin", "type": "string", "returned": "never"}]},
    ]}));
    rt.extensions.push(Extension {
        schema: schema.unwrap().into(),
        required: false,
    });
    rt
}

fn document() -> Map<String, Value> {
    let Value::Object(document) = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": "2819c223-7f76-453a-919d-413861904646",
        "externalId": "701984",
        "userName": "bjensen@example.com",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "active": true,
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "x509Certificates": [{"value": "TUlJ"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": "701984", "manager": {"value": "26118915-6090-4610-87e4-49d8ca9f808d"},
        },
        "urn:example:2.0:Extra": {"level": 7, "rate": 2.5, "hired": "2011-05-13T04:42:34Z", "tags": ["Red", "blue"]},
        "meta": {"resourceType": "User", "lastModified": "2011-05-13T04:42:34.000Z", "version": "W/\"3694e05e9dff594\""},
    }) else {
        unreachable!()
    };
    document
}

#[track_caller]
fn check(filter: &str, expected: bool) {
    let rt = user();
    let parsed = parse(&rt, filter, &mut Trace::default()).unwrap_or_else(|error| panic!("{filter}: {error}"));
    assert_eq!(parsed.matches(&document()), expected, "{filter}");
    let printed = parsed.to_string();
    let again = parse(&rt, &printed, &mut Trace::default()).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert!(
        again == parsed,
        "{filter} is printed as {printed}, which reads as {again}"
    );
}

#[track_caller]
fn check_refused(filter: &str, rule: Rule, detail_has: &str) {
    let error = parse(&user(), filter, &mut Trace::default()).expect_err(filter);
    assert_eq!(error.rule(), rule, "{filter}: {error}");
    assert!(
        error.detail().contains(detail_has),
        "{filter}: {error} should name {detail_has}"
    );
}

#[track_caller]
fn check_form(filter: &str, expected: &str) {
    assert_eq!(
        parse(&user(), filter, &mut Trace::default()).unwrap().to_string(),
        expected
    );
}

#[track_caller]
fn check_noted(filter: &str, quirk: Quirk, path: &str) {
    let mut trace = Trace::default();
    parse(&user(), filter, &mut trace).unwrap();
    let notes: Vec<_> = trace
        .notes()
        .iter()
        .map(|note| (note.quirk, note.path.as_str()))
        .collect();
    assert_eq!(notes, [(quirk, path)], "{filter}");
}

/// R-FILTER-01.
#[test]
fn every_operator_compares_text() {
    // RFC 7644 §3.4.2.2, table 3.
    check(r#"userName eq "bjensen@example.com""#, true);
    check(r#"userName eq "bjensen""#, false);
    check(r#"userName ne "bjensen""#, true);
    check(r#"userName co "jensen""#, true);
    check(r#"name.familyName sw "Jen""#, true);
    check(r#"name.familyName ew "sen""#, true);
    check(r#"name.familyName ew "Jen""#, false);
    check(r#"name.givenName gt "Babs""#, true);
    check(r#"name.givenName ge "barbara""#, true);
    check(r#"name.givenName lt "Barbara""#, false);
    check(r#"name.givenName le "Barbara""#, true);
    check("name.givenName pr", true);
    check("name pr", true);
    check("title pr", false);
}

/// R-FILTER-02.
#[test]
fn case_counts_only_where_the_schema_says_so() {
    // RFC 7643 §2.2, caseExact; userName folds completely, not only ASCII.
    check(r#"userName eq "BJensen@Example.COM""#, true);
    check(r#"externalId eq "701984""#, true);
    check(r#"id eq "2819C223-7F76-453A-919D-413861904646""#, false);
    check(r#"id eq "2819c223-7f76-453a-919d-413861904646""#, true);
    check(r#"schemas eq "URN:ietf:params:scim:schemas:core:2.0:user""#, true);
}

#[test]
fn every_value_is_folded_for_itself() {
    let tags = json!({"urn:example:2.0:Extra": {"tags": ["STRASSE", "Straße", "GRÜN", "ＢＬＵＥ", "Grün"]}});
    for (filter, expected) in [
        (r#"urn:example:2.0:Extra:tags eq "strasse""#, true),
        (
            r#"urn:example:2.0:Extra:tags eq "grün" and urn:example:2.0:Extra:tags eq "blue""#,
            true,
        ),
        (
            r#"urn:example:2.0:Extra:tags eq "blau" or urn:example:2.0:Extra:tags ew "ÜN""#,
            true,
        ),
        (
            r#"urn:example:2.0:Extra:tags eq "blau" or urn:example:2.0:Extra:tags eq "gr""#,
            false,
        ),
        (
            r#"urn:example:2.0:Extra:tags[value sw "GRÜ" and value ew "asse"]"#,
            false,
        ),
    ] {
        let parsed = parse(&user(), filter, &mut Trace::default()).unwrap();
        assert_eq!(parsed.matches(tags.as_object().unwrap()), expected, "{filter}");
    }
}

#[track_caller]
fn check_terms(filter: &str, expected: usize) {
    let parsed = parse(&user(), filter, &mut Trace::default()).unwrap();
    assert_eq!(parsed.terms(), expected, "{filter}");
}

#[test]
fn conditions_are_counted_wherever_they_stand() {
    check_terms("title pr", 1);
    check_terms("not (title pr or nickName eq null)", 2);
    check_terms(r#"emails[type eq "work" and value co "x"] and not (active eq true)"#, 3);
    check_terms(r#"emails[type eq "work"].value ne "x""#, 2);
}

/// R-GEN-03, R-FILTER-04.
#[test]
fn names_urns_and_keywords_are_read_in_any_case() {
    check(r#"USERNAME Eq "bjensen@example.com" AND ACTIVE eq true"#, true);
    check(r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "b""#, true);
    check("URN:IETF:params:scim:schemas:CORE:2.0:user:name.FAMILYNAME pr", true);
    check("Not (Active EQ False) oR title PR", true);
}

/// R-FILTER-01.
#[test]
fn and_binds_closer_than_or_and_not_closest() {
    check("active eq true or title pr and nickName pr", true);
    check("(active eq true or title pr) and nickName pr", false);
    check("not (active eq true) or title pr", false);
    check("not (title pr) and active eq true", true);
    check("not (title pr and active eq true)", true);
    check("not (not (active eq true))", true);
}

/// R-FILTER-05.
#[test]
fn brackets_mean_one_and_the_same_value() {
    check(r#"emails[type eq "work" and value co "@example.com"]"#, true);
    check(r#"emails[type eq "home" and value co "@example.com"]"#, false);
    check(r#"emails.type eq "home" and emails.value co "@example.com""#, true);
    check(r#"emails[not (type eq "work")]"#, true);
    check(r#"emails[type eq "work" or type eq "home"]"#, true);
    check(r#"emails[type eq "other"]"#, false);
    check(r#"name[familyName eq "Jensen"]"#, true);
    check(r#"urn:example:2.0:Extra:tags[value eq "red"]"#, true);
    check(r#"urn:example:2.0:Extra:tags[value eq "green"]"#, false);
}

/// R-FILTER-05, E-USER-03.
#[test]
fn a_sub_attribute_behind_brackets_is_entras_way_to_match() {
    check(r#"emails[type eq "work"].value eq "bjensen@example.com""#, true);
    check(r#"emails[type eq "home"].value eq "bjensen@example.com""#, false);
    check(r#"emails[type eq "work"].value ne "bjensen@example.com""#, false);
    check(r#"emails[type eq "other"].value ne "bjensen@example.com""#, true);
    check(r#"emails[type eq "work"].value pr"#, true);
    check(r#"emails[type eq "work"].display eq null"#, true);
    check(r#"emails[type eq "work"] eq "bjensen@example.com""#, true);
    check(r#"emails[type eq "other"] pr"#, false);
}

/// R-FILTER-06.
#[test]
fn an_attribute_with_parts_is_compared_by_its_value() {
    check(r#"emails co "jensen.org""#, true);
    check(r#"emails eq "nobody@example.com""#, false);
    check(r#"manager eq "26118915-6090-4610-87e4-49d8ca9f808d""#, true);
    check(
        r#"id eq "2819c223-7f76-453a-919d-413861904646" and manager eq "26118915-6090-4610-87e4-49d8ca9f808d""#,
        true,
    );
    check_refused(r#"name eq "Jensen""#, Rule::FilterNeedsSubAttribute, "name.formatted");
    // Nobody's value begins so, and an answer without hits makes a client create the user once more.
    check_refused("userName eq 'bjensen'", Rule::FilterWrongType, "double quotation marks");
    check_refused(r#"meta eq "x""#, Rule::FilterNeedsSubAttribute, "meta");
    check_refused(
        r#"urn:example:2.0:Extra eq "x""#,
        Rule::FilterNeedsSubAttribute,
        "urn:example:2.0:Extra",
    );
}

#[test]
fn of_several_values_one_is_enough_but_ne_means_none() {
    check(r#"emails.type eq "home""#, true);
    check(r#"emails.type ne "home""#, false);
    check(r#"emails.type ne "other""#, true);
    check(r#"urn:example:2.0:Extra:tags eq "BLUE""#, true);
}

/// R-FILTER-03.
#[test]
fn null_is_the_state_of_having_no_value() {
    // RFC 7643 §2.5.
    check("title eq null", true);
    check("userName ne null", true);
    check("emails eq null", false);
    check_refused("title gt null", Rule::FilterWrongType, "title");
    check(r#"title eq "null""#, false);
}

/// R-FILTER-02.
#[test]
fn booleans_numbers_and_dates_are_compared_as_such() {
    check("active eq true", true);
    check("(active eq true)", true);
    check("(active eq false)", false);
    check("emails[primary eq true]", true);
    check("urn:example:2.0:Extra:level eq 7", true);
    check("urn:example:2.0:Extra:level gt 10", false);
    check("urn:example:2.0:Extra:level le 7.0", true);
    check("urn:example:2.0:Extra:rate ge 25e-1", true);
    check("urn:example:2.0:Extra:level lt 18446744073709551615", true);
    check(r#"meta.lastModified eq "2011-05-13T06:42:34+02:00""#, true);
    check(r#"meta.lastModified gt "2011-05-13T06:42:33+02:00""#, true);
    check(r#"meta.lastModified gt "2011-05-13T06:42:34+02:00""#, false);
    check(r#"urn:example:2.0:Extra:hired sw "2011-05""#, true);
    check(r#"meta.resourceType eq "User""#, true);
}

/// R-FILTER-02.
#[test]
fn a_type_has_not_every_operator() {
    check_refused("active gt true", Rule::OperatorNotForType, "active");
    check_refused(r#"active co "t""#, Rule::OperatorNotForType, "eq, ne or pr");
    check_refused(
        r#"x509Certificates.value gt "TUlJ""#,
        Rule::OperatorNotForType,
        "x509Certificates.value",
    );
    check_refused("urn:example:2.0:Extra:level co 7", Rule::OperatorNotForType, "level");
    check_refused("active eq 1", Rule::FilterWrongType, "true or false");
    check_refused(
        "urn:example:2.0:Extra:level eq seven",
        Rule::FilterWrongType,
        "a number",
    );
    check_refused(
        "urn:example:2.0:Extra:level eq 1e999",
        Rule::FilterWrongType,
        "a number",
    );
    check_refused(r#"meta.created gt "yesterday""#, Rule::FilterWrongType, "meta.created");
}

/// R-FILTER-03.
#[test]
fn a_quoted_text_may_hold_anything() {
    check(
        r#"userName eq "a \"b\" \\ ) ] [ ( and or \u00e9 \ud83d\ude00 \n""#,
        false,
    );
    check("userName eq \"b\\u006aensen@example.com\"", true);
    check(r#"userName eq "é 😀 ] and (""#, false);
    check(r#"name.familyName eq"Jensen""#, true);
    check(r#"  userName   sw   "b"   and( active eq true )"#, true);
}

/// R-FILTER-10: authentik, Entra's documentation.
#[test]
fn a_text_without_quotation_marks_is_taken_as_meant() {
    check("externalId eq 701984", true);
    check("userName eq bjensen@example.com", true);
    check("(userName eq bjensen@example.com)", true);
    check("emails[type eq work]", true);
    check_noted("externalId eq jyoung", Quirk::UnquotedString, "externalId");
    check_noted(r#"active eq "True""#, Quirk::QuotedLiteral, "active");
    check_noted(r#"roles[primary eq "True"]"#, Quirk::QuotedLiteral, "primary");
    check_noted(
        r#"urn:example:2.0:Extra:level eq "7""#,
        Quirk::QuotedLiteral,
        "urn:example:2.0:Extra:level",
    );
    let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    check_noted(r#"manager eq "26118915""#, Quirk::UnqualifiedKey, manager);
    check_noted(
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0User:department eq "x""#,
        Quirk::TypoUrn,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    );
}

/// R-FILTER-07.
#[test]
fn a_refusal_says_where() {
    check_refused("", Rule::FilterSyntax, "character 1: expected an attribute name");
    check_refused("userName", Rule::FilterSyntax, "character 9: expected an operator");
    check_refused(r#"userName is "x""#, Rule::UnknownOperator, "character 10");
    check_refused("userName eq", Rule::FilterSyntax, "character 12: expected a value");
    check_refused("userName eq )", Rule::FilterSyntax, "character 13: expected a value");
    check_refused(r#"userName eq "é\"x"#, Rule::UnterminatedString, "character 13");
    check_refused(r#"userName eq "\x""#, Rule::FilterSyntax, "character 13");
    check_refused(r#"userName eq "\ud800""#, Rule::FilterSyntax, "character 13");
    check_refused(
        r#"userName eq "é" x"#,
        Rule::FilterSyntax,
        "character 17: expected and, or, or the end",
    );
    check_refused(
        "(title pr",
        Rule::FilterSyntax,
        "character 10: expected and, or, or a closing parenthesis",
    );
    check_refused("title pr)", Rule::FilterSyntax, "character 9");
    check_refused(
        "title pr and",
        Rule::FilterSyntax,
        "character 13: expected an attribute name",
    );
    check_refused("not title pr", Rule::FilterSyntax, "character 5");
    check_refused(r#"emails[type eq "work""#, Rule::FilterSyntax, "a closing bracket");
    check_refused(r#"emails[type eq "work"].value"#, Rule::FilterSyntax, "an operator");
    check_refused("emails[]", Rule::FilterSyntax, "character 8");
    check_refused(r#"userName[value eq "x"]"#, Rule::FilterSyntax, "character 9");
    check_refused(r#"emails[value[type eq "x"]]"#, Rule::FilterSyntax, "character 13");
    check_refused(r#""userName" eq "x""#, Rule::FilterSyntax, "character 1");
}

/// R-FILTER-07.
#[test]
fn an_unknown_attribute_is_named() {
    check_refused(r#"colour eq "red""#, Rule::UnknownFilterAttribute, "colour");
    check_refused(r#"name.nick eq "red""#, Rule::UnknownFilterAttribute, "name.nick");
    check_refused(r#"emails[colour eq "red"]"#, Rule::UnknownFilterAttribute, "colour");
    check_refused(
        r#"emails[type eq "work"].colour eq "red""#,
        Rule::UnknownFilterAttribute,
        "emails.colour",
    );
    check_refused(
        r#"urn:example:2.0:Other:x eq "red""#,
        Rule::UnknownFilterAttribute,
        "urn:example:2.0:Other:x",
    );
}

/// R-GEN-16, R-FILTER-09; RFC 7644 §7.5.2.
#[test]
fn what_is_never_returned_cannot_be_searched() {
    check_refused(
        r#"urn:example:2.0:Extra:secret eq "x""#,
        Rule::FilterSensitive,
        "secret",
    );
    check_refused("urn:example:2.0:Extra:key.pin pr", Rule::FilterSensitive, "key.pin");
    check_refused(r#"urn:example:2.0:Extra:key[pin sw "1"]"#, Rule::FilterSensitive, "pin");
}

/// Names of others are never stored: whatever a filter says of them, it would find nothing, or with `not` everything.
#[test]
fn names_of_others_cannot_be_searched() {
    let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    for (filter, name) in [
        ("groups.display eq \"Guides\"", "groups"),
        ("not (GROUPS.Display eq \"Guides\")", "groups"),
        ("userName pr or groups.display pr", "groups"),
        ("groups.display eq null", "groups"),
        ("groups[display sw \"G\"]", "groups"),
        ("groups[type eq \"direct\" and not (display eq \"G\")]", "groups"),
        ("groups[type eq \"direct\"].display eq \"G\"", "groups"),
        ("manager.displayName eq \"Babs\"", manager),
        ("manager[displayName eq \"Babs\"]", manager),
    ] {
        check_refused(filter, Rule::FilterOnDerived, &format!("compare {name}.value instead"));
    }
    let groups = Catalog::standard().resource_type("Group").unwrap().clone();
    let refused = parse(&groups, "members[display eq \"Babs\"]", &mut Trace::default()).unwrap_err();
    assert_eq!(refused.rule(), Rule::FilterOnDerived);
    check("emails.display eq \"Babs\"", false);
    check("displayName pr", false);
    check("groups pr or groups[type eq \"direct\"]", false);
}

/// R-FILTER-09.
#[test]
fn nesting_and_length_are_limited() {
    for (opening, closing) in [("(", ")"), ("not (", ")"), ("not(", ")")] {
        let nested = |depth: usize| format!("{}title pr{}", opening.repeat(depth), closing.repeat(depth));
        assert!(parse(&user(), &nested(MAX_FILTER_DEPTH), &mut Trace::default()).is_ok());
        check_refused(
            &nested(MAX_FILTER_DEPTH + 1),
            Rule::FilterTooDeep,
            &MAX_FILTER_DEPTH.to_string(),
        );
    }
    check_refused(
        &"(".repeat(MAX_FILTER_BYTES),
        Rule::FilterTooDeep,
        &MAX_FILTER_DEPTH.to_string(),
    );
    check_refused(
        &"(".repeat(MAX_FILTER_BYTES + 1),
        Rule::FilterTooLong,
        &MAX_FILTER_BYTES.to_string(),
    );
    check_refused(
        &format!("title eq \"{}\"", "x".repeat(MAX_FILTER_BYTES)),
        Rule::FilterTooLong,
        "bytes",
    );
}

#[test]
fn different_spellings_have_one_form() {
    check_form(r#"EMAILS CO "x""#, r#"emails.value co "x""#);
    check_form(
        r#"emails[type eq "work"].value eq "x""#,
        r#"emails[type eq "work" and value eq "x"]"#,
    );
    check_form(
        r#"emails[type eq "work"].value ne "x""#,
        r#"not (emails[type eq "work" and value eq "x"])"#,
    );
    check_form("title eq null", "not (title pr)");
    check_form("a eq 1".replace('a', "externalId").as_str(), r#"externalId eq "1""#);
    check_form(
        "title pr and (active eq true and nickName pr)",
        "title pr and active eq true and nickName pr",
    );
    check_form(
        "title pr and (active eq true or nickName pr)",
        "title pr and (active eq true or nickName pr)",
    );
    check_form(
        "manager pr",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager pr",
    );
}

#[track_caller]
fn check_equalities(filter: &str, expected: &[(&str, &str)]) {
    let filter = parse(&user(), filter, &mut Trace::default()).unwrap();
    let equalities = filter.equalities();
    let found: Vec<_> = equalities
        .iter()
        .map(|equality| (equality.name.as_str(), equality.text))
        .collect();
    assert_eq!(found, expected, "{filter}");
}

#[test]
fn what_an_index_can_answer_is_told() {
    let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";
    check_equalities(r#"userName eq "x""#, &[("userName", "x")]);
    check_equalities(
        r#"active eq true and (id eq "1" and manager eq "2")"#,
        &[("id", "1"), (manager, "2")],
    );
    check_equalities(
        r#"emails[type eq "work"].value eq "x""#,
        &[("emails.type", "work"), ("emails.value", "x")],
    );
    check_equalities(r#"emails eq "x""#, &[("emails.value", "x")]);
    check_equalities(r#"userName eq "x" or externalId eq "x""#, &[]);
    check_equalities(r#"not (userName eq "x")"#, &[]);
    check_equalities(r#"emails[value eq "x" or value eq "y"]"#, &[]);
    check_equalities(r#"userName co "x" and userName ne "y""#, &[]);
}

#[test]
fn what_a_filter_looks_at_is_told() {
    let filter = parse(
        &user(),
        r#"title pr or not (emails[type eq "work"] and manager pr)"#,
        &mut Trace::default(),
    );
    let filter = filter.unwrap();
    assert!(filter.mentions("title") && filter.mentions("emails"));
    assert!(!filter.mentions("manager") && !filter.mentions("type") && !filter.mentions("userName"));
}

#[test]
fn debug_output_and_refusals_hold_no_values() {
    let filter = parse(
        &user(),
        r#"userName eq "secret" and emails[value eq "secret"]"#,
        &mut Trace::default(),
    );
    assert!(!format!("{:?}", filter.as_ref().unwrap()).contains("secret"));
    assert!(!format!("{:?}", filter.unwrap().equalities()).contains("secret"));
    for filter in [
        r#"userName eq "secret" x"#,
        r#"active eq "secret""#,
        r#"userName eq "secret"#,
        "title pr secret pr",
    ] {
        let error = parse(&user(), filter, &mut Trace::default()).expect_err(filter);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

/// Pieces of filters, in any order: most combinations are malformed, a good part is not.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "userName",
        "emails",
        "emails.value",
        "active",
        "meta.created",
        "title",
        "manager",
        "name.familyName",
        " eq ",
        " ne ",
        " co ",
        " gt ",
        " pr",
        " and ",
        " or ",
        "not ",
        "(",
        ")",
        "[",
        "]",
        ".value",
        "\"x\"",
        "\"",
        "\\",
        "\"é\"",
        "true",
        "null",
        "12.5",
        "\"2011-05-13T04:42:34Z\"",
        "urn:example:2.0:Extra:tags",
        ":",
        ".",
        " ",
        "value",
        "type",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Filters that are well-formed.
fn sound() -> impl Strategy<Value = String> {
    let condition = prop_oneof![
        Just("active eq true".to_owned()),
        Just("title pr".to_owned()),
        Just("nickName eq null".to_owned()),
        ".{0,8}".prop_map(|text| format!("userName co {}", Value::String(text))),
        (".{0,8}", "eq|ne|sw|pr")
            .prop_map(|(text, operator)| format!("emails[type eq {}].value {operator}", Value::String(text)))
            .prop_map(|filter| if filter.ends_with("pr") {
                filter
            } else {
                filter + r#" "x""#
            }),
        any::<f64>().prop_filter_map("finite", |number| {
            number
                .is_finite()
                .then(|| format!("urn:example:2.0:Extra:rate le {}", json!(number)))
        }),
        any::<i64>().prop_map(|number| format!("urn:example:2.0:Extra:level gt {number}")),
        "[a-z]{1,6}".prop_map(|word| format!("urn:example:2.0:Extra:tags[value ew \"{word}\"]")),
    ];
    condition.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", soup in soup()) {
        for text in [text, soup] {
            if let Ok(filter) = parse(&user(), &text, &mut Trace::default()) {
                filter.matches(&document());
            }
        }
    }

    #[test]
    fn a_printed_filter_reads_as_the_same(text in sound()) {
        let rt = user();
        let filter = parse(&rt, &text, &mut Trace::default()).unwrap();
        let mut trace = Trace::default();
        let again = parse(&rt, &filter.to_string(), &mut trace).unwrap();
        prop_assert!(filter == again, "{text} is printed as {filter}, which reads as {again}");
        prop_assert!(trace.notes().is_empty(), "{filter} needs no tolerance");
        prop_assert_eq!(filter.matches(&document()), again.matches(&document()));
        let negated = Filter::Not(Box::new(filter.clone()));
        prop_assert_ne!(filter.matches(&document()), negated.matches(&document()));
    }
}
