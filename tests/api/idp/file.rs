//! Reading a conversation's file. What nobody asked for is refused: a misspelt key would test nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::pattern;
use super::{Body, Conversation, Expect, Step, is_name};

/// The error names the file, the step and what is wrong.
pub(super) fn parse(file: &str, text: &str) -> Result<Conversation, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("{file}: {error}"))?;
    let mut members = Members::new(file, value)?;
    let (covers, title) = (members.texts("covers")?, members.text("title")?);
    members.text("source")?;
    let mut steps = Vec::new();
    for (number, step) in (1..).zip(members.array("steps")?) {
        steps.push(parse_step(&format!("{file}: step {number}"), step)?);
    }
    members.finish()?;
    let mut names = BTreeSet::from(["base", "unique"]);
    if let Some((name, _)) = steps
        .iter()
        .flat_map(|step| &step.save)
        .find(|(name, _)| !is_name(name) || !names.insert(name))
    {
        return Err(format!(
            "{file}: `{name}` cannot be saved: it is taken, or no word of lower-case letters and digits"
        ));
    }
    if covers.is_empty() || steps.is_empty() {
        return Err(format!("{file}: covers or steps are empty"));
    }
    Ok(Conversation {
        file: file.to_owned(),
        covers,
        title,
        steps,
    })
}

fn parse_step(place: &str, value: Value) -> Result<Step, String> {
    let mut members = Members::new(place, value)?;
    let (name, method, path) = (members.text("name")?, members.text("method")?, members.text("path")?);
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
        return Err(format!("{place}: `{path}` is no percent-encoded path"));
    }
    let headers = members.pairs("headers")?;
    let body = match (members.take("body"), members.take("raw")) {
        (None, None) => Body::None,
        (Some(value), None) => Body::Json(value),
        (None, Some(Value::String(text))) => Body::Raw(text),
        _ => return Err(format!("{place}: give either a `body` or a `raw` text")),
    };
    let expected = members
        .take("expect")
        .ok_or_else(|| format!("{place}: `expect` is missing"))?;
    let expect = parse_expect(&format!("{place}: expect"), expected)?;
    let save = members.pairs("save")?;
    members.finish()?;
    Ok(Step {
        name,
        method,
        path,
        headers,
        body,
        expect,
        save,
    })
}

fn parse_expect(place: &str, value: Value) -> Result<Expect, String> {
    let mut members = Members::new(place, value)?;
    let status = members
        .take("status")
        .and_then(|status| status.as_u64())
        .and_then(|status| status.try_into().ok());
    let status = status.ok_or_else(|| format!("{place}: `status` is no status code"))?;
    let headers = members.object("headers")?;
    let body = members.take("body");
    for pattern in headers.values().chain(&body) {
        if let Some(key) = pattern::stray_operator(pattern) {
            return Err(format!("{place}: `{key}` is no operator, or not alone in its object"));
        }
    }
    let (absent, detail_contains) = (members.texts("absent")?, members.texts("detail_contains")?);
    if let Some(pointer) = absent.iter().find(|pointer| !pointer.starts_with('/')) {
        return Err(format!("{place}: `{pointer}` is no JSON pointer"));
    }
    members.finish()?;
    Ok(Expect {
        status,
        headers,
        body,
        absent,
        detail_contains,
    })
}

/// A JSON object taken apart member by member, so that what nobody asked for is noticed.
struct Members<'a> {
    place: &'a str,
    map: Map<String, Value>,
}

impl<'a> Members<'a> {
    fn new(place: &'a str, value: Value) -> Result<Members<'a>, String> {
        match value {
            Value::Object(map) => Ok(Members { place, map }),
            other => Err(format!("{place}: an object is wanted, not {other}")),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key)
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        match self.take(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(format!("{}: `{key}` is no text", self.place)),
        }
    }

    fn array(&mut self, key: &str) -> Result<Vec<Value>, String> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(elements)) => Ok(elements),
            Some(_) => Err(format!("{}: `{key}` is no array", self.place)),
        }
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let elements = self.array(key)?.into_iter();
        let texts = elements
            .map(|element| element.as_str().map(str::to_owned))
            .collect::<Option<_>>();
        texts.ok_or_else(|| format!("{}: `{key}` holds something else than texts", self.place))
    }

    fn object(&mut self, key: &str) -> Result<Map<String, Value>, String> {
        match self.take(key) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(_) => Err(format!("{}: `{key}` is no object", self.place)),
        }
    }

    fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, String> {
        let members = self.object(key)?.into_iter();
        let pairs = members
            .map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect::<Option<_>>();
        pairs.ok_or_else(|| format!("{}: `{key}` holds something else than texts", self.place))
    }

    fn finish(self) -> Result<(), String> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{}: unknown key `{key}`", self.place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = r#"{"name": "n", "method": "GET", "path": "/Users", "expect": {"status": 200}}"#;

    fn conversation(step: &str) -> String {
        format!(r#"{{"covers": ["E-USER-01"], "title": "t", "source": "s", "steps": [{step}]}}"#)
    }

    /// A file with `from` replaced by `to` is refused with `wanted`.
    #[track_caller]
    fn check(from: &str, to: &str, wanted: &str) {
        let text = conversation(STEP);
        assert!(text.contains(from), "{from}");
        let refusal = parse("x.json", &text.replacen(from, to, 1)).err().unwrap_or_default();
        assert!(
            refusal.starts_with("x.json: ") && refusal.contains(wanted),
            "`{refusal}`"
        );
    }

    #[test]
    fn a_conversation_is_read() {
        let read = parse("x.json", &conversation(STEP)).unwrap();
        assert_eq!(
            (read.file.as_str(), read.covers[0].as_str(), read.steps.len()),
            ("x.json", "E-USER-01", 1)
        );
    }

    #[test]
    fn what_is_no_conversation_is_refused_with_its_place() {
        check("\"title\"", "\"titel\"", "`title` is no text");
        check("\"title\"", "\"extra\": 1, \"title\"", "unknown key `extra`");
        check(
            "\"method\"",
            "\"save_as\": {}, \"method\"",
            "step 1: unknown key `save_as`",
        );
        check(
            "\"status\"",
            "\"absent_headers\": [], \"status\"",
            "step 1: expect: unknown key `absent_headers`",
        );
        check("[\"E-USER-01\"]", "[]", "covers or steps are empty");
        check("[\"E-USER-01\"]", "[1]", "`covers` holds something else");
        check("200", "\"200\"", "`status` is no status code");
        check(
            "\"expect\"",
            "\"body\": {}, \"raw\": \"x\", \"expect\"",
            "either a `body` or a `raw` text",
        );
        check("/Users", "Users", "no percent-encoded path");
        check("/Users", "/Users?filter=a eq b", "no percent-encoded path");
        check("200", "200, \"absent\": [\"manager\"]", "`manager` is no JSON pointer");
        check(
            "200",
            "200, \"body\": {\"a\": {\"$contain\": []}}",
            "`$contain` is no operator",
        );
        check("200", "200, \"headers\": {\"a\": {\"$is\": 1}}", "`$is` is no operator");
        check(
            "\"expect\"",
            "\"save\": {\"base\": \"/id\"}, \"expect\"",
            "`base` cannot be saved",
        );
        check(
            "\"expect\"",
            "\"save\": {\"Id\": \"/id\"}, \"expect\"",
            "`Id` cannot be saved",
        );
        check("{", "[", "x.json: ");
    }
}
