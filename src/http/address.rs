//! What a URL's path means. No credential is known yet, so nothing here depends on which tenants there are.

use std::{fmt, str::FromStr};

use crate::scim::{
    error::{Error as Refused, Rule},
    resource::is_nobodys_name,
};

/// Where tenants' endpoints stand: `/scim/{tenant}`, or an earlier endpoint's place. An optional `/v2` may follow. `{any}` is
/// what an earlier endpoint calls a tenant when that is no name here; `/` is the root of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Tenant,
    Any,
}

impl BasePath {
    /// `/scim/{tenant}`, always there.
    pub fn standard() -> Self {
        Self(vec![Part::Literal("scim".to_owned()), Part::Tenant])
    }

    /// How many of the path's segments this stands for, and the tenant among them.
    fn strip<'a>(&self, segments: &'a [String]) -> Option<(usize, Option<&'a str>)> {
        let mut tenant = None;
        if self.0.is_empty() && !segments.first().is_some_and(|first| is_endpoint(first)) {
            return None;
        }
        for (part, segment) in self.0.iter().zip(segments) {
            match part {
                Part::Tenant | Part::Any if is_endpoint(segment) => return None,
                Part::Any if is_name(segment) => {}
                Part::Tenant => tenant = Some(segment.as_str()),
                Part::Literal(literal) if literal == segment => {}
                Part::Literal(_) | Part::Any => return None,
            }
        }
        (segments.len() >= self.0.len()).then_some((self.0.len(), tenant))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Literal(literal) => write!(f, "/{literal}")?,
                Part::Tenant => f.write_str("/{tenant}")?,
                Part::Any => f.write_str("/{any}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for BasePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |segment: &str| match segment {
            "{tenant}" => Ok(Part::Tenant),
            "{any}" => Ok(Part::Any),
            _ if segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) =>
            {
                Ok(Part::Literal(segment.to_owned()))
            }
            _ => Err(format!("'{segment}' is neither plain text nor {{tenant}} nor {{any}}")),
        };
        let parts: Vec<Part> = text
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(part)
            .collect::<Result<_, _>>()?;
        if !text.starts_with('/') {
            return Err("a base path looks like /api/scim or /api/{tenant}/scim".to_owned());
        }
        if parts.iter().filter(|part| **part == Part::Tenant).count() > 1 {
            return Err("{tenant} may stand in a base path once".to_owned());
        }
        if matches!(parts.first(), Some(Part::Literal(first)) if first == "manage" || first == "admin") {
            return Err("/manage and /admin are taken".to_owned());
        }
        Ok(Self(parts))
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `/`: the Functions host asks here whether the process is there.
    Root,
    /// `/health/live`: the process is there.
    Live,
    /// `/health/ready`: the store answers too.
    Ready,
    /// Something below a Tenant URL.
    Scim {
        /// The path up to the endpoint, as the client spelled it; locations are built on it.
        base: String,
        /// The same with what varies left out.
        pattern: String,
        /// The tenant's name, unless the base path has none.
        tenant: Option<String>,
        /// What follows.
        endpoint: Endpoint,
    },
}

/// What follows behind a Tenant URL (RFC 7644 §3.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    TenantUrl,
    ServiceProviderConfig,
    ResourceTypes,
    ResourceType(String),
    Schemas,
    Schema(String),
    /// The resources of a type, by the type's endpoint, such as `Users`.
    Resources(String),
    /// One of them.
    Resource(String, String),
    /// Many writes in one request.
    Bulk,
    /// Whoever the credential stands for.
    Me,
    /// `.search`: queries by POST, of resources of one type or of all.
    Search(Option<String>),
    /// Anything else.
    Unknown,
}

/// First segments behind a Tenant URL; where a tenant's name should stand they mean that it was left out.
const ENDPOINTS: &[&str] = &[
    "Users",
    "Groups",
    "Schemas",
    "ResourceTypes",
    "ServiceProviderConfig",
    "Bulk",
    "Me",
    ".search",
    "v2",
];

fn is_endpoint(segment: &str) -> bool {
    ENDPOINTS.contains(&segment)
}

