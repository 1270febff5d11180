//! Storage connection strings, as the portal, the Functions host and Azurite spell them.

use azure_core::{credentials::Secret, http::Url};

use crate::{
    auth::SharedKeyCredential,
    error::{Error, Result},
};

/// The emulator's public account name and key.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_TABLE_PORT: u16 = 10002;
/// Where Azure's public cloud is.
const DEFAULT_SUFFIX: &str = "core.windows.net";

/// What a connection string says about tables.
#[derive(Debug)]
pub(crate) struct ConnectionString {
    pub(crate) endpoint: Url,
    pub(crate) access: Access,
}

/// How the caller may come in.
#[derive(Debug)]
pub(crate) enum Access {
    SharedKey(SharedKeyCredential),
    Sas(Secret),
}

/// The settings that matter for tables; others (blobs, queues) are passed over.
#[derive(Default)]
struct Settings<'a> {
    account_key: Option<&'a str>,
    account_name: Option<&'a str>,
    default_endpoints_protocol: Option<&'a str>,
    development_storage_proxy_uri: Option<&'a str>,
    endpoint_suffix: Option<&'a str>,
    shared_access_signature: Option<&'a str>,
    table_endpoint: Option<&'a str>,
    use_development_storage: Option<&'a str>,
}

impl ConnectionString {
    /// Errors name the setting that is wrong, never its value.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let settings = Settings::parse(text)?;
        if let Some(value) = settings.use_development_storage {
            if value.eq_ignore_ascii_case("true") {
                return settings.emulator();
            }
            return Err(malformed("UseDevelopmentStorage can only be true"));
        }
        Ok(Self {
            endpoint: settings.endpoint()?,
            access: settings.access()?,
        })
    }
}

impl<'a> Settings<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let mut settings = Self::default();
        for (number, part) in (1..).zip(text.split(';')) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let Some((name, value)) = part.split_once('=') else {
                return Err(malformed(&format!("part {number} is not of the form Name=value")));
            };
            let (name, field) = match name.trim().to_ascii_lowercase().as_str() {
                "accountkey" => ("AccountKey", &mut settings.account_key),
                "accountname" => ("AccountName", &mut settings.account_name),
                "defaultendpointsprotocol" => ("DefaultEndpointsProtocol", &mut settings.default_endpoints_protocol),
                "developmentstorageproxyuri" => (
                    "DevelopmentStorageProxyUri",
                    &mut settings.development_storage_proxy_uri,
                ),
                "endpointsuffix" => ("EndpointSuffix", &mut settings.endpoint_suffix),
                "sharedaccesssignature" => ("SharedAccessSignature", &mut settings.shared_access_signature),
                "tableendpoint" => ("TableEndpoint", &mut settings.table_endpoint),
                "usedevelopmentstorage" => ("UseDevelopmentStorage", &mut settings.use_development_storage),
                _ => continue,
            };
            if field.replace(value.trim()).is_some() {
                return Err(malformed(&format!("{name} is there twice")));
            }
        }
        Ok(settings)
    }

    fn emulator(&self) -> Result<ConnectionString> {
        let host = self.development_storage_proxy_uri.unwrap_or("http://127.0.0.1");
        let mut endpoint = parse_endpoint(host).map_err(|_| malformed("DevelopmentStorageProxyUri is not a URL"))?;
        // A port in the proxy URI would be the blob service's; the emulator's table service has its own.
        endpoint
            .set_port(Some(EMULATOR_TABLE_PORT))
            .expect("an http URL has a port");
        endpoint.set_path(EMULATOR_ACCOUNT);
        Ok(ConnectionString {
            endpoint,
            access: Access::SharedKey(SharedKeyCredential::new(EMULATOR_ACCOUNT, EMULATOR_KEY)?),
        })
    }

    fn endpoint(&self) -> Result<Url> {
        if let Some(endpoint) = self.table_endpoint {
            return parse_endpoint(endpoint).map_err(|_| malformed("TableEndpoint is not an http or https URL"));
        }
        let Some(account) = self.account_name else {
            return Err(malformed("neither TableEndpoint nor AccountName is there"));
        };
        let protocol = self.default_endpoints_protocol.unwrap_or("https");
        if !["http", "https"]
            .iter()
            .any(|known| protocol.eq_ignore_ascii_case(known))
        {
            return Err(malformed("DefaultEndpointsProtocol is neither http nor https"));
        }
        let suffix = self.endpoint_suffix.unwrap_or(DEFAULT_SUFFIX);
        parse_endpoint(&format!("{protocol}://{account}.table.{suffix}"))
            .map_err(|_| malformed("AccountName and EndpointSuffix do not make a host name"))
    }

    fn access(&self) -> Result<Access> {
        if let Some(signature) = self.shared_access_signature {
            let signature = signature.trim_start_matches('?');
            if signature.is_empty() || !signature.contains("sig=") {
                return Err(malformed("SharedAccessSignature has no sig"));
            }
            return Ok(Access::Sas(Secret::new(signature.to_owned())));
        }
        match (self.account_name, self.account_key) {
            (Some(name), Some(key)) => SharedKeyCredential::new(name, key)
                .map(Access::SharedKey)
                .map_err(|_| malformed("AccountName is no account's name, or AccountKey is not base64")),
            (None, Some(_)) => Err(malformed("AccountKey is there, but not AccountName")),
            (_, None) => Err(malformed("neither AccountKey nor SharedAccessSignature is there")),
        }
    }
}

