//! TLS, in the versions and with the protocols that are to be tried.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::fault::{Fault, Flaw};

/// What is offered to speak inside of TLS (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    Nothing,
    Http1,
    Http2,
}

impl Alpn {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Http1, Self::Http2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no ALPN",
            Self::Http1 => "ALPN http/1.1",
            Self::Http2 => "ALPN h2",
        }
    }

    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
        }
    }
}

/// Which versions are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
    Any,
}

impl Version {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
            Self::Any => "TLS",
        }
    }

    fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12_ONLY: &[&SupportedProtocolVersion] = &[&TLS12];
        static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&TLS13];
        static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        match self {
            Self::Tls12 => TLS12_ONLY,
            Self::Tls13 => TLS13_ONLY,
            Self::Any => BOTH,
        }
    }
}

/// Whom to believe.
#[derive(Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
}

impl Trust {
    /// The system's authorities, and these.
    pub(super) fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = if authorities.is_empty() {
            Verifier::new(Arc::clone(&provider))?
        } else {
            Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?
        };
        Ok(Self {
            provider,
            verifier: Arc::new(verifier),
        })
    }

    /// Speaks TLS on a connection.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        version: Version,
        alpn: Alpn,
    ) -> Result<TlsStream<TcpStream>, Flaw> {
        let offer = format!("{}, {}", version.name(), alpn.name());
        let failed = |error: &dyn std::fmt::Display| Flaw::new(Fault::Handshake, format!("{offer}: {error}"), b"");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder
            .with_protocol_versions(version.offered())
            .map_err(|error| failed(&error))?;
        // The system's own verifier, which rustls knows nothing of.
        let builder = builder.dangerous();
        let builder = builder.with_custom_certificate_verifier(Arc::<Verifier>::clone(&self.verifier));
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = alpn.protocols();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connecting.await.map_err(|error| flaw(&offer, &error))
    }
}

fn flaw(offer: &str, error: &io::Error) -> Flaw {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let fault = match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Certificate,
        _ => Fault::Handshake,
    };
    Flaw::new(fault, format!("{offer}: {error}"), b"")
}