/// A path as it may stand in lines and rows: its ids and whatever else may be a person's name are shown only where they are
/// plainly none. Imported ids may be addresses, and some clients put a `userName` where an id should be.
pub(super) fn shown(path: &str, bases: &[BasePath]) -> String {
    let segments = segments(path);
    let base = bases
        .iter()
        .filter_map(|base| base.strip(&segments))
        .map(|(length, _)| length)
        .max();
    let endpoint = segments.iter().position(|segment| is_endpoint(segment));
    let base = base.or(endpoint).unwrap_or(segments.len());
    let mut shown = String::new();
    for (number, segment) in segments.iter().enumerate() {
        let is_own = is_endpoint(segment)
            || if number < base {
                is_name(segment)
            } else {
                is_nobodys_name(segment) || is_urn(segment)
            };
        shown.push('/');
        shown.push_str(if is_own { segment } else { "{id}" });
    }
    if shown.is_empty() { "/".to_owned() } else { shown }
}

/// What may stand in a base path.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// A schema's.
fn is_urn(text: &str) -> bool {
    let rest = text.strip_prefix("urn:ietf:params:scim:schemas:");
    rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)))
}

/// Empty segments come from a Tenant URL with a slash at its end.
fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(decode)
        .collect()
}

impl Address {
    /// Reads a path; `bases` in addition to the standard one.
    pub(super) fn parse(path: &str, bases: &[BasePath]) -> Result<Self, Refused> {
        let segments = segments(path);
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => return Ok(Self::Root),
            ["health", "live"] => return Ok(Self::Live),
            ["health", "ready"] => return Ok(Self::Ready),
            _ => {}
        }
        let longest = bases
            .iter()
            .filter_map(|base| base.strip(&segments).map(|found| (found, base)))
            .max_by_key(|((length, _), _)| *length);
        let Some(((mut length, tenant), base)) = longest else {
            let in_scim = segments
                .first()
                .is_some_and(|first| first == "scim" || is_endpoint(first));
            let rule = if in_scim {
                Rule::NoTenantInPath
            } else {
                Rule::UnknownEndpoint
            };
            let expected = "https://<host>/scim/<tenant>";
            return Err(if in_scim {
                rule.error().with("expected", expected)
            } else {
                rule.error()
            });
        };
        let mut pattern = base.to_string();
        if segments.get(length).is_some_and(|segment| segment == "v2") {
            length += 1;
            pattern.push_str("/v2");
        }
        let endpoint = Endpoint::parse(&segments[length..])?;
        Ok(Self::Scim {
            base: segments[..length]
                .iter()
                .fold(String::new(), |base, segment| base + "/" + segment),
            pattern,
            tenant: tenant.map(str::to_owned),
            endpoint,
        })
    }
}

impl Address {
    /// The path with what varies left out: few enough to be told apart in a chart.
    pub(super) fn route(&self) -> String {
        match self {
            Self::Root => "/".to_owned(),
            Self::Live => "/health/live".to_owned(),
            Self::Ready => "/health/ready".to_owned(),
            Self::Scim { pattern, endpoint, .. } => format!("{pattern}{}", endpoint.route()),
        }
    }
}

impl Endpoint {
    /// What of [`Address::route`] is behind the base path.
    fn route(&self) -> String {
        let known = |name: &str| {
            if matches!(name, "Users" | "Groups") {
                name.to_owned()
            } else {
                "{endpoint}".to_owned()
            }
        };
        match self {
            Self::TenantUrl => String::new(),
            Self::ServiceProviderConfig => "/ServiceProviderConfig".to_owned(),
            Self::ResourceTypes => "/ResourceTypes".to_owned(),
            Self::ResourceType(_) => "/ResourceTypes/{name}".to_owned(),
            Self::Schemas => "/Schemas".to_owned(),
            Self::Schema(_) => "/Schemas/{urn}".to_owned(),
            Self::Resources(name) => format!("/{}", known(name)),
            Self::Resource(name, _) => format!("/{}/{{id}}", known(name)),
            Self::Bulk => "/Bulk".to_owned(),
            Self::Me => "/Me".to_owned(),
            Self::Search(None) => "/.search".to_owned(),
            Self::Search(Some(name)) => format!("/{}/.search", known(name)),
            Self::Unknown => "/{endpoint}".to_owned(),
        }
    }

    fn parse(segments: &[String]) -> Result<Self, Refused> {
        Ok(
            match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => Self::TenantUrl,
                ["ServiceProviderConfig"] => Self::ServiceProviderConfig,
                ["ResourceTypes"] => Self::ResourceTypes,
                ["ResourceTypes", name] => Self::ResourceType((*name).to_owned()),
                ["Schemas"] => Self::Schemas,
                ["Schemas", urn] => Self::Schema((*urn).to_owned()),
                ["Bulk"] => Self::Bulk,
                ["Me"] => Self::Me,
                [".search"] => Self::Search(None),
                [endpoint, ".search"] => Self::Search(Some((*endpoint).to_owned())),
                ["Users" | "Groups", twice, ..] if is_endpoint(twice) => {
                    return Err(Rule::TenantUrlHasResource.at(format!("/{}", segments[0])));
                }
                [endpoint] => Self::Resources((*endpoint).to_owned()),
                [endpoint, id] => Self::Resource((*endpoint).to_owned(), (*id).to_owned()),
                _ => Self::Unknown,
            },
        )
    }
}

