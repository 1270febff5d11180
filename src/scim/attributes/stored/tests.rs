//! Values of an extension whose schema is another one by now.

use serde_json::{Map, Value, json};

use super::super::super::normalize::Trace;
use super::super::super::patch::{self, PATCH_OP_URN};
use super::super::super::schema::{Catalog, Extension, ResourceType, Schema, USER_URN};
use super::super::{Attributes, replace};
use super::{Misfit, misfits};

const BADGE: &str = "urn:example:2.0:Badge";

/// Users with an extension of these attributes; without it if there are none.
fn user(attributes: &Value, required: bool) -> ResourceType {
    let mut user = ResourceType::clone(Catalog::standard().resource_type("User").unwrap());
    if attributes != &json!([]) {
        let schema = Schema::from_json(&json!({ "id": BADGE, "attributes": attributes })).unwrap();
        user.extensions.push(Extension {
            schema: schema.into(),
            required,
        });
    }
    user
}

/// What the values below were accepted by.
fn before() -> Value {
    json!([
        { "name": "serial" },
        { "name": "level", "type": "integer" },
        { "name": "colours", "multiValued": true },
        { "name": "door", "type": "complex", "subAttributes": [{ "name": "number" }, { "name": "floor" }] },
        { "name": "keys", "type": "complex", "multiValued": true, "subAttributes": [
            { "name": "value" }, { "name": "room" },
        ] },
    ])
}

fn values() -> Value {
    json!({
        "serial": "17", "level": 3, "colours": ["red", "green"], "door": { "number": "4", "floor": "2" },
        "keys": [{ "value": "k1", "room": "a" }, { "value": "k2" }],
    })
}

fn stored() -> Attributes {
    let document = json!({ "userName": "bjensen", "active": true, BADGE: values() });
    Attributes::from_stored(document.as_object().unwrap().clone())
}

/// The schema before, with `attribute` in the place of the one of its name; only its name: without that one.
fn with(attribute: &Value) -> Value {
    let Value::Array(mut all) = before() else {
        panic!("an array")
    };
    all.retain(|one| one["name"] != attribute["name"]);
    if attribute.as_object().unwrap().len() > 1 {
        all.push(attribute.clone());
    }
    Value::Array(all)
}

fn patch(rt: &ResourceType, before: &Attributes, operation: &Value) -> Attributes {
    let message = json!({ "schemas": [PATCH_OP_URN], "Operations": [operation] });
    patch::apply(rt, before, message, &mut Trace::default())
        .unwrap()
        .attributes
}

