//! Where the endpoint is.

use url::{Url, form_urlencoded};

/// What people copy along with a Tenant URL.
const ENDPOINTS: [&str; 6] = [
    "/Users",
    "/Groups",
    "/Schemas",
    "/ResourceTypes",
    "/ServiceProviderConfig",
    "/Bulk",
];

/// A Tenant URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub is_https: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Name and, where it is not the usual one, port.
    pub authority: String,
    base: String,
    query: String,
}

impl Endpoint {
    /// Takes a Tenant URL as it stands in Entra; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("the Tenant URL is no URL: {error}"))?;
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(format!("the Tenant URL begins with {other}:, not with https: or http:")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the Tenant URL has a user name or a password in it; give the token with --token".to_owned());
        }
        let host = url.host_str().ok_or("the Tenant URL names no host")?;
        let port = url.port_or_known_default().ok_or("the Tenant URL has no port")?;
        Ok(Self {
            is_https,
            authority: url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            base: url.path().trim_end_matches('/').to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
        })
    }

    /// The target of a request for a path below the Tenant URL. What stands behind its `?` (Entra's feature flags) goes along.
    pub fn target(&self, path: &str) -> String {
        let joined = format!("{}{path}", self.base);
        match (self.query.is_empty(), path.contains('?')) {
            (true, _) => joined,
            (false, true) => format!("{joined}&{}", self.query),
            (false, false) => format!("{joined}?{}", self.query),
        }
    }

    /// The Tenant URL, without what its query may hold: an access key, for example.
    pub fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let name = |part: &str| match part.split_once('=') {
            Some((name, _)) => format!("{name}=…"),
            None => part.to_owned(),
        };
        let names: Vec<_> = self
            .query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(name)
            .collect();
        let query = if names.is_empty() {
            String::new()
        } else {
            format!("?{}", names.join("&"))
        };
        format!("{scheme}://{}{}{query}", self.authority, self.base)
    }

    /// The Tenant URL that is meant where this one ends with the name of an endpoint, which every client adds by itself.
    pub fn without_endpoint(&self) -> Option<Self> {
        let base = ENDPOINTS.iter().find_map(|name| self.base.strip_suffix(name))?;
        Some(Self {
            base: base.to_owned(),
            ..self.clone()
        })
    }

    /// The same port without TLS.
    #[must_use]
    pub fn without_tls(&self) -> Self {
        let port = format!(":{}", self.port);
        let name = self.authority.strip_suffix(&port).unwrap_or(&self.authority);
        Self {
            is_https: false,
            authority: format!("{name}{port}"),
            ..self.clone()
        }
    }

    /// What its query holds, as it is sent and as it is read: perhaps access keys.
    pub fn values(&self) -> Vec<String> {
        let sent = self.query.split('&').filter_map(|part| part.split_once('='));
        let sent = sent.map(|(_, value)| value.to_owned());
        let read = form_urlencoded::parse(self.query.as_bytes());
        sent.chain(read.map(|(_, value)| value.into_owned())).collect()
    }

    /// Whether it is this machine, so that no front end can stand between.
    pub fn is_local(&self) -> bool {
        let address = self.host.parse().map(|address: std::net::IpAddr| address.is_loopback());
        address.unwrap_or(self.host == "localhost")
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[track_caller]
    fn check(url: &str, path: &str, host: &str, port: u16, target: &str) {
        let endpoint = Endpoint::parse(url).unwrap();
        let seen = (endpoint.host.as_str(), endpoint.port, endpoint.target(path));
        assert_eq!(seen, (host, port, target.to_owned()));
    }

    #[test]
    fn a_tenant_url_is_taken_as_people_paste_it() {
        check(
            "https://example.com/scim/acme",
            "/Users",
            "example.com",
            443,
            "/scim/acme/Users",
        );
        check(
            " https://example.com/scim/acme/\n",
            "/Users",
            "example.com",
            443,
            "/scim/acme/Users",
        );
        check("http://127.0.0.1:8080", "/Users?a=b", "127.0.0.1", 8080, "/Users?a=b");
        check("http://[::1]:8080/", "/Users", "::1", 8080, "/Users");
    }

    /// Entra's aadOptscim062020: the flag stands behind the path.
    #[test]
    fn a_feature_flag_stays_in_the_query() {
        let flagged = "https://example.com/scim/?aadOptscim062020";
        check(flagged, "/Users", "example.com", 443, "/scim/Users?aadOptscim062020");
        check(
            flagged,
            "/Users?count=1",
            "example.com",
            443,
            "/scim/Users?count=1&aadOptscim062020",
        );
    }

    #[test]
    fn a_key_in_the_query_is_sent_and_not_shown() {
        let endpoint = Endpoint::parse("https://example.com/scim?code=secret&aadOptscim062020").unwrap();
        assert_eq!(endpoint.url(), "https://example.com/scim?code=…&aadOptscim062020");
        assert_eq!(endpoint.target("/Users"), "/scim/Users?code=secret&aadOptscim062020");
        assert_eq!(endpoint.values(), ["secret", "secret", ""]);
    }

    #[test]
    fn what_is_meant_is_told() {
        let meant = |url: &str| Endpoint::parse(url).unwrap().without_endpoint();
        let url = meant("https://example.com/scim/acme/Users/?code=secret").map(|meant| meant.url());
        assert_eq!(url.as_deref(), Some("https://example.com/scim/acme?code=…"));
        assert_eq!(meant("https://example.com/scim/users"), None, "a tenant's name");
        let plain = |url: &str| Endpoint::parse(url).unwrap().without_tls().url();
        assert_eq!(plain("https://example.com/scim"), "http://example.com:443/scim");
        assert_eq!(plain("https://[::1]:8443/scim"), "http://[::1]:8443/scim");
    }

    #[test]
    fn what_is_no_tenant_url_is_refused() {
        for url in [
            "example.com/scim",
            "ftp://example.com",
            "https://bjensen:secret@example.com/scim",
        ] {
            let refusal = Endpoint::parse(url).unwrap_err();
            assert!(
                refusal.starts_with("the Tenant URL") && !refusal.contains("secret"),
                "{refusal}"
            );
        }
    }
}