/// Undoes percent-encoding once; what is none stays as it is.
fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}

/// A host name or address, with or without a port (RFC 3986 §3.2.2, without what no DNS name has).
pub fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let literal = |inner: &str| inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => !inner.is_empty() && literal(inner),
        None => !host.is_empty() && host.bytes().all(name),
    };
    text.len() <= 255 && port_fits && host_fits
}

#[cfg(test)]
mod tests {
    use super::{Address, BasePath, Endpoint, is_host, shown};
    use crate::scim::error::Rule;

    fn bases() -> Vec<BasePath> {
        let earlier =
            ["/api/scim", "/api/{tenant}/scim/v2", "/tenants/{any}/scim", "/"].map(|text| text.parse().unwrap());
        std::iter::once(BasePath::standard()).chain(earlier).collect()
    }

    #[track_caller]
    fn check_shown(path: &str, path_shown: &str, route: Option<&str>) {
        assert_eq!(shown(path, &bases()), path_shown);
        let address = Address::parse(path, &bases()).ok();
        assert_eq!(address.map(|address| address.route()).as_deref(), route, "{path}");
    }

    #[test]
    fn what_may_be_a_persons_name_is_shown_nowhere() {
        check_shown("/", "/", Some("/"));
        check_shown("/scim/acme/Users", "/scim/acme/Users", Some("/scim/{tenant}/Users"));
        for (id, is_shown) in [
            ("0198a1f2-7c1e-7d4b-9a3e-6f1f0f3c2b1a", true),
            ("5f2c1e9a7b3d4c6e8f0a1b2c", true),
            ("4711", true),
            ("bjensen", false),
            ("bjensen@example.com", false),
            ("bjensen%40example.com", false),
            ("abba", false),
            ("j-smith2", false),
        ] {
            let expected = format!("/scim/acme/Users/{}", if is_shown { id } else { "{id}" });
            check_shown(
                &format!("/scim/acme/Users/{id}"),
                &expected,
                Some("/scim/{tenant}/Users/{id}"),
            );
        }
        check_shown(
            "/scim/acme/Devices/bjensen",
            "/scim/acme/{id}/{id}",
            Some("/scim/{tenant}/{endpoint}/{id}"),
        );
        check_shown("/scim/a@b/Users", "/scim/{id}/Users", Some("/scim/{tenant}/Users"));
        check_shown(
            "/api/acme/scim/v2/Groups/.search",
            "/api/acme/scim/v2/Groups/.search",
            Some("/api/{tenant}/scim/v2/Groups/.search"),
        );
        let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
        check_shown(
            &format!("/scim/a/Schemas/{urn}"),
            &format!("/scim/a/Schemas/{urn}"),
            Some("/scim/{tenant}/Schemas/{urn}"),
        );
        check_shown(
            "/tenants/4711/scim/Users",
            "/tenants/4711/scim/Users",
            Some("/tenants/{any}/scim/Users"),
        );
        check_shown("/Users/bjensen", "/Users/{id}", Some("/Users/{id}"));
        check_shown("/v1/Users/bjensen", "/v1/Users/{id}", None);
        check_shown("/wp-login.php", "/wp-login.php", None);
    }

    #[track_caller]
    fn check(path: &str, base: &str, tenant: Option<&str>, endpoint: Endpoint) {
        let Address::Scim {
            base: found,
            tenant: named,
            endpoint: of,
            ..
        } = Address::parse(path, &bases()).unwrap()
        else {
            panic!("{path} is nobody's")
        };
        assert_eq!(
            (found.as_str(), named.as_deref(), of),
            (base, tenant, endpoint),
            "{path}"
        );
    }

    #[track_caller]
    fn check_refused(path: &str, rule: Rule) {
        assert_eq!(Address::parse(path, &bases()).unwrap_err().rule(), rule, "{path}");
    }

