//! Whose request it is: a keyed hash of the user's name, so that one user's requests are found without knowing who it is.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

use super::{
    Directory, Stored,
    index::{self, Index},
};
use crate::{
    scim::{attributes::Attributes, filter::Filter, schema::ResourceType, write::Write},
    telemetry,
    tenants::Tenant,
};

/// What names a resource, the better first.
const NAMES: [&str; 3] = ["userName", "externalId", "displayName"];
/// Bytes of the hash that are told.
const BYTES: usize = 8;

/// What requests about whoever has this name are found by, as (resource type, attribute, subject).
pub fn subjects(tenant: &Tenant, name: &str) -> Vec<(&'static str, &'static str, String)> {
    names()
        .map(|index| (index.resource_type(), index.attribute(), subject(index, tenant, name)))
        .collect()
}

/// The indexes of what names a resource, the better first.
pub(super) fn names() -> impl Iterator<Item = &'static Index> {
    NAMES.into_iter().flat_map(index::named)
}

fn subject(index: &Index, tenant: &Tenant, value: &str) -> String {
    HEXLOWER.encode(&index.hash(tenant, value)[..BYTES])
}

impl Directory {
    /// What requests about a resource with any of these attributes are found by.
    pub(super) fn subjects<'a>(
        &self,
        of: &ResourceType,
        attributes: impl IntoIterator<Item = Option<&'a Attributes>>,
    ) -> Vec<String> {
        let mut subjects = Vec::new();
        for attributes in attributes.into_iter().flatten() {
            for index in names() {
                let value = attributes.as_map().get(index.attribute()).and_then(Value::as_str);
                let own = value.filter(|_| index.resource_type() == of.name);
                subjects.extend(own.map(|value| subject(index, &self.access.tenant, value)));
            }
        }
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// Whom a write is about, as far as it says so itself: by each name that it gives, the better first.
    pub fn subjects_sent(&self, of: &ResourceType, write: &Write) -> Vec<String> {
        let document = match write {
            Write::Create { document } | Write::Replace { document, .. } => document.as_object(),
            Write::Patch { .. } | Write::Delete { .. } => None,
        };
        self.subjects_named(of, given(document)).collect()
    }

    /// Notes it.
    pub(super) fn note_sent(&self, of: &ResourceType, write: &Write) {
        let mut subjects = self.subjects_sent(of, write).into_iter();
        telemetry::note_once("scim.subject", || subjects.next());
        telemetry::note_once("scim.subject.other", || subjects.next());
    }

    /// What was found, noted.
    pub(super) fn noted(&self, of: &ResourceType, found: Option<Stored>) -> Option<Stored> {
        self.note_subject(of, found.as_ref().map(|found| found.attributes.as_map()));
        found
    }

    /// Notes who a document, sent or stored, is about.
    pub(super) fn note_subject(&self, of: &ResourceType, document: Option<&Map<String, Value>>) {
        self.note_named(of, given(document));
    }

    /// Notes whom a filter looks for.
    pub(super) fn note_sought(&self, of: &ResourceType, filter: Option<&Filter>) {
        let Some(filter) = filter else { return };
        telemetry::note_once("scim.filter.shape", || Some(filter.shape()));
        let equalities = filter.equalities();
        self.note_named(of, |name| {
            let equality = equalities.iter().find(|equality| equality.name == name)?;
            Some(equality.text)
        });
    }

    /// What a request says itself comes before what is stored.
    fn note_named<'v>(&self, of: &ResourceType, value: impl Fn(&str) -> Option<&'v str>) {
        telemetry::note_once("scim.subject", || self.subjects_named(of, value).next());
    }

    fn subjects_named<'v>(
        &self,
        of: &ResourceType,
        value: impl Fn(&str) -> Option<&'v str>,
    ) -> impl Iterator<Item = String> {
        let own = names().filter(|index| index.resource_type() == of.name);
        own.filter_map(move |index| Some(subject(index, &self.access.tenant, value(index.attribute())?)))
    }
}

/// The values of a document's attributes by their names, which are compared without case: it may be one that is refused.
fn given<'d>(document: Option<&'d Map<String, Value>>) -> impl Fn(&str) -> Option<&'d str> {
    move |name| {
        let (_, value) = document?.iter().find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        value.as_str()
    }
}
