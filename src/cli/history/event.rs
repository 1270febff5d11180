//! One event in one line: for people, and for programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    cli::show::{exact, printable, second},
    directory::history::{Deed, Event, Told},
};

/// Tells of the events of one tenant.
pub(super) struct Teller {
    tenant: String,
    /// What people call its credentials, by id.
    labels: BTreeMap<String, String>,
    /// What people call its groups, as far as they may be told.
    names: BTreeMap<String, String>,
    /// Among those of other tenants, the tenant is named too: by these names, or its id.
    among: Option<BTreeMap<String, String>>,
}

impl Teller {
    pub(super) fn new(tenant: &str, labels: BTreeMap<String, String>) -> Self {
        Self {
            tenant: tenant.to_owned(),
            labels,
            names: BTreeMap::new(),
            among: None,
        }
    }

    /// Names the tenant in each line; that of operators' deeds to all tenants is known by its id.
    pub(super) fn among(mut self, tenants: BTreeMap<String, String>) -> Self {
        self.among = Some(tenants);
        self
    }

    /// What to call groups.
    pub(super) fn call(&mut self, names: impl IntoIterator<Item = (String, String)>) {
        self.names.extend(names);
    }

    /// Who did it.
    pub(super) fn who(&self, event: &Event) -> String {
        let actor = &event.body.actor;
        match self.labels.get(actor) {
            Some(label) if label.is_empty() => format!("token {actor}"),
            Some(label) => format!("token {actor} ({label})"),
            None => actor.clone(),
        }
    }

    /// For people: what any event says of itself.
    pub(super) fn line(&self, event: &Event) -> String {
        let body = &event.body;
        let what = match &body.refused {
            Some(_) => format!("{} {}", refusal(event), body.id),
            None => format!(
                "{} {} {}{}{}",
                body.kind,
                body.resource_type,
                body.id,
                members(event),
                paths(event)
            ),
        };
        let tenant = self.place(event).map(|tenant| format!("{tenant}: "));
        self.told(event, &format!("{}{}", tenant.unwrap_or_default(), what.trim_end()))
    }

    /// Which tenant's it is, where that is told.
    fn place<'t>(&'t self, event: &'t Event) -> Option<&'t str> {
        let names = self.among.as_ref()?;
        let id = event.body.tenant.as_ref().filter(|_| self.tenant.is_empty());
        Some(id.map_or(&self.tenant, |id| names.get(id).unwrap_or(id)))
    }

    /// For people: what it did to somebody.
    pub(super) fn deed(&self, told: &Told) -> String {
        self.told(&told.event, &self.what(told))
    }

    /// The same where it stands alone, and so says to whom.
    pub(super) fn news(&self, told: &Told) -> String {
        let whose = told.account.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        self.told(&told.event, &format!("{whose}{}", self.what(told)))
    }

    fn what(&self, told: &Told) -> String {
        let event = &told.event;
        let group = |id: &String| {
            let name = self.names.get(id).map(|name| format!(" ({name})"));
            format!("{id}{}", name.unwrap_or_default())
        };
        match &told.deed {
            Deed::Own => format!("{}{}{}", event.body.kind, members(event), paths(event)),
            Deed::Joined(id) => format!("added to group {}", group(id)),
            Deed::Left(id) => format!("removed from group {}", group(id)),
            Deed::LostGroup(id) => format!("group {} deleted", group(id)),
            Deed::Refused => refusal(event),
        }
    }

    fn told(&self, event: &Event, what: &str) -> String {
        let reference = event.body.reference.as_ref().map(|id| format!(", Reference {id}"));
        printable(&format!(
            "{}  {what}, by {}{}",
            second(event.time()),
            self.who(event),
            reference.unwrap_or_default()
        ))
    }

    /// For programs.
    pub(super) fn json(&self, event: &Event) -> Value {
        let body = &event.body;
        let mut json = json!({
            "time": exact(event.time()),
            "operation": event.operation,
            "tenant": body.tenant.as_ref().filter(|_| self.tenant.is_empty()).unwrap_or(&self.tenant),
            "kind": body.kind,
            "resourceType": body.resource_type,
            "id": body.id,
            "paths": body.paths,
            "actor": body.actor,
        });
        let mut add = |name: &str, value: Option<Value>| {
            if let (Some(value), Some(json)) = (value, json.as_object_mut()) {
                json.insert(name.to_owned(), value);
            }
        };
        add("label", self.labels.get(&body.actor).map(|label| json!(label)));
        add("reference", body.reference.as_ref().map(|reference| json!(reference)));
        add("subjects", (!body.subjects.is_empty()).then(|| json!(body.subjects)));
        add("groups", (!body.groups.is_empty()).then(|| json!(body.groups)));
        add("new", body.is_new.then(|| json!(true)));
        add("members", member_json(event).map(Value::Object));
        let refused = body.refused.as_ref();
        add(
            "refused",
            refused.map(|refused| {
                json!({
                    "rule": refused.rule,
                    "request": refused.request,
                    "count": refused.count,
                    "first": exact(refused.first),
                    "last": exact(refused.last),
                })
            }),
        );
        json
    }

    /// For programs: what it did to somebody.
    pub(super) fn deed_json(&self, told: &Told) -> Value {
        let mut json = self.json(&told.event);
        let (deed, group) = match &told.deed {
            Deed::Own => ("own", None),
            Deed::Joined(group) => ("joined", Some(group)),
            Deed::Left(group) => ("left", Some(group)),
            Deed::LostGroup(group) => ("lost-group", Some(group)),
            Deed::Refused => ("refused", None),
        };
        json["account"] = json!(told.account);
        json["deed"] = json!(deed);
        json["group"] = json!(group);
        json
    }
}

/// Which refusal, and how often.
pub(super) fn refusal(event: &Event) -> String {
    let Some(refused) = &event.body.refused else {
        return String::new();
    };
    let attribute = event.body.paths.first().map(|path| format!(" ({path})"));
    let times = match refused.count {
        1 => String::new(),
        count => format!(", {count} times until {}", second(refused.last)),
    };
    format!(
        "refused {}{} {}{times}",
        refused.rule,
        attribute.unwrap_or_default(),
        refused.request
    )
}

/// Which attributes changed; all of them, where it was deleted.
fn paths(event: &Event) -> String {
    let names: Vec<&str> = event.body.paths.iter().map(String::as_str).collect();
    if names.is_empty() || event.body.kind == "delete" {
        return String::new();
    }
    format!(": {}", names.join(", "))
}

/// How many memberships changed, or came back.
fn members(event: &Event) -> String {
    let members = &event.members;
    let joined = members.users.len() + members.groups.len();
    let mut words = Vec::new();
    if members.whole {
        words.push(format!("members are now {joined}"));
    } else if joined > 0 {
        words.push(format!("{joined} joined"));
    }
    if !members.leave.is_empty() {
        words.push(format!("{} left", members.leave.len()));
    }
    match event.body.groups.len() {
        0 => {}
        1 => words.push("in 1 group again".to_owned()),
        groups => words.push(format!("in {groups} groups again")),
    }
    if words.is_empty() {
        return String::new();
    }
    format!(" ({})", words.join(", "))
}

fn member_json(event: &Event) -> Option<Map<String, Value>> {
    let members = &event.members;
    let mut json = Map::new();
    for (name, ids) in [
        ("users", &members.users),
        ("groups", &members.groups),
        ("left", &members.leave),
    ] {
        if !ids.is_empty() {
            json.insert(name.to_owned(), json!(ids));
        }
    }
    if members.whole {
        json.insert("whole".to_owned(), json!(true));
    }
    (!json.is_empty()).then_some(json)
}
