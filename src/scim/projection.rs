//! `attributes` and `excludedAttributes`: the part of a resource a client asked for (RFC 7644 §3.9, §3.10).

use serde_json::{Map, Value};

use super::error::{Error, Rule};
use super::limits::MAX_SELECTED_NAMES;
use super::schema::{Attribute, Extension, ResourceType, Returned, common};

/// What a request selects; applies to every answer that has a resource in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    kind: Kind,
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// No parameter: what is returned by default.
    #[default]
    Default,
    /// `attributes`: these only.
    Only,
    /// `excludedAttributes`: all but these.
    Except,
}

/// A selected name in canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// URN of the extension; none for the core schema and the common attributes.
    extension: Option<String>,
    /// None for the whole schema.
    attribute: Option<String>,
    sub_attribute: Option<String>,
}

impl Selection {
    /// Reads the two parameters. Names the type does not have select nothing (RFC 7644 §3.9).
    pub fn parse(rt: &ResourceType, attributes: Option<&str>, excluded: Option<&str>) -> Result<Selection, Error> {
        let given = |parameter: Option<&'_ str>| parameter.is_some_and(|names| !names.trim().is_empty());
        match (given(attributes), given(excluded)) {
            (true, true) => Err(Rule::SelectionAmbiguous.error()),
            (true, false) => Selection::read(rt, Kind::Only, "attributes", attributes.unwrap_or_default()),
            (false, true) => Selection::read(rt, Kind::Except, "excludedAttributes", excluded.unwrap_or_default()),
            (false, false) => Ok(Selection::default()),
        }
    }

    /// Whether `attributes` names `path`, such as `groups` or `members`, or a part of it. Then what is expensive to
    /// read is worth reading.
    pub fn names(&self, path: &str) -> bool {
        self.kind == Kind::Only && self.names.iter().any(|name| name.is_of(None, path))
    }

    /// Whether an answer may have the core attribute `name` (canonical), so that it must be read at all.
    pub fn includes(&self, rt: &ResourceType, name: &str) -> bool {
        rt.attribute(name)
            .is_some_and(|attribute| !matches!(self.verdict(None, attribute), Verdict::Leave))
    }

    /// Whether an answer may have the part `part` (canonical) of an attribute, of an extension or of the core schema.
    pub fn includes_part(&self, extension: Option<&Extension>, attribute: &Attribute, part: &str) -> bool {
        self.verdict(extension, attribute).keeps(attribute, part)
    }

    fn read(rt: &ResourceType, kind: Kind, parameter: &str, list: &str) -> Result<Selection, Error> {
        let names: Vec<&str> = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|n| !n.is_empty())
            .collect();
        if names.len() > MAX_SELECTED_NAMES {
            return Err(Rule::TooManyNames
                .at(parameter)
                .with("limit", MAX_SELECTED_NAMES.to_string()));
        }
        Ok(Selection {
            kind,
            names: names.into_iter().filter_map(|name| Name::resolve(rt, name)).collect(),
        })
    }

    fn verdict(&self, extension: Option<&Extension>, attribute: &Attribute) -> Verdict<'_> {
        let urn = extension.map(|extension| extension.schema.id.as_str());
        let named = || self.names.iter().filter(|name| name.is_of(urn, &attribute.name));
        let whole = || named().any(|name| name.sub_attribute.is_none());
        let subs = || {
            named()
                .filter_map(|name| name.sub_attribute.as_deref())
                .collect::<Vec<_>>()
        };
        match (attribute.returned, self.kind) {
            (Returned::Never, _) | (Returned::Request, Kind::Default | Kind::Except) => Verdict::Leave,
            (Returned::Always, Kind::Default | Kind::Only) | (Returned::Default, Kind::Default) => Verdict::Take,
            (_, Kind::Only) if whole() => Verdict::Take,
            (_, Kind::Only) if named().next().is_some() => Verdict::TakeOnly(subs()),
            (_, Kind::Only) => Verdict::Leave,
            (Returned::Default, Kind::Except) if whole() => Verdict::Leave,
            (_, Kind::Except) => Verdict::TakeExcept(subs()),
        }
    }
}

