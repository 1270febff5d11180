//! Putting a document, or one value of an attribute, to a filter.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::super::fold::fold;
use super::super::path::Path;
use super::super::resource::parse_date_time;
use super::{Filter, Literal, Operator, Ready, Text};

/// What paths are looked up in.
#[derive(Clone, Copy)]
pub(super) enum Node<'v> {
    /// A resource, or a value with parts.
    Object(&'v Map<String, Value>),
    /// A value of a simple multi-valued attribute.
    Simple(&'v Value),
}

impl<'v> Node<'v> {
    pub(super) fn of(value: &'v Value) -> Node<'v> {
        match value {
            Value::Object(map) => Node::Object(map),
            value => Node::Simple(value),
        }
    }

    fn child(self, name: &str) -> Option<&'v Value> {
        match self {
            Node::Object(map) => map.get(name),
            Node::Simple(value) => (name == "value").then_some(value),
        }
    }
}

/// The folded values of one document, by the addresses of their texts, so that many conditions fold each once. Those in
/// ASCII are not kept: folding them costs no more than finding them.
#[derive(Default)]
struct Folds(RefCell<HashMap<*const u8, String>>);

impl Folds {
    fn with<T>(&self, text: &str, compare: impl FnOnce(&str) -> T) -> T {
        if text.is_ascii() {
            return compare(&fold(text));
        }
        let mut folds = self.0.borrow_mut();
        compare(folds.entry(text.as_ptr()).or_insert_with(|| fold(text)))
    }
}

pub(super) fn matches(filter: &Filter, node: Node<'_>) -> bool {
    holds(filter, node, &Folds::default())
}

fn holds(filter: &Filter, node: Node<'_>, folds: &Folds) -> bool {
    match filter {
        Filter::And(filters) => filters.iter().all(|filter| holds(filter, node, folds)),
        Filter::Or(filters) => filters.iter().any(|filter| holds(filter, node, folds)),
        Filter::Not(filter) => !holds(filter, node, folds),
        Filter::Present(path) => values(path, node).any(is_present),
        Filter::Compare {
            path,
            operator: Operator::Ne,
            value,
        } => !compares(path, node, Operator::Eq, value, folds),
        Filter::Compare { path, operator, value } => compares(path, node, *operator, value, folds),
        Filter::ValuePath { path, filter } => values(path, node).any(|value| holds(filter, Node::of(value), folds)),
    }
}

/// Every value that the path leads to.
fn values<'v>(path: &Path, node: Node<'v>) -> impl Iterator<Item = &'v Value> {
    let holder = match path.extension() {
        Some(urn) => node.child(urn).map(Node::of),
        None => Some(node),
    };
    let found = match path.attribute() {
        Some(name) => holder.and_then(|holder| holder.child(name)),
        None => path.extension().and_then(|urn| node.child(urn)),
    };
    let ends = each(found).filter_map(move |value| match path.sub_attribute() {
        Some(name) => Node::of(value).child(name),
        None => Some(value),
    });
    // A sub-attribute may have several values too.
    ends.flat_map(|end| each(Some(end)))
}

/// The elements of an array, else the value itself.
fn each(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(elements)) => elements.iter(),
        Some(value) => std::slice::from_ref(value).iter(),
        None => [].iter(),
    }
}

/// RFC 7644, table 3: "a non-empty or non-null value, or a non-empty node for complex attributes".
fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => elements.iter().any(is_present),
        Value::Object(parts) => parts.values().any(is_present),
    }
}

fn compares(path: &Path, node: Node<'_>, operator: Operator, literal: &Literal, folds: &Folds) -> bool {
    let mut found = values(path, node);
    match literal {
        Literal::Boolean(wanted) => found.any(|value| value.as_bool() == Some(*wanted)),
        Literal::Number(wanted) => found.any(|value| {
            value
                .as_number()
                .is_some_and(|number| is_ordered(order(number, wanted), operator))
        }),
        Literal::Text(wanted) => text_compares(&mut found, operator, wanted, folds),
    }
}

fn text_compares(found: &mut dyn Iterator<Item = &Value>, operator: Operator, wanted: &Text, folds: &Folds) -> bool {
    let mut found = found.filter_map(Value::as_str);
    match &wanted.ready {
        Ready::Exact => found.any(|text| text_matches(text, operator, &wanted.written)),
        Ready::Folded(wanted) => found.any(|text| folds.with(text, |text| text_matches(text, operator, wanted))),
        Ready::Time(wanted) => {
            found.any(|text| parse_date_time(text).is_some_and(|time| is_ordered(Some(time.cmp(wanted)), operator)))
        }
    }
}

fn text_matches(text: &str, operator: Operator, wanted: &str) -> bool {
    match operator {
        Operator::Co => text.contains(wanted),
        Operator::Sw => text.starts_with(wanted),
        Operator::Ew => text.ends_with(wanted),
        ordered => is_ordered(Some(text.cmp(wanted)), ordered),
    }
}

fn is_ordered(ordering: Option<Ordering>, operator: Operator) -> bool {
    let Some(ordering) = ordering else { return false };
    match operator {
        Operator::Eq => ordering.is_eq(),
        Operator::Ne => ordering.is_ne(),
        Operator::Gt => ordering.is_gt(),
        Operator::Ge => ordering.is_ge(),
        Operator::Lt => ordering.is_lt(),
        Operator::Le => ordering.is_le(),
        Operator::Co | Operator::Sw | Operator::Ew => false,
    }
}

/// Whole numbers exactly, others as floating-point ones.
fn order(left: &Number, right: &Number) -> Option<Ordering> {
    let whole = |number: &Number| {
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
    };
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
