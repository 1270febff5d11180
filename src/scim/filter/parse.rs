//! The grammar: `or` over `and` over `not`, groups, value paths and comparisons.

use super::super::error::{Error, Rule};
use super::super::limits::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
use super::super::normalize::Trace;
use super::super::path::{Path, Resolved, Scope, Unresolved, is_name};
use super::super::schema::{Attribute, ResourceType, Returned, Type};
use super::literal::{self, Operand};
use super::{Filter, Operator};

/// Reads a text from left to right. It recurses no deeper than [`MAX_FILTER_DEPTH`] allows, and neither does what it
/// makes.
pub(in super::super) struct Parser<'t> {
    text: &'t str,
    /// Bytes read; always at a character's beginning.
    at: usize,
    depth: usize,
    trace: &'t mut Trace,
}

impl<'t> Parser<'t> {
    pub(in super::super) fn new(text: &'t str, trace: &'t mut Trace) -> Parser<'t> {
        Parser {
            text,
            at: 0,
            depth: 0,
            trace,
        }
    }

    /// The whole text as a filter.
    pub(in super::super) fn filter(mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        if self.text.len() > MAX_FILTER_BYTES {
            return Err(Rule::FilterTooLong.error().with("limit", MAX_FILTER_BYTES.to_string()));
        }
        let filter = self.disjunction(scope)?;
        self.skip_spaces();
        if self.at < self.text.len() {
            return Err(self.syntax("and, or, or the end"));
        }
        Ok(filter)
    }

    /// The whole text as the `path` of a PATCH operation; nothing if the type lacks what it names.
    pub(in super::super) fn patch_path(mut self, rt: &ResourceType) -> Result<Option<Path>, Error> {
        self.text = self.text.trim();
        if self.text.len() > MAX_FILTER_BYTES {
            return Err(Rule::PathTooLong.error().with("limit", MAX_FILTER_BYTES.to_string()));
        }
        let name = self.word();
        let subject = if name.is_empty() { "(without a name)" } else { name };
        let malformed = |expected: &str| Rule::PathSyntax.at(subject).with("expected", expected);
        let resolved = Scope::Resource(rt).resolve(name, self.trace);
        let scope = match &resolved {
            Ok(Resolved {
                definition: Some(definition),
                ..
            }) => Scope::Value(definition),
            Ok(_) | Err(Unresolved::Unknown) => Scope::Anything,
            Err(Unresolved::Malformed) => return Err(malformed("an attribute name")),
        };
        let filter = if self.rest().starts_with('[') {
            let refused = |error: Error| {
                Rule::PathFilter
                    .at(subject)
                    .with("expected", error.detail().trim_end_matches('.'))
            };
            Some(self.bracketed(scope).map_err(refused)?)
        } else {
            None
        };
        let sub_name = if filter.is_some() && self.eat(".") {
            Some(self.word())
        } else {
            None
        };
        if self.at < self.text.len() || sub_name.is_some_and(|name| !is_name(name)) {
            return Err(malformed(
                "nothing more behind it than a filter in brackets and one sub-attribute",
            ));
        }
        let Ok(Resolved { mut path, definition }) = resolved else {
            return Ok(None);
        };
        if let Some(filter) = filter {
            let definition = definition.filter(|_| path.sub_attribute().is_none());
            let definition = definition.filter(|definition| has_values(definition));
            let definition = definition.ok_or_else(|| Rule::PathFilterNotAllowed.at(name))?;
            refuse_names(&path, definition, &filter)?;
            path = path.with_filter(filter);
            if let Some(sub_name) = sub_name {
                let Some(sub_attribute) = definition.sub_attribute(sub_name) else {
                    return Ok(None);
                };
                path = path.with_sub_attribute(sub_attribute);
            }
        }
        Ok(Some(path))
    }

    fn disjunction(&mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        let mut filters = vec![self.conjunction(scope)?];
        while self.eat_keyword("or") {
            filters.push(self.conjunction(scope)?);
        }
        Ok(Filter::any(filters))
    }

    fn conjunction(&mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        let mut filters = vec![self.factor(scope)?];
        while self.eat_keyword("and") {
            filters.push(self.factor(scope)?);
        }
        Ok(Filter::all(filters))
    }

    fn factor(&mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        self.skip_spaces();
        if self.rest().starts_with('(') {
            return self.enclosed("(", ")", scope);
        }
        if self.eat_keyword("not") {
            self.skip_spaces();
            if !self.rest().starts_with('(') {
                return Err(self.syntax("an opening parenthesis behind not"));
            }
            return Ok(Filter::Not(Box::new(self.enclosed("(", ")", scope)?)));
        }
        self.expression(scope)
    }

    fn bracketed(&mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        self.enclosed("[", "]", scope)
    }

    fn enclosed(&mut self, opening: &str, closing: &str, scope: Scope<'_>) -> Result<Filter, Error> {
        self.eat(opening);
        self.depth += 1;
        if self.depth > MAX_FILTER_DEPTH {
            return Err(Rule::FilterTooDeep.error().with("limit", MAX_FILTER_DEPTH.to_string()));
        }
        let filter = self.disjunction(scope)?;
        self.skip_spaces();
        if !self.eat(closing) {
            let kind = if closing == ")" { "parenthesis" } else { "bracket" };
            return Err(self.syntax(&format!("and, or, or a closing {kind}")));
        }
        self.depth -= 1;
        Ok(filter)
    }

    /// A comparison, or an attribute with brackets.
    fn expression(&mut self, scope: Scope<'_>) -> Result<Filter, Error> {
        let start = self.at;
        let name = self.word();
        let resolved = match scope.resolve(name, self.trace) {
            Ok(resolved) => resolved,
            Err(Unresolved::Unknown) => return Err(Rule::UnknownFilterAttribute.at(name)),
            Err(Unresolved::Malformed) => {
                self.at = start;
                return Err(self.syntax("an attribute name"));
            }
        };
        if let Some(definition) = resolved.definition
            && (definition.returned == Returned::Never || is_hidden_part(definition, &resolved.path))
        {
            return Err(Rule::FilterSensitive.at(resolved.path.name()));
        }
        let name = resolved.definition.and_then(Attribute::name_of_other);
        if let Some(name) = name.filter(|name| resolved.path.sub_attribute() == Some(&name.name)) {
            return Err(by_name(&resolved.path, name));
        }
        if self.rest().starts_with('[') {
            self.value_path(resolved)
        } else {
            self.comparison(resolved)
        }
    }

    /// `emails[…]`, and beyond the RFC's grammar `emails[…].value eq "…"`, the form in which Entra matches.
    fn value_path(&mut self, attribute: Resolved<'_>) -> Result<Filter, Error> {
        let Resolved {
            path,
            definition: Some(definition),
        } = attribute
        else {
            return Err(self.syntax("an operator"));
        };
        if path.sub_attribute().is_some() || !has_values(definition) {
            return Err(self.syntax("an operator"));
        }
        let filter = self.bracketed(Scope::Value(definition))?;
        refuse_names(&path, definition, &filter)?;
        let name = if self.eat(".") {
            self.word()
        } else if self.at_operator() {
            "value"
        } else {
            return Ok(Filter::ValuePath {
                path,
                filter: Box::new(filter),
            });
        };
        let unknown = || Rule::UnknownFilterAttribute.at(format!("{}.{name}", path.name()));
        let part = Scope::Value(definition)
            .resolve(name, self.trace)
            .map_err(|_| unknown())?;
        let (comparison, negated) = match self.comparison(part)? {
            // No value that the brackets choose equals: not "there is one that differs".
            Filter::Compare {
                path,
                operator: Operator::Ne,
                value,
            } => (
                Filter::Compare {
                    path,
                    operator: Operator::Eq,
                    value,
                },
                true,
            ),
            Filter::Not(present) => (*present, true),
            comparison => (comparison, false),
        };
        refuse_names(&path, definition, &comparison)?;
        let found = Filter::ValuePath {
            path,
            filter: Box::new(Filter::all(vec![filter, comparison])),
        };
        Ok(if negated { Filter::Not(Box::new(found)) } else { found })
    }

    /// What stands behind an attribute: `pr`, or an operator and a value.
    fn comparison(&mut self, attribute: Resolved<'_>) -> Result<Filter, Error> {
        let Resolved { path, definition } = attribute;
        self.skip_spaces();
        let start = self.at;
        let word = self.word();
        if word.is_empty() {
            return Err(self.syntax("an operator"));
        }
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(path));
        }
        let operator = Operator::from_keyword(word).ok_or_else(|| Rule::UnknownOperator.at(self.position_of(start)))?;
        self.skip_spaces();
        let operand = self.operand()?;
        if operand == Operand::Word("null") && matches!(operator, Operator::Eq | Operator::Ne) {
            // RFC 7644 §3.4.2.2, RFC 7643 §2.5: null is the state of having no value.
            let present = Filter::Present(path);
            return Ok(if operator == Operator::Ne {
                present
            } else {
                Filter::Not(Box::new(present))
            });
        }
        let needs_part = |(path, part): (Path, String)| {
            let named = Rule::FilterNeedsSubAttribute.at(path.name());
            named.with("expected", part)
        };
        let path = path.comparable(definition).map_err(needs_part)?;
        let value = literal::typed(&path, operator, &operand, self.trace)?;
        Ok(Filter::Compare { path, operator, value })
    }

    fn operand(&mut self) -> Result<Operand<'t>, Error> {
        let (operand, length) = literal::read(self.rest()).map_err(|flaw| flaw.at(self.position_of(self.at)))?;
        self.at += length;
        Ok(operand)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// A name or keyword: up to the next space, bracket or quotation mark.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"'));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let start = self.at;
        self.skip_spaces();
        let found = self.word().eq_ignore_ascii_case(keyword);
        if !found {
            self.at = start;
        }
        found
    }

    fn at_operator(&mut self) -> bool {
        let start = self.at;
        self.skip_spaces();
        let word = self.word();
        self.at = start;
        word.eq_ignore_ascii_case("pr") || Operator::from_keyword(word).is_some()
    }

    /// A place in the text, for people: characters count from 1.
    fn position_of(&self, byte: usize) -> String {
        format!("character {}", self.text[..byte].chars().count() + 1)
    }

    fn syntax(&self, expected: &str) -> Error {
        Rule::FilterSyntax
            .at(self.position_of(self.at))
            .with("expected", expected)
    }
}

/// Refuses a filter between brackets that chooses values by the names of what they refer to.
fn refuse_names(path: &Path, definition: &Attribute, filter: &Filter) -> Result<(), Error> {
    let name = definition.name_of_other();
    match name.filter(|name| filter.mentions(&name.name)) {
        Some(name) => Err(by_name(path, name)),
        None => Ok(()),
    }
}

fn by_name(path: &Path, name: &Attribute) -> Error {
    let attribute = path.attribute_name();
    let refused = Rule::FilterOnDerived.at(format!("{attribute}.{}", name.name));
    refused.with("expected", format!("{attribute}.value"))
}

/// Whether brackets make sense behind the attribute: it has several values, or one with parts (Entra: `manager[…]`).
fn has_values(definition: &Attribute) -> bool {
    definition.multi_valued || definition.kind == Type::Complex
}

fn is_hidden_part(definition: &Attribute, path: &Path) -> bool {
    path.sub_attribute()
        .and_then(|name| definition.sub_attribute(name))
        .is_some_and(|part| part.returned == Returned::Never)
}