impl Name {
    fn resolve(rt: &ResourceType, text: &str) -> Option<Name> {
        let whole = |extension: Option<&Extension>| Name {
            extension: extension.map(|extension| extension.schema.id.clone()),
            attribute: None,
            sub_attribute: None,
        };
        if text.eq_ignore_ascii_case(&rt.schema.id) {
            return Some(whole(None));
        }
        if let Some(extension) = rt.extension(text) {
            return Some(whole(Some(extension)));
        }
        let (extension, path) = rt.split_urn(text).unwrap_or((None, text));
        let (name, sub) = path
            .split_once('.')
            .map_or((path, None), |(name, sub)| (name, Some(sub)));
        let (extension, attribute) = match extension {
            Some(extension) => (Some(extension), extension.schema.attribute(name)?),
            None => match rt.attribute(name) {
                Some(attribute) => (None, attribute),
                None => rt
                    .extension_of(name)
                    .map(|(extension, attribute)| (Some(extension), attribute))?,
            },
        };
        let sub_attribute = match sub {
            Some(sub) => Some(attribute.sub_attribute(sub)?.name.clone()),
            None => None,
        };
        Some(Name {
            attribute: Some(attribute.name.clone()),
            sub_attribute,
            ..whole(extension)
        })
    }

    fn is_of(&self, extension: Option<&str>, attribute: &str) -> bool {
        self.extension.as_deref() == extension && self.attribute.as_deref().is_none_or(|name| name == attribute)
    }
}

/// What becomes of an attribute.
enum Verdict<'s> {
    Leave,
    Take,
    TakeOnly(Vec<&'s str>),
    TakeExcept(Vec<&'s str>),
}

impl Verdict<'_> {
    /// Whether it leaves the attribute's part `name`.
    fn keeps(&self, attribute: &Attribute, name: &str) -> bool {
        let part = attribute.sub_attribute(name);
        let returned = part.map_or(Returned::Default, |part| part.returned);
        match (returned, self) {
            (Returned::Never, _) | (_, Verdict::Leave) => false,
            (Returned::Always, _) | (Returned::Default, Verdict::Take) => true,
            (_, Verdict::TakeOnly(subs)) => subs.contains(&name),
            (Returned::Request, _) => false,
            (_, Verdict::TakeExcept(subs)) => !subs.contains(&name),
        }
    }
}

/// The part of a complete `document` that `selection` asks for, in the order of every answer: `schemas`, `id`,
/// `externalId`, the core attributes, the extensions, `meta`.
pub fn project(rt: &ResourceType, mut document: Map<String, Value>, selection: &Selection) -> Map<String, Value> {
    let mut projected = Map::new();
    let (meta, first): (Vec<_>, Vec<_>) = common().iter().partition(|attribute| attribute.name == "meta");
    for attribute in first.into_iter().chain(&rt.schema.attributes) {
        take(selection, None, attribute, &mut document, &mut projected);
    }
    for extension in &rt.extensions {
        if let Some(Value::Object(mut members)) = document.shift_remove(&extension.schema.id) {
            let mut taken = Map::new();
            for attribute in &extension.schema.attributes {
                take(selection, Some(extension), attribute, &mut members, &mut taken);
            }
            if !taken.is_empty() {
                projected.insert(extension.schema.id.clone(), Value::Object(taken));
            }
        }
    }
    for attribute in meta {
        take(selection, None, attribute, &mut document, &mut projected);
    }
    projected
}

fn take(
    selection: &Selection,
    extension: Option<&Extension>,
    attribute: &Attribute,
    from: &mut Map<String, Value>,
    to: &mut Map<String, Value>,
) {
    let Some(value) = from.shift_remove(&attribute.name) else {
        return;
    };
    let verdict = selection.verdict(extension, attribute);
    if let Some(value) = parts(attribute, value, &verdict) {
        to.insert(attribute.name.clone(), value);
    }
}

