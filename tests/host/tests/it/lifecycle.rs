//! The handler's process: environment, readiness, end, restart.

use std::path::PathBuf;
use std::time::Duration;

use functions_test_host::{Level, Mode};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{BOTH, Fixture, Request, Running};

/// Whether a handler listens there: one that was killed does not.
async fn is_listening(port: &str) -> bool {
    TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok()
}

/// The handler's port.
async fn port(running: &Running) -> String {
    running.echo("GET /x").await.environment()["FUNCTIONS_CUSTOMHANDLER_PORT"].clone()
}

/// Lets the handler exit with that code.
async fn exit(running: &Running, code: &str) {
    let request = Request::from("POST /exit")
        .header("Echo-Raw", "none")
        .header("Echo-Then", code);
    running.send(request.body("x")).await.assert_bare(500);
}

#[tokio::test]
async fn the_handler_gets_the_hosts_environment_and_five_variables() {
    let fixture = Fixture::new(Mode::Proxy).set("OWN", "1").set("BOTH", "environment");
    let settings = json!({ "IsEncrypted": false, "Values": { "LOCAL": "2", "BOTH": "file", "EMPTY": "" } });
    fixture.write("local.settings.json", &settings.to_string());
    let root = fixture.root().display().to_string();
    let running = fixture.start().await;
    let echo = running.echo("GET /x").await;
    let mut environment = echo.environment();
    let port = echo.headers("host")[0].strip_prefix("127.0.0.1:").unwrap();
    assert_eq!(
        environment.remove("FUNCTIONS_CUSTOMHANDLER_PORT").as_deref(),
        Some(port)
    );
    assert_eq!(environment.remove("FUNCTIONS_HTTPWORKER_PORT").as_deref(), Some(port));
    let id = environment.remove("FUNCTIONS_CUSTOMHANDLER_WORKER_ID").unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(environment.remove("FUNCTIONS_HTTPWORKER_ID"), Some(id));
    let address = format!("localhost:{}", running.host.address().port());
    let rest = [
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Development"),
        ("AzureWebJobsScriptRoot", &root),
        ("BOTH", "environment"),
        ("EMPTY", ""),
        ("FUNCTIONS_APP_ROOT_PATH", &root),
        ("LOCAL", "2"),
        ("OWN", "1"),
        ("WEBSITE_HOSTNAME", &address),
    ];
    assert_eq!(
        environment,
        rest.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
}

#[tokio::test]
async fn the_handler_runs_in_the_script_root_with_its_arguments() {
    let fixture = Fixture::new(Mode::Proxy)
        .set("WHO", "me")
        .job_host("customHandler__description__arguments__0", "--name=%WHO%")
        .job_host("customHandler__description__arguments__1", "two words");
    let root = fixture.root().canonicalize().unwrap();
    let echo = fixture.start().await.echo("GET /x").await;
    assert_eq!(echo.value("arguments"), &json!(["--name=me", "two", "words"]));
    assert_eq!(PathBuf::from(echo.text("directory")), root);
}

#[tokio::test]
async fn requests_are_held_until_the_handler_is_ready() {
    for mode in BOTH {
        let running = Fixture::new(mode).set("ECHO_START_DELAY", "300").start().await;
        let echo = running.echo(Request::from("POST /x").body("hello")).await;
        assert_eq!(echo.text("body"), "hello");
        running.until("Worker process started and initialized.", 1).await;
    }
}

#[tokio::test]
async fn any_answer_to_the_probe_will_do() {
    // "HTTP/1.1 500 No" with a length of 0, and nonsense.
    for answer in [
        "485454502f312e3120353030204e6f0d0a436f6e74656e742d4c656e6774683a20300d0a0d0a",
        "6e6f0d0a0d0a",
    ] {
        let running = Fixture::new(Mode::Proxy).set("ECHO_ROOT", answer).start().await;
        running.echo("GET /x").await;
        running.flush().await;
        assert_eq!(
            running
                .host
                .log()
                .iter()
                .filter(|line| line.text == "answered GET /")
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn the_probe_waits_for_its_answer_beyond_the_time_out() {
    let running = Fixture::new(Mode::Proxy)
        .set("ECHO_ROOT_DELAY", "300")
        .job_host("customHandler__initializationTimeout", "00:00:00.1")
        .start()
        .await;
    running.until("Worker process started and initialized.", 1).await;
    assert_eq!(running.count("Readiness probe timed out."), 0);
}

#[tokio::test]
async fn the_probe_follows_redirects_unless_forwarding_is_on() {
    // "HTTP/1.1 302 No", "Location: /moved", length 0.
    let redirect = "485454502f312e3120333032204e6f0d0a4c6f636174696f6e3a202f6d6f7665640d0a436f6e74656e742d4c656e6774683a\
                    20300d0a0d0a";
    for (mode, expected) in [(Mode::Proxy, 1), (Mode::Forward, 0)] {
        let running = Fixture::new(mode).set("ECHO_ROOT", redirect).start().await;
        running.until("Worker process started and initialized.", 1).await;
        running.flush().await;
        assert_eq!(running.count("answered GET /moved"), expected);
    }
}

#[tokio::test]
async fn a_handler_that_cannot_be_started_hangs_requests_then_stops_the_host() {
    let running = Fixture::new(Mode::Proxy)
        .job_host("customHandler__description__defaultExecutablePath", "no-such-handler")
        .job_host("customHandler__initializationTimeout", "00:00:00.05")
        .start()
        .await;
    running.send("GET /x").await.assert_bare(500);
    running.line("Failed to start 'no-such-handler'");
    running.line("Initialization timed out and host is shutting down");
    running.host.gave_up().await;
    assert_eq!(running.host.handler_pid(), None);
    let answer = running.send("GET /x").await;
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (503, b"Function host is not running.".as_slice())
    );
}

#[tokio::test]
async fn a_handler_that_never_listens_counts_as_three_errors() {
    let running = Fixture::new(Mode::Proxy)
        .set("ECHO_START_DELAY", "60000")
        .job_host("customHandler__initializationTimeout", "00:00:00.1")
        .start()
        .await;
    running.host.gave_up().await;
    assert_eq!(running.count("Readiness probe timed out."), 3);
    running.line("Exceeded http worker restart retry count. Shutting down Functions Host");
}

#[tokio::test]
async fn after_exit_0_nothing_is_restarted_and_every_request_fails() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        running.echo("GET /x").await;
        exit(&running, "0").await;
        running.until("ended (exit status: 0)", 1).await;
        running.send("GET /x").await.assert_bare(500);
        assert_eq!(running.host.handler_pid(), None);
        assert_eq!(running.count("started on port"), 1);
    }
}

#[tokio::test]
async fn exit_200_restarts_at_once_and_is_not_counted() {
    let running = Fixture::new(Mode::Forward).start().await;
    let mut pids = Vec::new();
    for round in 1..=4 {
        running.until("Worker process started and initialized.", round).await;
        pids.push(running.echo("GET /x").await.number("pid"));
        exit(&running, "200").await;
        running.until("Intentional restart.", round).await;
    }
    running.echo("GET /x").await;
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

#[tokio::test]
async fn the_third_error_stops_the_host() {
    let running = Fixture::new(Mode::Forward).start().await;
    let mut ports = Vec::new();
    for round in 1..=3 {
        running.until("Worker process started and initialized.", round).await;
        ports.push(running.echo("GET /x").await.environment()["FUNCTIONS_CUSTOMHANDLER_PORT"].clone());
        exit(&running, "3").await;
        running.until("ended (exit status: 3)", round).await;
    }
    running.host.gave_up().await;
    running.line("Exceeded http worker restart retry count. Shutting down Functions Host");
    ports.dedup();
    assert_eq!(ports.len(), 1, "the same port is used for the next process");
    assert_eq!(running.send("GET /x").await.status, 503);
}

#[tokio::test]
async fn errors_far_apart_do_not_add_up() {
    let mut fixture = Fixture::new(Mode::Forward);
    fixture.options.timing.error_window = Duration::ZERO;
    let running = fixture.start().await;
    for round in 1..=4 {
        running.until("Worker process started and initialized.", round).await;
        exit(&running, "3").await;
        running.until("ended (exit status: 3)", round).await;
    }
    running.echo("GET /x").await;
}

#[tokio::test]
async fn an_error_event_carries_the_last_three_lines_of_stderr() {
    let running = Fixture::new(Mode::Forward).start().await;
    for line in ["one", "two", "three", "four"] {
        running
            .echo(Request::from("GET /x").header("Echo-Complain", line))
            .await;
    }
    exit(&running, "3").await;
    running.until("ended (exit status: 3). two three four", 1).await;
    assert_eq!(running.line("two three four").level, Level::Error);
}

#[tokio::test]
async fn a_crash_fails_what_is_under_way_and_restarts() {
    for mode in BOTH {
        let running = Fixture::new(mode).start().await;
        let before = running.echo("GET /x").await.number("pid");
        let request = Request::from("POST /slow").header("Echo-Delay", "20000").body("x");
        let (answer, ()) = tokio::join!(running.send(request), async {
            running.until("POST /slow", 1).await;
            running.host.kill_handler().await;
        });
        answer.assert_bare(500);
        running.until("Worker process started and initialized.", 2).await;
        assert_ne!(running.echo("GET /x").await.number("pid"), before);
    }
}

#[tokio::test]
async fn a_function_out_of_time_kills_the_process_for_everybody() {
    for mode in BOTH {
        let running = Fixture::new(mode)
            .job_host("functionTimeout", "00:00:00.4")
            .start()
            .await;
        running.until("Worker process started and initialized.", 1).await;
        let before = running.host.handler_pid().unwrap();
        let slow = |line: &str| Request::from(line).header("Echo-Delay", "20000").body("x");
        let (first, second) = tokio::join!(running.send(slow("POST /a")), running.send(slow("POST /b")));
        first.assert_bare(500);
        second.assert_bare(500);
        running.until("Worker process started and initialized.", 2).await;
        assert_ne!(running.host.handler_pid(), Some(before));
        assert_eq!(running.count("started on port"), 2, "restarted once");
    }
}

#[tokio::test]
async fn a_streamed_response_out_of_time_is_aborted() {
    let running = Fixture::new(Mode::Proxy)
        .job_host("functionTimeout", "00:00:01.5")
        .start()
        .await;
    running.until("Worker process started and initialized.", 1).await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc";
    let answer = running.send(Request::from("GET /x").answered(response)).await;
    assert_eq!((answer.status, answer.is_complete), (200, false));
    running.until("Worker process started and initialized.", 2).await;
}

#[tokio::test]
async fn a_job_host_restart_starts_the_new_process_before_it_kills_the_old() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let old = running.echo("GET /x").await;
    running.host.restart_job_host().await.unwrap();
    let new = running.echo("GET /x").await;
    assert_ne!(old.number("pid"), new.number("pid"));
    assert_ne!(old.headers("host"), new.headers("host"), "another port");
    let log = running.host.log();
    let at = |text: &str| log.iter().position(|line| line.text.contains(text)).unwrap();
    assert!(at(&format!("Worker process {} started", new.number("pid"))) < at("Killing worker process"));
    assert!(!is_listening(old.headers("host")[0].trim_start_matches("127.0.0.1:")).await);
}

#[tokio::test]
async fn a_request_under_way_survives_a_job_host_restart() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let request = Request::from("POST /slow").header("Echo-Delay", "300").body("x");
    let (echo, restarted) = tokio::join!(running.echo(request), async {
        running.until("POST /slow", 1).await;
        running.host.restart_job_host().await
    });
    restarted.unwrap();
    assert_eq!(echo.text("body"), "x");
}