/// A new definition of an attribute, what is shown of its value then, and why parts of it do not fit.
type Changed = (Value, Option<Value>, Vec<(&'static str, Misfit)>);

/// Changes of the schema, with what is shown then of the attribute concerned, and why it does not fit.
fn changes() -> Vec<Changed> {
    [changes_of_simple_ones(), changes_of_complex_ones()].concat()
}

fn changes_of_simple_ones() -> Vec<Changed> {
    vec![
        (json!({ "name": "serial" }), None, vec![("serial", Misfit::Removed)]),
        (
            json!({ "name": "serial", "type": "integer" }),
            None,
            vec![("serial", Misfit::OtherType)],
        ),
        (
            json!({ "name": "serial", "type": "dateTime" }),
            None,
            vec![("serial", Misfit::OtherType)],
        ),
        (
            json!({ "name": "serial", "multiValued": true }),
            None,
            vec![("serial", Misfit::MultiValued)],
        ),
        (
            json!({ "name": "serial", "mutability": "readOnly" }),
            None,
            vec![("serial", Misfit::ReadOnly)],
        ),
        (
            json!({ "name": "serial", "type": "complex", "subAttributes": [{ "name": "value" }] }),
            None,
            vec![("serial", Misfit::OtherType)],
        ),
        (json!({ "name": "serial", "type": "binary" }), Some(json!("17")), vec![]),
        (
            json!({ "name": "serial", "returned": "never" }),
            Some(json!("17")),
            vec![],
        ),
        (json!({ "name": "level", "type": "decimal" }), Some(json!(3)), vec![]),
        (
            json!({ "name": "level", "type": "string" }),
            None,
            vec![("level", Misfit::OtherType)],
        ),
        (
            json!({ "name": "colours", "multiValued": false }),
            None,
            vec![("colours", Misfit::SingleValued)],
        ),
    ]
}

fn changes_of_complex_ones() -> Vec<Changed> {
    vec![
        (
            json!({ "name": "door", "type": "complex", "subAttributes": [{ "name": "floor" }, { "name": "x" }] }),
            Some(json!({ "floor": "2" })),
            vec![("door.number", Misfit::Removed)],
        ),
        (
            json!({ "name": "door", "type": "complex", "subAttributes": [
                { "name": "number" }, { "name": "floor", "type": "integer" },
            ] }),
            None,
            vec![("door.floor", Misfit::OtherType)],
        ),
        (
            json!({ "name": "door", "type": "string" }),
            None,
            vec![("door", Misfit::OtherType)],
        ),
        (
            json!({ "name": "keys", "type": "complex", "multiValued": true, "subAttributes": [{ "name": "value" }] }),
            Some(json!([{ "value": "k1" }, { "value": "k2" }])),
            vec![("keys.room", Misfit::Removed)],
        ),
        (
            json!({ "name": "keys", "type": "complex", "multiValued": true, "subAttributes": [
                { "name": "value" }, { "name": "room", "required": true },
            ] }),
            None,
            vec![("keys.room", Misfit::Required)],
        ),
    ]
}

fn of(attributes: &Attributes) -> &Map<String, Value> {
    attributes.as_map()[BADGE].as_object().unwrap()
}

#[test]
fn what_does_not_fit_is_not_shown_and_is_counted() {
    for (attribute, shown, expected) in changes() {
        let then = user(&with(&attribute), false);
        let name = attribute["name"].as_str().unwrap();
        let stored = stored();
        let visible = stored.visible(&then);
        assert_eq!(of(&visible).get(name), shown.as_ref(), "{attribute}");
        let others = |members: &Map<String, Value>| {
            let mut members = members.clone();
            members.shift_remove(name);
            members
        };
        assert_eq!(others(of(&visible)), others(of(&stored)), "{attribute}");
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(path, misfit)| (format!("{BADGE}:{path}"), misfit))
            .collect();
        assert_eq!(
            misfits(&user(&before(), false), &then, &stored),
            expected,
            "{attribute}"
        );
    }
}

/// An instance that does not know a schema yet, or an operator who changed it by mistake, destroys nothing.
#[test]
fn what_is_not_shown_outlasts_every_change_of_something_else() {
    let mut schemas: Vec<Value> = changes().iter().map(|(attribute, ..)| with(attribute)).collect();
    schemas.push(json!([]));
    schemas.push(json!([{ "name": "other" }]));
    for schema in schemas {
        let rt = user(&schema, false);
        let nothing = patch(&rt, &stored(), &json!({ "op": "add", "path": "active", "value": true }));
        assert_eq!(nothing, stored(), "{schema}");
        let titled = patch(
            &rt,
            &stored(),
            &json!({ "op": "add", "path": "title", "value": "Guide" }),
        );
        assert_eq!(
            (&titled.as_map()["title"], of(&titled)),
            (&json!("Guide"), of(&stored())),
            "{schema}"
        );
        let document = json!({ "schemas": [USER_URN], "userName": "jsmith" });
        let replaced = replace(&rt, &stored(), document, &mut Trace::default()).unwrap();
        for (name, value) in of(&stored()) {
            let kept = replaced
                .attributes
                .as_map()
                .get(BADGE)
                .and_then(|members| members.get(name));
            let visible = stored().visible(&rt).into_owned();
            let shown = visible.as_map().get(BADGE).and_then(|members| members.get(name));
            assert_eq!(kept.is_some(), shown.is_none(), "{name} by {schema}");
            assert!(kept.is_none_or(|kept| kept == value), "{name} by {schema}");
        }
    }
}

#[test]
fn what_is_set_anew_takes_the_place_of_what_was_hidden() {
    let integer = user(&with(&json!({ "name": "serial", "type": "integer" })), false);
    let path = format!("{BADGE}:serial");
    let set = patch(&integer, &stored(), &json!({ "op": "add", "path": path, "value": 18 }));
    assert_eq!(of(&set)["serial"], 18);
    let door = json!({ "name": "door", "type": "complex", "subAttributes": [{ "name": "floor" }] });
    let floor = user(&with(&door), false);
    let moved = json!({ "op": "replace", "path": format!("{BADGE}:door.floor"), "value": "3" });
    assert_eq!(of(&patch(&floor, &stored(), &moved))["door"], json!({ "floor": "3" }));
    let removed = patch(
        &floor,
        &stored(),
        &json!({ "op": "remove", "path": format!("{BADGE}:door") }),
    );
    assert!(!of(&removed).contains_key("door"));
    let gone = patch(&floor, &stored(), &json!({ "op": "remove", "path": BADGE }));
    assert_eq!(gone.visible(&floor).as_map().get(BADGE), None);
}

/// What a newer version stores besides is not this version's to remove.
#[test]
fn a_core_attribute_of_a_newer_version_is_kept() {
    let document = json!({ "userName": "bjensen", "active": true, "pronouns": "she", "traits": { "tall": true } });
    let stored = Attributes::from_stored(document.as_object().unwrap().clone());
    let rt = user(&json!([]), false);
    let titled = patch(&rt, &stored, &json!({ "op": "add", "path": "title", "value": "Guide" }));
    let mut expected = document;
    expected["title"] = json!("Guide");
    assert_eq!(Value::Object(titled.as_map().clone()), expected);
}

/// A leaver is deactivated also where a schema asks for more than the user has (and Entra sends `active` alone).
#[test]
fn a_patch_need_not_give_what_was_missing_before() {
    let active = || json!({ "op": "replace", "path": "active", "value": false });
    let serial = |value: &str| json!({ "op": "add", "path": format!("{BADGE}:serial"), "value": value });
    let bare = json!({ "userName": "bjensen", "active": true });
    let bare = Attributes::from_stored(bare.as_object().unwrap().clone());
    let strict = user(&with(&json!({ "name": "owner", "required": true })), true);
    for stored in [bare.clone(), stored()] {
        assert_eq!(patch(&strict, &stored, &active()).as_map()["active"], false);
    }
    patch(&strict, &stored(), &serial("18"));
    let refused = |rt: &ResourceType, stored: &Attributes, operation: &Value| {
        let message = json!({ "schemas": [PATCH_OP_URN], "Operations": [operation] });
        patch::apply(rt, stored, message, &mut Trace::default())
            .unwrap_err()
            .detail()
    };
    // Who gives the extension gives all that it requires.
    assert!(refused(&strict, &bare, &serial("18")).contains("owner is required"));
    let owned = patch(
        &strict,
        &stored(),
        &json!({ "op": "add", "path": format!("{BADGE}:owner"), "value": "b" }),
    );
    assert!(
        refused(
            &strict,
            &owned,
            &json!({ "op": "remove", "path": format!("{BADGE}:owner") })
        )
        .contains("required")
    );
    assert!(refused(&strict, &owned, &json!({ "op": "remove", "path": BADGE })).contains("required"));
    let document = json!({ "schemas": [USER_URN], "userName": "bjensen" });
    let error = replace(&strict, &bare, document, &mut Trace::default()).unwrap_err();
    assert!(error.detail().contains(BADGE), "{error}");
}

#[test]
fn what_becomes_required_is_counted_where_it_is_missing() {
    let now = user(&before(), false);
    let bare = json!({ "userName": "bjensen" });
    let bare = Attributes::from_stored(bare.as_object().unwrap().clone());
    let owner = with(&json!({ "name": "owner", "required": true }));
    let missing = |path: &str| vec![(path.to_owned(), Misfit::Required)];
    let owner_path = format!("{BADGE}:owner");
    for (then, of_bare, of_stored) in [
        (user(&before(), true), missing(BADGE), vec![]),
        (user(&owner, false), vec![], missing(&owner_path)),
        (user(&owner, true), missing(BADGE), missing(&owner_path)),
    ] {
        assert_eq!(misfits(&now, &then, &bare), of_bare);
        assert_eq!(misfits(&now, &then, &stored()), of_stored);
        assert_eq!(misfits(&then, &then, &stored()), vec![], "it was missing before");
    }
    let removed = misfits(&now, &user(&json!([]), false), &stored());
    assert_eq!(removed.len(), 5);
    assert!(removed.iter().all(|(_, misfit)| *misfit == Misfit::Removed));
}