fn parts(attribute: &Attribute, value: Value, verdict: &Verdict<'_>) -> Option<Value> {
    if matches!(verdict, Verdict::Leave) {
        return None;
    }
    match value {
        Value::Array(values) => {
            let values: Vec<Value> = values
                .into_iter()
                .filter_map(|value| parts(attribute, value, verdict))
                .collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        Value::Object(mut members) => {
            members.retain(|name, _| verdict.keeps(attribute, name));
            (!members.is_empty()).then_some(Value::Object(members))
        }
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::error::Rule;
    use super::super::limits::MAX_SELECTED_NAMES;
    use super::super::schema::{Catalog, ENTERPRISE_USER_URN as ENTERPRISE, Extension, ResourceType, Schema, USER_URN};
    use super::{Selection, project};

    const BADGE: &str = "urn:example:badge";

    /// Users, with an extension that has every value of `returned`.
    fn user() -> ResourceType {
        let badge = json!({ "id": BADGE, "attributes": [
            { "name": "serial", "returned": "always" },
            { "name": "pin", "returned": "never" },
            { "name": "photo", "returned": "request" },
            { "name": "colour" },
            { "name": "door", "type": "complex", "subAttributes": [
                { "name": "number", "returned": "always" },
                { "name": "code", "returned": "never" },
                { "name": "plan", "returned": "request" },
                { "name": "floor" },
            ] },
        ] });
        let mut user = ResourceType::clone(Catalog::standard().resource_type("User").unwrap());
        user.extensions.push(Extension {
            schema: Arc::new(Schema::from_json(&badge).unwrap()),
            required: false,
        });
        user
    }

    fn bjensen() -> Value {
        json!({
            "schemas": [USER_URN], "id": "2819c223", "externalId": "701984", "userName": "bjensen",
            "name": { "familyName": "Jensen", "givenName": "Barbara" },
            "emails": [{ "value": "b@example.com", "type": "work" }, { "value": "babs@example.com" }],
            "groups": [{ "value": "g" }],
            ENTERPRISE: { "department": "Tour", "manager": { "value": "26118915", "displayName": "John" } },
            "meta": { "resourceType": "User", "location": "https://example.com/Users/2819c223" },
        })
    }

    fn projected(document: Value, attributes: Option<&str>, excluded: Option<&str>) -> Value {
        let Value::Object(document) = document else {
            panic!("a document is an object")
        };
        let selection = Selection::parse(&user(), attributes, excluded).unwrap();
        Value::Object(project(&user(), document, &selection))
    }

    /// `attributes` leaves these beside `schemas` and `id`.
    #[track_caller]
    fn check_only(attributes: &str, rest: Value) {
        let Value::Object(rest) = rest else { panic!("members") };
        let mut expected = json!({ "schemas": [USER_URN], "id": "2819c223" });
        expected.as_object_mut().unwrap().extend(rest);
        assert_eq!(projected(bjensen(), Some(attributes), None), expected, "{attributes}");
    }

    /// `excludedAttributes` takes these members out, given as JSON pointers.
    #[track_caller]
    fn check_without(excluded: &str, gone: &[&str]) {
        let mut expected = bjensen();
        for pointer in gone {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            expected
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .shift_remove(name)
                .unwrap();
        }
        assert_eq!(projected(bjensen(), None, Some(excluded)), expected, "{excluded}");
    }

    #[test]
    fn without_a_selection_everything_is_returned() {
        assert_eq!(projected(bjensen(), None, None).to_string(), bjensen().to_string());
        assert_eq!(projected(bjensen(), Some(" "), Some("")), bjensen());
    }

    /// R-PROJ-01; RFC 7644 §3.4.2.5.
    #[test]
    fn attributes_name_what_is_returned() {
        check_only("userName", json!({ "userName": "bjensen" }));
        check_only("USERNAME", json!({ "userName": "bjensen" }));
        check_only(
            "userName, externalId  meta.location,,",
            json!({
                "userName": "bjensen",
                "externalId": "701984",
                "meta": { "location": "https://example.com/Users/2819c223" },
            }),
        );
        check_only("id", json!({}));
        check_only("shoeSize", json!({}));
        check_only("name.givenName", json!({ "name": { "givenName": "Barbara" } }));
        check_only("name.nick", json!({}));
        check_only("name,name.givenName", json!({ "name": bjensen()["name"] }));
        check_only("emails", json!({ "emails": bjensen()["emails"] }));
        check_only("emails.type", json!({ "emails": [{ "type": "work" }] }));
        check_only(&format!("{USER_URN}:userName"), json!({ "userName": "bjensen" }));
        check_only(ENTERPRISE, json!({ ENTERPRISE: bjensen()[ENTERPRISE] }));
        let manager = json!({ ENTERPRISE: { "manager": { "value": "26118915" } } });
        check_only(&format!("{}:MANAGER.value", ENTERPRISE.to_uppercase()), manager.clone());
        check_only("manager.value", manager);
    }

    /// R-PROJ-01; RFC 7644 §3.4.2.5: no effect on what is always returned.
    #[test]
    fn excluded_attributes_name_what_is_not() {
        check_without("groups", &["/groups"]);
        check_without("Groups,EMAILS", &["/groups", "/emails"]);
        check_without("id,schemas,shoeSize", &[]);
        check_without("name.givenName", &["/name/givenName"]);
        check_without("name.givenName,name.familyName", &["/name"]);
        check_without("emails.type", &["/emails/0/type"]);
        check_without("meta.location", &["/meta/location"]);
        check_without(ENTERPRISE, &[&format!("/{ENTERPRISE}")]);
        check_without(
            &format!("{ENTERPRISE}:department"),
            &[&format!("/{ENTERPRISE}/department")],
        );
        check_without(
            &format!("{ENTERPRISE}:manager.displayName"),
            &[&format!("/{ENTERPRISE}/manager/displayName")],
        );
    }

    /// R-PROJ-01, R-GEN-16; RFC 7643 §7, `returned`.
    #[test]
    fn an_attribute_is_returned_as_its_schema_says() {
        #[track_caller]
        fn check(attributes: Option<&str>, excluded: Option<&str>, expected: &Value) {
            let document = json!({ BADGE: {
                "serial": "1", "pin": "2", "photo": "3", "colour": "red",
                "door": { "number": "4", "code": "5", "plan": "6", "floor": "7" },
            } });
            assert_eq!(projected(document, attributes, excluded)[BADGE], *expected);
        }
        let door = json!({ "number": "4", "floor": "7" });
        check(None, None, &json!({ "serial": "1", "colour": "red", "door": door }));
        check(Some("userName"), None, &json!({ "serial": "1" }));
        check(
            Some("pin,photo,door.code"),
            None,
            &json!({ "serial": "1", "photo": "3", "door": { "number": "4" } }),
        );
        check(Some("door"), None, &json!({ "serial": "1", "door": door }));
        check(
            Some("door.plan"),
            None,
            &json!({ "serial": "1", "door": { "number": "4", "plan": "6" } }),
        );
        check(
            None,
            Some("serial,colour,door.number"),
            &json!({ "serial": "1", "door": door }),
        );
        check(None, Some(BADGE), &json!({ "serial": "1" }));
        check(
            None,
            Some("door.floor"),
            &json!({ "serial": "1", "colour": "red", "door": { "number": "4" } }),
        );
    }

    #[test]
    fn the_two_parameters_exclude_each_other() {
        let error = Selection::parse(&user(), Some("userName"), Some("groups")).unwrap_err();
        assert_eq!((error.rule(), error.status()), (Rule::SelectionAmbiguous, 400));
        let many = vec!["id"; MAX_SELECTED_NAMES + 1].join(",");
        assert_eq!(
            Selection::parse(&user(), Some(&many), None).unwrap_err().rule(),
            Rule::TooManyNames
        );
    }

    /// R-PROJ-02: so that what is costly to read is read only when it is shown.
    #[test]
    fn a_selection_tells_what_must_be_read() {
        #[track_caller]
        fn check(attributes: Option<&str>, excluded: Option<&str>, names: bool, includes: bool) {
            let selection = Selection::parse(&user(), attributes, excluded).unwrap();
            assert_eq!(
                (selection.names("groups"), selection.includes(&user(), "groups")),
                (names, includes)
            );
        }
        check(None, None, false, true);
        check(Some("groups"), None, true, true);
        check(Some("GROUPS.value"), None, true, true);
        check(Some("userName"), None, false, false);
        check(None, Some("groups"), false, false);
        check(None, Some("groups.display"), false, true);
        check(Some(USER_URN), None, true, true);
    }
}
