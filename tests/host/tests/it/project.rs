//! The project's own host.json, function.json and local.settings.json.

use std::path::Path;

use functions_test_host::{Mode, Options};

use crate::support::Fixture;

fn project() -> Fixture {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut fixture = Fixture::bare();
    fixture.options.root = root.canonicalize().unwrap();
    fixture.job_host(
        "customHandler__description__defaultExecutablePath",
        env!("CARGO_BIN_EXE_echo_handler"),
    )
}

#[tokio::test]
async fn it_is_a_catch_all_for_the_methods_of_scim() {
    let running = project().start().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for target in ["/", "/health/live", "/scim/contoso/Users/1"] {
            let echo = running.echo(format!("{method} {target}").as_str()).await;
            assert_eq!(echo.text("target"), target);
        }
    }
    running.send("TRACE /scim/contoso/Users").await.assert_bare(404);
}

#[tokio::test]
async fn it_is_proxied_and_can_be_forwarded() {
    let mut fixture = project();
    assert!(!fixture_echo(&fixture.options).await.is_empty());
    fixture.options.mode = Some(Mode::Forward);
    assert!(fixture_echo(&fixture.options).await.is_empty());
}

/// The `X-Forwarded-Host` that the handler gets: only a proxied request has one.
async fn fixture_echo(options: &Options) -> Vec<String> {
    let mut fixture = Fixture::bare();
    fixture.options = options.clone();
    let running = fixture.start().await;
    running
        .echo("GET /x")
        .await
        .headers("x-forwarded-host")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn local_settings_choose_the_worker_and_a_store() {
    let environment = project().start().await.echo("GET /x").await.environment();
    assert_eq!(environment["FUNCTIONS_WORKER_RUNTIME"], "custom");
    assert_eq!(environment["SCIMGATE_STORE"], "sqlite:./scimgate.db");
}

#[tokio::test]
async fn the_shipped_executable_is_scimgate_in_the_package_root() {
    let file = std::fs::read_to_string(project().options.root.join("host.json")).unwrap();
    let host: serde_json::Value = serde_json::from_str(&file).unwrap();
    // Deployment tools mark exactly the file of this name as executable.
    assert_eq!(
        host["customHandler"]["description"]["defaultExecutablePath"],
        "scimgate"
    );
    assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true);
    assert_eq!(host.get("extensionBundle"), None);
}
