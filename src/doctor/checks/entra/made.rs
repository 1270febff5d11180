//! What is known of an account that was made here, and how it is told from everybody else's.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::body;
use crate::doctor::{
    request::Ask,
    visit::{Visit, lock},
    wire::Response,
};

/// What is encoded in an id.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Bytes of an id, which becomes a part of URLs.
pub(super) const MAX_ID: usize = 1024;

/// An account that was made, or may have been, and is to be removed.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Made {
    /// The attribute that nobody else's account has with this value.
    attribute: &'static str,
    value: String,
    /// Where it has been seen.
    pub(super) paths: Vec<String>,
    /// What became of the last create.
    pub(super) create: Create,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Create {
    /// All that it made is in `paths`.
    Known,
    /// No answer says whether it was or will be made.
    Open,
    /// An answer says that it was made, and it has not been seen yet.
    Unseen,
}

impl Create {
    /// What an answer tells. A 409 to the first create may be that of its repetition by a proxy.
    pub(super) fn answered(response: &Response) -> Self {
        match response.status {
            200..=299 => Self::Unseen,
            400..=407 | 410..=499 => Self::Known,
            _ => Self::Open,
        }
    }
}

/// What an answer to a GET says of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Gone,
    /// It is there, and ours.
    Ours,
    /// Somebody else's, or not to be told.
    Unknown,
}

impl Made {
    pub(super) fn new(attribute: &'static str, value: &str) -> Self {
        Self {
            attribute,
            value: value.to_owned(),
            paths: Vec::new(),
            create: Create::Known,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.attribute, &self.value) == (other.attribute, &other.value)
    }

    /// Writes down for the removal what is known of it.
    pub(super) fn note(&self, visit: &Visit, change: impl FnOnce(&mut Self)) {
        let mut all = lock(&visit.made);
        if let Some(known) = all.iter_mut().find(|known| known.is_same(self)) {
            change(known);
        } else {
            let mut new = self.clone();
            change(&mut new);
            all.push(new);
        }
    }

    pub(super) fn is_known_at(&self, visit: &Visit, path: &str) -> bool {
        let all = lock(&visit.made);
        let mut same = all.iter().filter(|known| known.is_same(self));
        same.any(|known| known.paths.iter().any(|known| known == path))
    }

    /// Whether nothing is known of it, nor to be feared.
    pub(super) fn is_gone(&self) -> bool {
        self.paths.is_empty() && self.create == Create::Known
    }

    /// It has been seen there, so that the create is no question any more.
    pub(super) fn is_at(&mut self, path: &str) {
        self.create = Create::Known;
        if !self.paths.iter().any(|known| known == path) {
            self.paths.push(path.to_owned());
        }
    }

    pub(super) fn search(&self) -> Ask {
        Ask::filter("Users", &format!("{} eq \"{}\"", self.attribute, self.value))
    }

    pub(super) fn standing(&self, response: &Response) -> Standing {
        match response.status {
            404 => Standing::Gone,
            200 if self.is_ours(&body(response)) => Standing::Ours,
            _ => Standing::Unknown,
        }
    }

    fn is_ours(&self, resource: &Value) -> bool {
        let value = resource[self.attribute].as_str();
        value.is_some_and(|value| value.eq_ignore_ascii_case(&self.value))
    }

    /// Where a list shows it; none where it may be and the list doesn't show it: an endpoint that ignores filters lists
    /// everybody, a page at a time.
    pub(super) fn listed(&self, list: &Value) -> Option<Vec<String>> {
        let resources = list["Resources"].as_array().into_iter().flatten();
        let ours: Vec<_> = resources
            .filter(|resource| self.is_ours(resource))
            .filter_map(path)
            .collect();
        (!ours.is_empty() || list["totalResults"] == 0).then_some(ours)
    }

    /// For people.
    pub(in crate::doctor) fn describe(&self) -> String {
        let name = if self.attribute == "userName" {
            self.value.clone()
        } else {
            format!("the account with {} {}", self.attribute, self.value)
        };
        let perhaps = match self.create {
            Create::Known if self.is_gone() => " (perhaps: it was not looked for)",
            Create::Known => "",
            Create::Open => " (perhaps: the answer to its create was lost)",
            Create::Unseen => " (perhaps: its create was answered with success, and it can't be found)",
        };
        if self.paths.is_empty() {
            return name + perhaps;
        }
        format!("{name} at {}{perhaps}", self.paths.join(" and "))
    }
}

/// Of a resource, where its id can be used; numbers are no identifiers in SCIM, and all the same in use.
pub(super) fn path(resource: &Value) -> Option<String> {
    let id = match &resource["id"] {
        Value::String(id) if (1..=MAX_ID).contains(&id.len()) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    Some(format!("/Users/{}", utf8_percent_encode(&id, PATH)))
}

pub(super) fn found_paths(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().into_iter().flatten();
    resources.filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Made, path};

    #[test]
    fn only_the_test_user_is_ever_found() {
        let made = Made::new("userName", "doctor");
        let (ours, other) = (
            json!({ "id": 1, "userName": "Doctor" }),
            json!({ "id": "2", "userName": "bjensen" }),
        );
        let listed = |total: u32, resources: &[&serde_json::Value]| {
            made.listed(&json!({ "totalResults": total, "Resources": resources }))
        };
        let nameless = json!({ "id": "3" });
        assert_eq!(
            listed(3, &[&other, &ours, &nameless]),
            Some(vec!["/Users/1".to_owned()])
        );
        assert_eq!(listed(2, &[&other, &nameless]), None, "a page of everybody");
        assert_eq!(listed(0, &[]), Some(Vec::new()));
        assert_eq!(made.listed(&json!({})), None);
    }

    #[test]
    fn identifiers_are_taken_that_fit_into_a_url_numbers_too() {
        assert_eq!(path(&json!({ "id": 17 })).as_deref(), Some("/Users/17"));
        assert_eq!(path(&json!({ "id": "a/b" })).as_deref(), Some("/Users/a%2Fb"));
        assert_eq!(path(&json!({ "id": "" })), None);
        assert!(path(&json!({ "id": "a".repeat(1024) })).is_some());
        assert_eq!(path(&json!({ "id": "a".repeat(1025) })), None);
        assert_eq!(path(&json!({})), None);
    }
}
