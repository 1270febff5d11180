//! Who we are to Azure: an app's managed identity, and an operator's own sign-in. Azurite that asks for tokens, and a fake of what
//! issues them, all over HTTPS with certificates of an authority that lives as long as the test. It is handed to the Tables client
//! in its options; the shipped executable, which makes those itself, finds it where a system keeps whom it trusts.
//!
//! Azurite looks at whom a token is for and when it ends, not at its signature. None of this is Azure itself.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, Transport},
};
use azure_data_tables::{Entity, QueryEntitiesOptions, TableClientOptions, TableServiceClient, TransactionAction};
use azure_identity::{
    DeveloperToolsCredential, DeveloperToolsCredentialOptions, Executor, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions,
};
use data_encoding::BASE64URL_NOPAD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a process may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);
const STORAGE: &str = "https://storage.azure.com";
/// The end of every token here, in seconds.
const END: i64 = 4_102_444_800;
/// How the SDK asks who is signed in.
const AZ_IS_ASKED: &str = "az account get-access-token -o json --scope https://storage.azure.com/.default";
const BOOTSTRAP_TOKEN: &str = "a-token-for-the-tests-of-identity";

/// Azurite behind TLS that takes tokens, and the authority that signed for it.
struct Cloud {
    folder: TempDir,
    azurite: Child,
    endpoint: String,
    tls: Arc<ServerConfig>,
}

impl Cloud {
    /// Nothing, and a line that says so, where Azurite is not.
    fn start() -> Option<Self> {
        let Some(program) = functions_test_host::process_environment().remove("AZURITE_PROGRAM") else {
            println!("skipped: AZURITE_PROGRAM is not set, so nothing signs in to tables");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let tls = certify(&folder);
        let port = free_port();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let azurite = Command::new("node")
            .args([
                &program,
                "--silent",
                "--disableTelemetry",
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
            ])
            .args([
                "--oauth",
                "basic",
                "--cert",
                &file("cert.pem"),
                "--key",
                &file("key.pem"),
            ])
            .args(["--tableHost", "127.0.0.1", "--tablePort", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "azurite did not start");
            thread::sleep(Duration::from_millis(50));
        }
        Some(Self {
            azurite,
            endpoint: format!("https://127.0.0.1:{port}/devstoreaccount1"),
            tls,
            folder,
        })
    }

    /// Whom it is to be trusted on.
    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The executable with its storage here, found by `path` only.
    fn command(&self, words: &[&str], path: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command.args(words).env_clear().envs([
            ("SCIMGATE_STORE", "tables:"),
            ("SCIMGATE_TABLES_ENDPOINT", &self.endpoint),
            ("SCIMGATE_DEADLINE", "5"),
            ("SSL_CERT_FILE", &self.authority().display().to_string()),
            ("PATH", path),
        ]);
        command
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = (self.azurite.kill(), self.azurite.wait());
    }
}

/// Writes `ca.pem`, and `cert.pem` and `key.pem` of a server on this machine that it certified.
fn certify(folder: &TempDir) -> Arc<ServerConfig> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    for (name, text) in [
        ("ca.pem", authority_cert.pem()),
        ("cert.pem", cert.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap(),
    )
}

/// What Microsoft issues looks like this, but for a signature.
fn token(audience: &str) -> String {
    let claims = json!({ "aud": audience, "iss": "https://sts.windows.net/0/", "iat": 0, "nbf": 0, "exp": END });
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!(
        "{}.{}.none",
        part(&json!({ "alg": "RS256", "typ": "JWT" })),
        part(&claims)
    )
}

/// What App Service offers an identity, and what it was asked: request line and headers, in lower case.
fn issuer(tls: &Arc<ServerConfig>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = mpsc::channel();
    let tls = Arc::clone(tls);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&tls)).unwrap(), stream);
            let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            if head.is_empty() {
                continue;
            }
            let _ = tell.send(head.join("\n").to_lowercase());
            let body = json!({ "access_token": token(STORAGE), "expires_on": END.to_string(), "resource": STORAGE, "token_type": "Bearer" });
            let body = body.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, asked)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a command line says that is asked for a token, whatever it is called.