#[tokio::test]
async fn with_a_fixed_port_two_processes_never_coexist() {
    // Free a moment ago, as for the host itself.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let fixture = Fixture::new(Mode::Proxy).job_host("customHandler__port", &free.port().to_string());
    let running = fixture.start().await;
    assert_eq!(running.echo("GET /x").await.headers("host"), [free.to_string()]);
    running.host.restart_job_host().await.unwrap();
    assert_eq!(running.echo("GET /x").await.headers("host"), [free.to_string()]);
    let log = running.host.log();
    let started = log.iter().rposition(|line| line.text.contains("started on port"));
    assert!(log.iter().position(|line| line.text.contains("Killing worker process")) < started);
}

#[tokio::test]
async fn a_request_waits_for_a_restarting_host_but_not_for_ever() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut fixture = Fixture::new(Mode::Proxy).job_host("customHandler__port", &free.port().to_string());
    fixture.options.timing.availability_timeout = Duration::from_millis(50);
    let running = fixture.start().await;
    let slow = Request::from("POST /slow").header("Echo-Delay", "600").body("x");
    // The sequential restart lets the slow request end first; until then the host is not running.
    let (_, restarted, answer) = tokio::join!(
        running.send(slow),
        async {
            running.until("POST /slow", 1).await;
            running.host.restart_job_host().await
        },
        async {
            running.until("POST /slow", 1).await;
            running.send("GET /x").await
        },
    );
    restarted.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (503, b"Function host is not running.".as_slice())
    );
    running.echo("GET /x").await;
}

#[tokio::test]
async fn stopping_kills() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let port = port(&running).await;
    running.host.stop().await;
    assert!(!is_listening(&port).await);
}

#[tokio::test]
async fn dropping_kills_too() {
    let running = Fixture::new(Mode::Proxy).start().await;
    let port = port(&running).await;
    drop(running);
    while is_listening(&port).await {
        tokio::task::yield_now().await;
    }
}
