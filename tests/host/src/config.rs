//! A case-insensitive view of host.json with the app settings `AzureFunctionsJobHost__…` laid over it, as
//! Microsoft.Extensions.Configuration gives it to the host.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// App settings with this prefix override host.json.
const SECTION: &str = "azurefunctionsjobhost:";

/// Every leaf of host.json by its path: lower case, parts joined by `:`, array elements by their index.
pub(crate) struct Config(BTreeMap<String, String>);

impl Config {
    pub(crate) fn new(host_json: &Value, environment: &BTreeMap<String, String>) -> Self {
        let mut leaves = BTreeMap::new();
        flatten(String::new(), host_json, &mut leaves);
        for (name, value) in environment {
            let path = name.replace("__", ":").to_lowercase();
            if let Some(path) = path.strip_prefix(SECTION) {
                leaves.insert(path.to_owned(), value.clone());
            }
        }
        Self(leaves)
    }

    /// The value at `path`, which is written in lower case.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether anything stands at or below `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path) || self.below(path).next().is_some()
    }

    pub(crate) fn flag(&self, path: &str, default: bool) -> Result<bool, String> {
        match self.text(path) {
            None | Some("") => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(format!("{path}: '{text}' is not a valid value for Boolean")),
        }
    }

    pub(crate) fn integer(&self, path: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(path) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{path}: '{text}' is not a valid value for Int32"))
    }

    /// A `TimeSpan`, `[d.]hh:mm:ss[.fff]`, or else the default.
    pub(crate) fn span(&self, path: &str, default: Duration) -> Result<Duration, String> {
        let Some(text) = self.text(path) else {
            return Ok(default);
        };
        time_span(text).ok_or_else(|| format!("{path}: '{text}' is not a valid value for TimeSpan"))
    }

    /// An array of strings, in index order; or, from an app setting, one JSON-encoded array.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, String> {
        if let Some(text) = self.text(path).filter(|text| !text.is_empty()) {
            return serde_json::from_str(text).map_err(|_| format!("{path}: '{text}' is not a JSON array of strings"));
        }
        let mut elements: Vec<(u32, String)> = self
            .below(path)
            .filter_map(|(index, value)| Some((index.parse().ok()?, value.to_owned())))
            .collect();
        elements.sort_unstable();
        Ok(elements.into_iter().map(|(_, value)| value).collect())
    }

    /// The leaves below `path`, by what follows `path:`.
    pub(crate) fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let prefix = format!("{path}:");
        self.0
            .range(prefix.clone()..)
            .map_while(move |(key, value)| key.strip_prefix(&prefix).map(|rest| (rest, value.as_str())))
    }
}

fn flatten(path: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_lowercase()
        } else {
            format!("{path}:{}", name.to_lowercase())
        }
    };
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| flatten(below(name), value, leaves)),
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| flatten(below(&index.to_string()), value, leaves));
        }
        Value::String(text) => drop(leaves.insert(path, text.clone())),
        Value::Null => drop(leaves.insert(path, String::new())),
        other => drop(leaves.insert(path, other.to_string())),
    }
}

fn time_span(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) if clock.contains(':') => (days.parse::<u64>().ok()?, clock),
        _ => (0, text),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else {
        return None;
    };
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds: f64 = seconds.parse().ok()?;
    if hours > 23 || minutes > 59 || !(0.0..60.0).contains(&seconds) {
        return None;
    }
    Some(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60) + Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let host_json = json!({
            "version": "2.0",
            "customHandler": { "description": { "arguments": ["--a", "--b"] }, "enableProxyingHttpRequest": true },
            "functionTimeout": "00:03:50",
        });
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::new(&host_json, &settings)
    }

    #[test]
    fn keys_are_case_insensitive() {
        assert_eq!(
            config(&[]).flag("customhandler:enableproxyinghttprequest", false),
            Ok(true)
        );
    }

    #[test]
    fn an_app_setting_overrides_in_any_case() {
        let config = config(&[(
            "AZUREFUNCTIONSJOBHOST__CUSTOMHANDLER__enableProxyingHttpRequest",
            "False",
        )]);
        assert_eq!(config.flag("customhandler:enableproxyinghttprequest", false), Ok(false));
    }

    #[test]
    fn an_app_setting_replaces_one_array_element() {
        let config = config(&[("AzureFunctionsJobHost__customHandler__description__arguments__1", "--c")]);
        assert_eq!(
            config.list("customhandler:description:arguments").unwrap(),
            ["--a", "--c"]
        );
    }

    #[test]
    fn an_app_setting_may_hold_a_json_array() {
        let config = config(&[(
            "AzureFunctionsJobHost__customHandler__description__arguments",
            r#"["x"]"#,
        )]);
        assert_eq!(config.list("customhandler:description:arguments").unwrap(), ["x"]);
    }

    #[test]
    fn time_spans_have_three_parts() {
        assert_eq!(
            config(&[]).span("functiontimeout", Duration::ZERO),
            Ok(Duration::from_secs(230))
        );
        assert_eq!(config(&[]).span("elsewhere", Duration::ZERO), Ok(Duration::ZERO));
        assert_eq!(time_span("1.00:00:00.5"), Some(Duration::from_millis(86_400_500)));
        assert_eq!(time_span("30"), None);
        assert_eq!(time_span("00:61:00"), None);
    }
}