#[derive(Debug)]
struct Tool(&'static str);

#[async_trait::async_trait]
impl Executor for Tool {
    async fn run(&self, _: &OsStr, words: &[&OsStr]) -> io::Result<Output> {
        let asked = words.last().unwrap().to_string_lossy();
        assert!(asked.ends_with(AZ_IS_ASKED), "{asked}");
        Ok(Output {
            status: ExitStatus::default(),
            stdout: signed_in(self.0).into(),
            stderr: Vec::new(),
        })
    }
}

fn developer(audience: &'static str) -> Arc<dyn TokenCredential> {
    let executor = Some(Arc::new(Tool(audience)) as Arc<dyn Executor>);
    DeveloperToolsCredential::new(Some(DeveloperToolsCredentialOptions { executor })).unwrap()
}

/// Trusts this authority, and nobody else.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this test where HTTP clients are made"
)]
fn options(authority: &Path) -> TableClientOptions {
    let _ = ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&fs::read(authority).unwrap()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([authority])
        .build()
        .unwrap();
    TableClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(client))),
            ..ClientOptions::default()
        },
        ..TableClientOptions::default()
    }
}

/// Every kind of operation, each of which Azurite refuses without a token.
async fn check_operations(endpoint: &str, credential: Arc<dyn TokenCredential>, options: TableClientOptions) {
    let client = TableServiceClient::new(endpoint, credential, Some(options)).unwrap();
    let table = client.table_client("users").unwrap();
    table.create_table().await.unwrap();
    table
        .insert_entity(Entity::new("p", "r").with("n", 1_i32))
        .await
        .unwrap();
    table
        .submit_transaction(&[TransactionAction::Insert(Entity::new("p", "s"))])
        .await
        .unwrap();
    assert_eq!(table.get_entity("p", "r").await.unwrap().row_key, "r");
    let page = table.query_page(&QueryEntitiesOptions::default()).await.unwrap();
    assert_eq!(page.entities.len(), 2);
}

#[tokio::test]
async fn the_tables_client_works_by_a_developers_sign_in() {
    let Some(cloud) = Cloud::start() else { return };
    let options = options(&cloud.authority());
    check_operations(&cloud.endpoint, developer(STORAGE), options.clone()).await;
    let other = developer("https://vault.azure.net");
    let client = TableServiceClient::new(&cloud.endpoint, other, Some(options)).unwrap();
    let error = client
        .table_client("users")
        .unwrap()
        .get_entity("p", "r")
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.code()),
        (Some(403), Some("AuthenticationFailed")),
        "{error:?}"
    );
}

/// The SDK reads in its process's environment where the issuer is: this runs itself again, in a process that was told.
#[tokio::test]
async fn the_tables_client_works_by_a_managed_identity() {
    let told = functions_test_host::process_environment();
    if let Some(authority) = told.get("TEST_AUTHORITY") {
        let options = options(Path::new(authority));
        let identity = ManagedIdentityCredentialOptions {
            client_options: options.client_options.clone(),
            ..ManagedIdentityCredentialOptions::default()
        };
        let identity = ManagedIdentityCredential::new(Some(identity)).unwrap();
        return check_operations(&told["TEST_ENDPOINT"], identity, options).await;
    }
    let Some(cloud) = Cloud::start() else { return };
    let (issuer, asked) = issuer(&cloud.tls);
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_tables_client_works_by_a_managed_identity"])
        .env_clear()
        .env("TEST_AUTHORITY", cloud.authority())
        .env("TEST_ENDPOINT", &cloud.endpoint)
        .env("IDENTITY_ENDPOINT", format!("https://{issuer}/msi/token"))
        .env("IDENTITY_HEADER", "the-header")
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(asked.try_iter().count(), 1, "one token is enough");
}

/// A process that serves.
struct Service {
    child: Child,
    port: u16,
}

impl Service {
    fn start(mut command: Command) -> Self {
        let port = free_port();
        command.env("SCIMGATE_PORT", port.to_string());
        command.envs([
            ("SCIMGATE_BOOTSTRAP_TENANT", "acme"),
            ("SCIMGATE_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let service = Self { child, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() || service.status("GET /health/ready", "") == 503 {
            assert!(Instant::now() < until, "not ready: {}", service.stop());
            thread::sleep(Duration::from_millis(20));
        }
        service
    }

    fn status(&self, method_and_target: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut request = format!("{method_and_target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        let _ = write!(
            request,
            "authorization: Bearer {BOOTSTRAP_TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].parse().unwrap()
    }

    /// What it said.
    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }
}

const USER: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"bjensen@example.com"}"#;

#[test]
fn an_app_serves_by_its_managed_identity() {
    let Some(cloud) = Cloud::start() else { return };
    let (issuer, asked) = issuer(&cloud.tls);
    let mut command = cloud.command(&["serve"], "");
    command.envs([
        ("IDENTITY_ENDPOINT", format!("https://{issuer}/msi/token").as_str()),
        ("IDENTITY_HEADER", "the-header"),
        ("AZURE_CLIENT_ID", "an-identity"),
    ]);
    let service = Service::start(command);
    assert_eq!(service.status("POST /scim/acme/Users", USER), 201);
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.len(), 1, "one token is enough: {asked:#?}");
    for part in [
        "resource=https%3a%2f%2fstorage.azure.com",
        "client_id=an-identity",
        "x-identity-header: the-header",
    ] {
        assert!(asked[0].contains(part), "{part}: {asked:#?}");
    }
    let said = service.stop();
    assert!(!said.contains(&token(STORAGE)), "{said}");
}

