//! host.json, app settings, function.json.

use functions_test_host::{Error, Mode};
use serde_json::{Value, json};

use crate::support::{Fixture, Request};

/// The host must refuse to start, with this in the error.
async fn refused(fixture: Fixture, expected: &str) {
    let error = fixture.try_start().await.err().expect("the host refuses to start");
    assert!(error.to_string().contains(expected), "{error}");
}

fn with_host_json(change: impl FnOnce(&mut Value)) -> Fixture {
    let fixture = Fixture::new(Mode::Proxy);
    let file = fixture.root().join("host.json");
    let mut content = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut content);
    fixture.host_json(&content);
    fixture
}

#[tokio::test]
async fn the_version_must_be_2_0() {
    for version in [json!("1.0"), json!("2"), json!(2.0), Value::Null] {
        refused(
            with_host_json(|host| host["version"] = version),
            "'version' must be exactly \"2.0\"",
        )
        .await;
    }
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_refused() {
    refused(Fixture::bare(), "host.json").await;
    let broken = Fixture::bare();
    broken.write("host.json", "{");
    refused(broken, "host.json").await;
    let no_description = |host: &mut Value| host["customHandler"] = json!({ "enableProxyingHttpRequest": true });
    refused(with_host_json(no_description), "Missing worker Description.").await;
    let no_path = |host: &mut Value| host["customHandler"]["description"]["defaultExecutablePath"] = json!("");
    refused(with_host_json(no_path), "DefaultExecutablePath cannot be empty").await;
    let no_flag = |host: &mut Value| host["customHandler"]["enableProxyingHttpRequest"] = json!("maybe");
    refused(with_host_json(no_flag), "'maybe' is not a valid value for Boolean").await;
}

#[tokio::test]
async fn json_mode_is_refused() {
    let no_mode = |host: &mut Value| host["customHandler"]["enableProxyingHttpRequest"] = json!(false);
    refused(with_host_json(no_mode), "JSON mode").await;
    let trigger = json!({ "type": "httpTrigger", "name": "req", "direction": "in" });
    let output = json!({ "type": "http", "name": "res", "direction": "out" });
    let queue = json!({ "type": "queueTrigger", "name": "item", "direction": "in" });
    for bindings in [
        json!([queue]),
        json!([trigger]),
        json!([queue, output]),
        json!([trigger, output, output]),
    ] {
        let fixture = Fixture::new(Mode::Proxy);
        fixture.write("other/function.json", &json!({ "bindings": bindings }).to_string());
        refused(fixture, "JSON mode").await;
    }
}

#[tokio::test]
async fn proxying_wins_over_forwarding() {
    let both = with_host_json(|host| host["customHandler"]["enableForwardingHttpRequest"] = json!(true));
    let echo = both.start().await.echo("GET /x").await;
    assert!(!echo.headers("x-forwarded-host").is_empty());
}

#[tokio::test]
async fn an_operator_chooses_the_mode_by_app_settings() {
    let mut fixture = Fixture::new(Mode::Proxy).job_host("CUSTOMHANDLER__enableproxyinghttprequest", "true");
    fixture.options.mode = Some(Mode::Forward);
    let echo = fixture.start().await.echo("GET /x").await;
    assert!(echo.headers("x-forwarded-host").is_empty());
    let environment = echo.environment();
    assert_eq!(
        environment["AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest"],
        "true"
    );
    assert_eq!(
        environment["AzureFunctionsJobHost__customHandler__enableProxyingHttpRequest"],
        "false"
    );
}

#[tokio::test]
async fn local_settings_configure_the_host_unless_the_environment_does() {
    let name = "AzureFunctionsJobHost__extensions__http__routePrefix";
    let file = json!({ "Values": { name: "file" } }).to_string();
    let fixture = Fixture::new(Mode::Proxy);
    fixture.write("local.settings.json", &file);
    assert_eq!(fixture.start().await.send("GET /file/x").await.status, 200);
    let fixture = Fixture::new(Mode::Proxy).set(name, "set");
    fixture.write("local.settings.json", &file);
    assert_eq!(fixture.start().await.send("GET /set/x").await.status, 200);
}

#[tokio::test]
async fn the_prefix_is_api_by_default_and_stays_in_the_path() {
    let fixture = with_host_json(|host| drop(host.as_object_mut().unwrap().remove("extensions")));
    let running = fixture.start().await;
    assert_eq!(running.echo("GET /api/x").await.text("target"), "/api/x");
    running.send("GET /x").await.assert_bare(404);
}

#[tokio::test]
async fn an_executable_below_the_root_is_found() {
    let fixture = with_host_json(|host| host["customHandler"]["description"]["defaultExecutablePath"] = json!("h"));
    std::fs::copy(env!("CARGO_BIN_EXE_echo_handler"), fixture.root().join("h")).unwrap();
    fixture.start().await.echo("GET /x").await;
}

#[tokio::test]
async fn another_executable_is_looked_up_in_the_path() {
    let binaries = std::path::Path::new(env!("CARGO_BIN_EXE_echo_handler"))
        .parent()
        .unwrap();
    let fixture = Fixture::new(Mode::Proxy)
        .job_host("customHandler__description__defaultExecutablePath", "%WHICH%_handler")
        .set("WHICH", "echo")
        .set("PATH", &binaries.display().to_string());
    fixture.start().await.echo("GET /x").await;
}

#[tokio::test]
async fn a_fixed_port_in_use_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fixture = Fixture::new(Mode::Proxy).job_host("customHandler__port", &port.to_string());
    let error = fixture.try_start().await.err().unwrap();
    assert!(matches!(error, Error::Port { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("Unable to bind to port {port}")));
}

#[tokio::test]
async fn a_function_in_error_is_left_out_and_the_others_load() {
    let fixture = Fixture::new(Mode::Proxy);
    fixture.write("broken/function.json", "{");
    fixture.write("empty/function.json", r#"{ "bindings": [] }"#);
    fixture.write("nested/deeper/function.json", r#"{ "bindings": [] }"#);
    fixture.function("1st", &json!({}));
    fixture.function("host", &json!({}));
    fixture.function("administration", &json!({ "route": "/Administration/x" }));
    fixture.function("webhook", &json!({ "route": "runtime/x" }));
    fixture.function("level", &json!({ "authLevel": "nobody" }));
    fixture.function("double", &json!({ "route": "{*Path}", "methods": ["get"] }));
    let running = fixture.start().await;
    let names: Vec<String> = running.host.functions().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["catch"]);
    for name in [
        "broken",
        "empty",
        "1st",
        "host",
        "administration",
        "webhook",
        "level",
        "double",
    ] {
        running.line(&format!("The '{name}' function is in error"));
    }
}

#[tokio::test]
async fn one_route_may_serve_different_methods() {
    let fixture = Fixture::bare();
    fixture.host_json(&json!({
        "version": "2.0",
        "customHandler": {
            "description": { "defaultExecutablePath": env!("CARGO_BIN_EXE_echo_handler") },
            "enableProxyingHttpRequest": true,
        },
    }));
    fixture.function(
        "read",
        &json!({ "authLevel": "anonymous", "route": "users", "methods": ["get"] }),
    );
    fixture.function(
        "write",
        &json!({ "authLevel": "anonymous", "route": "users", "methods": ["post"] }),
    );
    let running = fixture.start().await;
    assert_eq!(running.host.functions().len(), 2);
    assert_eq!(running.echo("POST /api/users").await.text("method"), "POST");
}

#[tokio::test]
async fn functions_can_be_listed_or_disabled() {
    let only = with_host_json(|host| host["functions"] = json!(["other"]));
    only.function("other", &json!({ "authLevel": "anonymous" }));
    let running = only.start().await;
    assert_eq!(running.host.functions().len(), 1);
    running.send("GET /x").await.assert_bare(404);
    assert_eq!(running.send("GET /other").await.status, 200);
    let disabled = Fixture::new(Mode::Proxy).set("AzureWebJobs.catch.Disabled", "true");
    disabled.start().await.send("GET /x").await.assert_bare(404);
}

#[tokio::test]
async fn the_first_function_by_name_wins() {
    let fixture = Fixture::new(Mode::Proxy);
    fixture.function("Z-health", &json!({ "authLevel": "function", "route": "health" }));
    fixture.function("A-other", &json!({ "authLevel": "function", "route": "other" }));
    let mut fixture = fixture;
    fixture.options.keys = Some([("_master".to_owned(), "m".to_owned())].into());
    let running = fixture.start().await;
    let names: Vec<String> = running.host.functions().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["A-other", "catch", "Z-health"]);
    // The catch-all is anonymous and shadows the literal route behind it; the one before it asks for a key.
    assert_eq!(running.send("GET /health").await.status, 200);
    running.send("GET /other").await.assert_bare(401);
    assert_eq!(
        running
            .send(Request::from("GET /other").header("x-functions-key", "m"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn without_functions_nothing_is_started() {
    let fixture = with_host_json(|host| host["functions"] = json!(["none"]));
    let running = fixture.start().await;
    running.line("No job functions found.");
    assert_eq!(running.host.handler_pid(), None);
    assert_eq!(running.send("GET /").await.status, 200);
    running.send("GET /x").await.assert_bare(404);
}

#[tokio::test]
async fn what_is_not_imitated_is_refused() {
    let routes = |host: &mut Value| host["customHandler"]["http"] = json!({ "routes": [{ "route": "{*route}" }] });
    refused(with_host_json(routes), "customHandler.http.routes is not imitated").await;
    let fixture = Fixture::new(Mode::Proxy);
    fixture.write("local.settings.json", r#"{ "IsEncrypted": true }"#);
    refused(fixture, "encrypted settings are not imitated").await;
}
