//! TLS in front of the service, sound or wrong on purpose.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::{TLS12, TLS13},
};
use scimgate::doctor::{proxy::Proxy, report::Report};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn,
};
use tokio_rustls::TlsAcceptor;

use crate::{http2, plan, upstream, visit};

/// What stands behind the handshake.
#[derive(Clone, Debug)]
pub(crate) enum Inside {
    /// The service, which speaks both versions.
    Service,
    /// HTTP/1.1, whatever was agreed on.
    Text,
    /// HTTP/2, wrong in this way.
    Http2(http2::Act),
}

/// How it is wrong, or not.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) name: &'static str,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) protocols: &'static [&'static str],
    pub(crate) certified_for: &'static str,
    pub(crate) is_trusted: bool,
    pub(crate) inside: Inside,
    /// As in the other tables; nothing: it is clean.
    pub(crate) finds: &'static [&'static str],
}

static BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
static OLD: &[&SupportedProtocolVersion] = &[&TLS12];
static NEW: &[&SupportedProtocolVersion] = &[&TLS13];

pub(crate) fn fronts() -> Vec<Front> {
    let sound = Front {
        name: "sound",
        versions: BOTH,
        protocols: &["h2", "http/1.1"],
        certified_for: "localhost",
        is_trusted: true,
        inside: Inside::Service,
        finds: &[],
    };
    let inside = |name, inside, finds| Front {
        name,
        inside,
        finds,
        ..sound.clone()
    };
    let keep_alive = http2::Act::Head(b"\x88\x00\x0aconnection\x0akeep-alive".to_vec());
    vec![
        Front {
            name: "tls_alpn_none",
            protocols: &[],
            ..sound.clone()
        },
        Front {
            name: "tls_1_2_only",
            versions: OLD,
            ..sound.clone()
        },
        Front {
            name: "tls_1_3_only",
            versions: NEW,
            finds: &["tls12-missing"],
            ..sound.clone()
        },
        Front {
            name: "unknown_authority",
            is_trusted: false,
            finds: &["certificate"],
            ..sound.clone()
        },
        Front {
            name: "other_name",
            certified_for: "example.com",
            finds: &["certificate"],
            ..sound.clone()
        },
        inside(
            "tls_alpn_h2_but_h1",
            Inside::Text,
            &["http2-text", "http2-streams-lost"],
        ),
        inside(
            "h2_connection_ka",
            Inside::Http2(keep_alive),
            &["http2-malformed", "http2-streams-lost"],
        ),
        sound,
    ]
}

/// Its address, and the authority to be believed.
pub(crate) async fn serve(front: Front, service: SocketAddr) -> (SocketAddr, Vec<CertificateDer<'static>>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([front.certified_for.to_owned()]).expect("a certificate can be made");
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(front.versions).expect("they are known");
    let config = builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key);
    let mut config = config.expect("the key is the certificate's");
    config.alpn_protocols = front.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let inside = front.inside;
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inside) = (acceptor.clone(), inside.clone());
            spawn(async move {
                // A handshake that fails is what some of these are for.
                drop(connection(stream, &acceptor, &inside, service).await);
            });
        }
    });
    let authorities = if front.is_trusted {
        vec![certificate]
    } else {
        Vec::new()
    };
    (address, authorities)
}

async fn connection(stream: TcpStream, acceptor: &TlsAcceptor, inside: &Inside, service: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    match inside {
        Inside::Http2(act) if is_http2 => http2::http2(stream, act).await,
        Inside::Text if is_http2 => {
            stream.read_exact(&mut [0; 24]).await?;
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await?;
            stream.shutdown().await
        }
        _ => {
            let mut behind = TcpStream::connect(service).await?;
            behind.set_nodelay(true)?;
            io::copy_bidirectional(&mut stream, &mut behind).await.map(drop)
        }
    }
}

const CONNECT: &str =
    "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\nproxy-authorization: Basic YTpi\r\n\r\n";

/// The service behind TLS, seen through a forward proxy that answers CONNECT in this way.
pub(crate) async fn through_a_proxy(answer: &'static str, service: SocketAddr) -> Report {
    let mut fronts = fronts().into_iter();
    let sound = fronts.find(|front| front.name == "sound").expect("it is one of them");
    let (front, authorities) = serve(sound, service).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let asked = upstream::head(&mut stream).await?;
                assert_eq!(String::from_utf8_lossy(&asked.head), CONNECT);
                stream.write_all(answer.as_bytes()).await?;
                let mut behind = TcpStream::connect(front).await?;
                io::copy_bidirectional(&mut stream, &mut behind).await
            });
        }
    });
    let mut plan = plan("https://localhost", true);
    plan.authorities = authorities;
    plan.proxy = Some(Proxy {
        host: address.ip().to_string(),
        port: address.port(),
        authorization: Some("Basic YTpi".parse().expect("it is a value")),
    });
    visit(plan).await
}
