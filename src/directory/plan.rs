//! The way to what a filter matches: which of its conditions leads to few resources.

use super::{
    index::{self, Index},
    links,
};
use crate::scim::{filter::Filter, schema::ResourceType};

/// Where a filter's matches can be.
pub(super) enum Plan<'f> {
    Nowhere,
    Id(&'f str),
    Indexed(&'static Index, &'f str),
    /// Those that are linked with this one.
    Linked(&'f str),
    Scan,
}

/// In an `and`, any indexed equality drives; one that can match a single resource before others.
pub(super) fn plan<'f>(of: &ResourceType, filter: Option<&'f Filter>) -> Plan<'f> {
    let equalities = filter.map(Filter::equalities).unwrap_or_default();
    let equal = |name: &str| equalities.iter().find(|equality| equality.name == name);
    if equal("meta.resourceType").is_some_and(|equality| !equality.text.eq_ignore_ascii_case(&of.name)) {
        return Plan::Nowhere;
    }
    if let Some(id) = equal("id") {
        return Plan::Id(id.text);
    }
    let mut indexes: Vec<&'static Index> = index::indexes(of).collect();
    indexes.sort_by_key(|index| !index.unique);
    for index in indexes {
        if let Some(equality) = equalities.iter().find(|equality| index.is_of(&equality.name)) {
            return Plan::Indexed(index, equality.text);
        }
    }
    let linked = links::attribute(of).and_then(|attribute| equal(&format!("{attribute}.value")));
    linked.map_or(Plan::Scan, |equality| Plan::Linked(equality.text))
}