/// An `http` or `https` URL of a table service, without query, fragment and user.
pub(crate) fn parse_endpoint(text: &str) -> Result<Url> {
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    match Url::parse(text) {
        Ok(url) if usable(&url) => Ok(url),
        _ => Err(Error::invalid("the endpoint is not an http or https URL without query")),
    }
}

fn malformed(what: &str) -> Error {
    Error::invalid(format!("malformed storage connection string: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0";

    #[track_caller]
    fn check(text: &str, endpoint: &str, access: &str) {
        let parsed = ConnectionString::parse(text).unwrap();
        assert_eq!(parsed.endpoint.as_str(), endpoint);
        assert_eq!(format!("{:?}", parsed.access), access);
    }

    #[test]
    fn every_documented_form_is_read() {
        check(
            &format!(
                "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY};EndpointSuffix=core.windows.net"
            ),
            "https://acct.table.core.windows.net/",
            "SharedKey(SharedKeyCredential { account: \"acct\", .. })",
        );
        check(
            &format!(" accountname=acct ;; ACCOUNTKEY={KEY};EndpointSuffix=core.chinacloudapi.cn;"),
            "https://acct.table.core.chinacloudapi.cn/",
            "SharedKey(SharedKeyCredential { account: \"acct\", .. })",
        );
        check(
            &format!(
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};\
                 BlobEndpoint=http://azurite:10000/devstoreaccount1;\
                 TableEndpoint=http://azurite:10002/devstoreaccount1;"
            ),
            "http://azurite:10002/devstoreaccount1",
            "SharedKey(SharedKeyCredential { account: \"devstoreaccount1\", .. })",
        );
        check(
            "TableEndpoint=https://acct.table.core.windows.net/;SharedAccessSignature=sv=2020-08-04&sig=c2VjcmV0%3D",
            "https://acct.table.core.windows.net/",
            "Sas(Secret)",
        );
    }

    #[test]
    fn the_emulator_has_a_short_form() {
        let access = "SharedKey(SharedKeyCredential { account: \"devstoreaccount1\", .. })";
        check(
            "UseDevelopmentStorage=true",
            "http://127.0.0.1:10002/devstoreaccount1",
            access,
        );
        check(
            "UseDevelopmentStorage=True;DevelopmentStorageProxyUri=http://azurite:10000/",
            "http://azurite:10002/devstoreaccount1",
            access,
        );
    }

    #[test]
    fn a_malformed_one_is_named_without_its_secrets() {
        for (text, expected) in [
            ("", "neither TableEndpoint nor AccountName is there"),
            ("s3cret", "part 1 is not of the form Name=value"),
            ("AccountName=acct;s3cret", "part 2 is not of the form Name=value"),
            (
                "AccountName=acct",
                "neither AccountKey nor SharedAccessSignature is there",
            ),
            ("AccountName=acct;AccountKey=s3cret!", "AccountKey is not base64"),
            ("AccountName=acct;AccountKey=", "AccountKey is not base64"),
            ("AccountName=acct;AccountName=s3cret", "AccountName is there twice"),
            (
                "AccountKey=c2VjcmV0;TableEndpoint=http://h/",
                "AccountKey is there, but not AccountName",
            ),
            ("AccountKey=s3cret", "neither TableEndpoint nor AccountName is there"),
            ("AccountName=a b;AccountKey=s3cret", "do not make a host name"),
            (
                "AccountName=acct;DefaultEndpointsProtocol=ftp;AccountKey=s3cret",
                "neither http nor https",
            ),
            (
                "TableEndpoint=s3cret;AccountName=a;AccountKey=s3cret",
                "TableEndpoint is not an http or https URL",
            ),
            (
                "TableEndpoint=http://h/?sig=s3cret;SharedAccessSignature=s3cret",
                "TableEndpoint is not",
            ),
            (
                "TableEndpoint=http://h/;SharedAccessSignature=s3cret",
                "SharedAccessSignature has no sig",
            ),
            ("UseDevelopmentStorage=s3cret", "UseDevelopmentStorage can only be true"),
            (
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=s3cret",
                "DevelopmentStorageProxyUri is not a URL",
            ),
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
