//! function.json: discovery, validation, order.

use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::Error;
use crate::log::Log;
use crate::route::Template;
use crate::settings::{Settings, read_json};

/// An HTTP function.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) level: AuthLevel,
    /// Upper case; `None`: all.
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) template: Template,
    pub(crate) disabled: bool,
}

/// Who may call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthLevel {
    Anonymous,
    Function,
    Admin,
}

impl Function {
    pub(crate) fn accepts(&self, method: &Method) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|one| one == method.as_str()))
    }

    fn clashes_with(&self, other: &Self) -> bool {
        let same_route = self.template.text().eq_ignore_ascii_case(other.template.text());
        same_route
            && match (&self.methods, &other.methods) {
                (Some(mine), Some(theirs)) => mine.iter().any(|method| theirs.contains(method)),
                _ => true,
            }
    }
}

/// The functions below the script root in the order in which the router tries them: by name, ignoring case. One that
/// is in error is left out with a line in the log; one that would run in JSON mode is refused.
pub(crate) fn load_all(settings: &Settings, log: &Log) -> Result<Vec<Function>, Error> {
    let root = &settings.root;
    let unreadable = |source| Error::Read {
        file: root.clone(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().join("function.json").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_by_key(|name| name.to_uppercase());
    names.retain(|name| settings.functions.as_ref().is_none_or(|allowed| allowed.contains(name)));
    let mut functions: Vec<Function> = Vec::new();
    for name in names {
        match load(settings, &name) {
            Ok(function) => match functions.iter().find(|other| function.clashes_with(other)) {
                None => functions.push(function),
                Some(other) => log.error(format!(
                    "The '{name}' function is in error: The route specified conflicts with the route defined by \
                     function '{}'.",
                    other.name
                )),
            },
            Err(Problem::InError(problem)) => log.error(format!("The '{name}' function is in error: {problem}")),
            Err(Problem::JsonMode) => {
                return Err(Error::Invalid {
                    file: root.join(name).join("function.json"),
                    problem: "JSON mode is not imitated: bindings must be one httpTrigger and one http output".into(),
                });
            }
        }
    }
    Ok(functions)
}

enum Problem {
    InError(String),
    JsonMode,
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::InError(problem)
    }
}

fn load(settings: &Settings, name: &str) -> Result<Function, Problem> {
    if !is_name(name) {
        return Err(Problem::InError(format!("'{name}' is not a valid function name.")));
    }
    let json = read_json(&Path::new(&settings.root).join(name).join("function.json"));
    let json = json.map_err(|error| Problem::InError(error.to_string()))?;
    let trigger = trigger(&json)?;
    let route = trigger
        .get("route")
        .and_then(Value::as_str)
        .filter(|route| !route.trim().is_empty())
        .unwrap_or(name);
    let bare = route.trim_matches('/').to_ascii_lowercase();
    if bare.starts_with("admin") || bare.starts_with("runtime") {
        return Err("The specified route conflicts with one or more built in routes."
            .to_owned()
            .into());
    }
    Ok(Function {
        name: name.to_owned(),
        level: auth_level(trigger)?,
        methods: methods(trigger)?,
        template: Template::parse(&settings.route_prefix, route)?,
        disabled: json.get("disabled").and_then(Value::as_bool) == Some(true) || settings.disables(name),
    })
}

/// `^[a-z][a-z0-9_-]{0,127}$`, ignoring case, and not `host`.
fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !name.eq_ignore_ascii_case("host")
}

fn trigger(json: &Value) -> Result<&Value, Problem> {
    let bindings = json.get("bindings").and_then(Value::as_array);
    let bindings = bindings.filter(|bindings| !bindings.is_empty());
    let bindings = bindings.ok_or_else(|| "At least one binding must be declared.".to_owned())?;
    let is = |binding: &Value, member: &str, expected: &str| {
        binding
            .get(member)
            .and_then(Value::as_str)
            .is_some_and(|value| value.eq_ignore_ascii_case(expected))
    };
    for binding in bindings {
        if binding.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err("A valid name must be assigned to the binding.".to_owned().into());
        }
    }
    let [first, second] = bindings.as_slice() else {
        return Err(Problem::JsonMode);
    };
    let is_trigger = |binding| is(binding, "type", "httpTrigger") && !is(binding, "direction", "out");
    let is_output = |binding| is(binding, "type", "http") && is(binding, "direction", "out");
    match (first, second) {
        (trigger, output) | (output, trigger) if is_trigger(trigger) && is_output(output) => Ok(trigger),
        _ => Err(Problem::JsonMode),
    }
}

fn auth_level(trigger: &Value) -> Result<AuthLevel, String> {
    let Some(level) = trigger.get("authLevel") else {
        return Ok(AuthLevel::Function);
    };
    match level.as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "anonymous" => Ok(AuthLevel::Anonymous),
        "function" => Ok(AuthLevel::Function),
        "admin" => Ok(AuthLevel::Admin),
        _ => Err(format!("{level} is no authLevel")),
    }
}

fn methods(trigger: &Value) -> Result<Option<Vec<String>>, String> {
    let Some(methods) = trigger.get("methods") else {
        return Ok(None);
    };
    let methods = methods.as_array().ok_or("'methods' is not an array")?;
    let methods = methods
        .iter()
        .map(|method| method.as_str().map(str::to_ascii_uppercase));
    let methods = methods
        .collect::<Option<Vec<_>>>()
        .ok_or("'methods' holds something else than strings")?;
    Ok((!methods.is_empty()).then_some(methods))
}