    #[test]
    fn a_path_names_tenant_and_endpoint() {
        let users = || Endpoint::Resources("Users".to_owned());
        let user = |id: &str| Endpoint::Resource("Users".to_owned(), id.to_owned());
        check("/scim/acme", "/scim/acme", Some("acme"), Endpoint::TenantUrl);
        check("/scim/acme/", "/scim/acme", Some("acme"), Endpoint::TenantUrl);
        check("/scim/acme/Users", "/scim/acme", Some("acme"), users());
        check("/scim/acme//Users/", "/scim/acme", Some("acme"), users());
        check("/scim/acme/v2/Users", "/scim/acme/v2", Some("acme"), users());
        check("/scim/ACME/Users/1", "/scim/ACME", Some("ACME"), user("1"));
        check("/scim/acme/Users/a%40b%2Bc", "/scim/acme", Some("acme"), user("a@b+c"));
        check("/scim/acme/Me", "/scim/acme", Some("acme"), Endpoint::Me);
        check("/scim/acme/v2/Bulk/", "/scim/acme/v2", Some("acme"), Endpoint::Bulk);
        let search = |of: Option<&str>| Endpoint::Search(of.map(str::to_owned));
        check("/scim/acme/.search", "/scim/acme", Some("acme"), search(None));
        check("/scim/acme/v2/.search/", "/scim/acme/v2", Some("acme"), search(None));
        check(
            "/scim/acme/Users/.search",
            "/scim/acme",
            Some("acme"),
            search(Some("Users")),
        );
        check("/scim/acme/Users/1/2", "/scim/acme", Some("acme"), Endpoint::Unknown);
        let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
        check(
            &format!("/scim/acme/Schemas/{urn}"),
            "/scim/acme",
            Some("acme"),
            Endpoint::Schema(urn.to_owned()),
        );
    }

    /// design §2: an earlier endpoint's places; without `{tenant}` the credential names the tenant.
    #[test]
    fn earlier_base_paths_keep_working() {
        let users = || Endpoint::Resources("Users".to_owned());
        check("/api/scim/Users", "/api/scim", None, users());
        check("/api/scim/v2/Users", "/api/scim/v2", None, users());
        check("/api/acme/scim/v2/Users", "/api/acme/scim/v2", Some("acme"), users());
        check(
            "/tenants/Acme_Inc./scim/Users",
            "/tenants/Acme_Inc./scim",
            None,
            users(),
        );
        check_refused("/tenants/a%20b/scim/Users", Rule::UnknownEndpoint);
        check("/tenants/7/scim/v2/Users", "/tenants/7/scim/v2", None, users());
        check("/Users", "", None, users());
        check("/v2/Users", "/v2", None, users());
        check("/v2", "/v2", None, Endpoint::TenantUrl);
        check_refused("/tenants/Users/scim/Users", Rule::UnknownEndpoint);
        check_refused("/api/acme/Users", Rule::UnknownEndpoint);
    }

    #[test]
    fn what_was_pasted_wrongly_is_told_what_to_paste() {
        check_refused("/scim/Users", Rule::NoTenantInPath);
        check_refused("/scim", Rule::NoTenantInPath);
        let standard = [BasePath::standard()];
        let refused = Address::parse("/Users", &standard).unwrap_err();
        assert_eq!(refused.rule(), Rule::NoTenantInPath);
        check_refused("/scim/v2/Users", Rule::NoTenantInPath);
        check_refused("/scim/acme/Users/Users", Rule::TenantUrlHasResource);
        check_refused("/scim/acme/Users/Schemas", Rule::TenantUrlHasResource);
        check_refused("/favicon.ico", Rule::UnknownEndpoint);
    }

    #[test]
    fn a_base_path_is_plain_text_and_one_tenant() {
        for (text, valid) in [
            ("/api/scim", true),
            ("/api/{tenant}/scim/v2", true),
            ("api/scim", false),
            ("/", true),
            ("/api/{any}/scim", true),
            ("", false),
            ("/{tenant}/{tenant}", false),
            ("/a b", false),
            ("/{other}", false),
            ("/admin/scim", false),
            ("/manage", false),
        ] {
            assert_eq!(text.parse::<BasePath>().is_ok(), valid, "{text}");
        }
    }

    /// RFC 3986 §3.2.2, without what no DNS name has.
    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (text, valid) in [
            ("example.com", true),
            ("localhost:8080", true),
            ("xn--bcher-kva.example", true),
            ("10.0.0.1:1", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("", false),
            (":80", false),
            ("a b", false),
            ("a/b", false),
            ("a@b", false),
            ("a?b", false),
            ("a\"b", false),
            ("<script>", false),
            ("example.com:99999", false),
            ("example.com:", false),
            ("::1", false),
            ("[]", false),
            ("[x]", false),
        ] {
            assert_eq!(is_host(text), valid, "{text}");
        }
        assert!(!is_host(&"a".repeat(256)));
    }
}
