//! Route templates as the legacy ASP.NET router matches them: no precedence, case-insensitive, on the path Kestrel
//! decoded. Not imitated: templates with several parameters in a segment, defaults, other constraints.

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Literal(String),
    Parameter {
        constraint: Option<Constraint>,
        optional: bool,
    },
    CatchAll,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Constraint {
    Int,
    Long,
    Bool,
    Guid,
    Alpha,
}

impl Template {
    /// Parses `prefix/route`. The error says what is wrong with the template.
    pub(crate) fn parse(prefix: &str, route: &str) -> Result<Self, String> {
        let text = [prefix.trim_matches('/'), route.trim_matches('/')]
            .join("/")
            .trim_matches('/')
            .to_owned();
        let segments: Vec<&str> = if text.is_empty() {
            Vec::new()
        } else {
            text.split('/').collect()
        };
        let parts = segments
            .iter()
            .map(|segment| part(segment))
            .collect::<Result<Vec<_>, _>>()?;
        let last = parts.len().saturating_sub(1);
        if parts[..last].contains(&Part::CatchAll) {
            return Err(format!(
                "'{text}': a catch-all parameter can only appear as the last segment"
            ));
        }
        Ok(Self { text, parts })
    }

    /// Whether the decoded path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = path.split('/').filter(|_| !path.is_empty());
        for part in &self.parts {
            match (part, segments.next()) {
                (Part::CatchAll, _) => return true,
                (Part::Parameter { optional, .. }, None) if *optional => {}
                (_, None) => return false,
                (Part::Literal(literal), Some(segment)) => {
                    if literal.to_lowercase() != segment.to_lowercase() {
                        return false;
                    }
                }
                (Part::Parameter { constraint, .. }, Some(segment)) => {
                    if segment.is_empty() || constraint.is_some_and(|constraint| !constraint.accepts(segment)) {
                        return false;
                    }
                }
            }
        }
        segments.next().is_none()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Constraint {
    fn accepts(self, segment: &str) -> bool {
        match self {
            Self::Int => segment.parse::<i32>().is_ok(),
            Self::Long => segment.parse::<i64>().is_ok(),
            Self::Bool => segment.eq_ignore_ascii_case("true") || segment.eq_ignore_ascii_case("false"),
            Self::Alpha => segment.bytes().all(|byte| byte.is_ascii_alphabetic()),
            Self::Guid => {
                let digits = segment.bytes().filter(u8::is_ascii_hexdigit).count();
                let dashes: Vec<usize> = segment.match_indices('-').map(|(at, _)| at).collect();
                digits == 32 && (segment.len() == 32 || segment.len() == 36 && dashes == [8, 13, 18, 23])
            }
        }
    }
}

fn part(segment: &str) -> Result<Part, String> {
    if !segment.contains(['{', '}']) {
        return Ok(Part::Literal(segment.to_owned()));
    }
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.filter(|inner| !inner.contains(['{', '}']));
    let inner = inner.ok_or_else(|| format!("'{segment}': only a whole segment can be a parameter here"))?;
    if inner.starts_with('*') {
        return Ok(Part::CatchAll);
    }
    let (inner, optional) = inner.strip_suffix('?').map_or((inner, false), |inner| (inner, true));
    let constraint = match inner
        .split_once(':')
        .map(|(_, name)| name.to_ascii_lowercase())
        .as_deref()
    {
        None => None,
        Some("int") => Some(Constraint::Int),
        Some("long") => Some(Constraint::Long),
        Some("bool") => Some(Constraint::Bool),
        Some("guid") => Some(Constraint::Guid),
        Some("alpha") => Some(Constraint::Alpha),
        Some(other) => return Err(format!("'{segment}': the constraint '{other}' is not imitated")),
    };
    Ok(Part::Parameter { constraint, optional })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, route: &str, path: &str, expected: bool) {
        assert_eq!(
            Template::parse(prefix, route).unwrap().matches(path),
            expected,
            "{prefix} {route} {path}"
        );
    }

    #[test]
    fn a_catch_all_matches_also_the_empty_path() {
        check("", "{*path}", "/", true);
        check("", "{*path}", "", true);
        check("", "{*path}", "/a//b/", true);
        check("api", "{*path}", "/api", true);
        check("api", "{*path}", "/other", false);
    }

    #[test]
    fn matching_ignores_case() {
        check("api", "Users", "/API/users", true);
    }

    #[test]
    fn parameters_take_one_segment() {
        check("", "users/{id}", "/users/urn:a", true);
        check("", "users/{id}", "/users", false);
        check("", "users/{id?}", "/users", true);
        check("", "users/{id}", "/users/a/b", false);
        check("", "users/{id}", "/users/a%2Fb", true);
    }

    #[test]
    fn constraints_filter() {
        check("", "users/{id:int}", "/users/12", true);
        check("", "users/{id:int}", "/users/ab", false);
        check(
            "",
            "users/{id:guid}",
            "/users/6f1c0a52-1f0f-4b0e-8a54-52b8f1c2d3e4",
            true,
        );
    }

    #[test]
    fn a_catch_all_stands_last() {
        assert!(Template::parse("", "{*a}/b").is_err());
    }
}