/// What `az` says to who is signed in.
fn signed_in(audience: &str) -> String {
    json!({ "accessToken": token(audience), "expires_on": END, "tokenType": "Bearer" }).to_string()
}

/// A path with an `az` that does this, and notes what it was asked.
fn az(cloud: &Cloud, script: &str) -> (String, PathBuf) {
    let asked = cloud.folder.path().join("asked");
    tool(cloud, "az", &format!("echo \"az $*\" >> {}\n{script}", asked.display()));
    (format!("{}:/usr/bin:/bin", cloud.folder.path().display()), asked)
}

fn tool(cloud: &Cloud, name: &str, script: &str) {
    let file = cloud.folder.path().join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The first block of a section of `docs/deploy.md`.
fn deploy_md(section: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md")).unwrap();
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap();
    section.split("```\n").nth(1).unwrap().to_owned()
}

/// The commands as they stand in docs/deploy.md, in a shell of an operator who is signed in.
#[test]
fn an_operator_makes_the_first_customer_as_deploy_md_says() {
    let Some(cloud) = Cloud::start() else { return };
    let (path, asked) = az(&cloud, &format!("echo '{}'", signed_in(STORAGE)));
    let values = format!(
        "case \"$*\" in\n'env get-value SCIMGATE_TABLES_ENDPOINT') echo {} ;;\n\
         'env get-value SCIMGATE_PUBLIC_URL') echo https://scim.example.com ;;\n*) exit 1 ;;\nesac",
        cloud.endpoint
    );
    tool(&cloud, "azd", &values);
    let executable = Path::new(env!("CARGO_BIN_EXE_scimgate"));
    let path = format!("{}:{path}", executable.parent().unwrap().display());
    let commands = deploy_md("The first customer");
    let made = Command::new("sh")
        .args(["-eu", "-c", &commands])
        .env_clear()
        .env("PATH", &path)
        .env("SSL_CERT_FILE", cloud.authority())
        .output()
        .unwrap();
    assert!(made.status.success(), "{commands}{}", text(&made));
    let said = text(&made);
    assert!(
        said.contains("  Tenant URL    https://scim.example.com/scim/acme\n"),
        "{said}"
    );
    assert!(said.contains("\n  sg_"), "{said}");
    let listed = cloud.command(&["tenant", "list", "--json"], &path).output().unwrap();
    let found: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(found[0]["name"], "acme", "{}", text(&listed));
    assert!(!text(&listed).contains(&token(STORAGE)));
    let asked = fs::read_to_string(asked).unwrap();
    assert!(
        asked.lines().count() > 1 && asked.lines().all(|line| line == AZ_IS_ASKED),
        "{asked}"
    );
}

#[test]
fn who_is_not_signed_in_is_told_what_az_says() {
    let Some(cloud) = Cloud::start() else { return };
    let (path, _) = az(&cloud, "echo \"Please run 'az login' to setup account.\" >&2; exit 1");
    let output = cloud.command(&["tenant", "list"], &path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("Please run 'az login'"), "{}", text(&output));
}

/// What everything above rests on: a server that nobody certified gets no token.
#[test]
fn a_server_of_an_unknown_authority_is_told_nothing() {
    let Some(cloud) = Cloud::start() else { return };
    let (issuer, asked) = issuer(&cloud.tls);
    let mut command = cloud.command(&["tenant", "list"], "");
    let endpoint = format!("https://{issuer}/msi/token");
    let command = command
        .env_remove("SSL_CERT_FILE")
        .envs([("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", "h")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(asked.try_iter().count(), 0);
}
