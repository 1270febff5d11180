//! What the handler prints, in the host's log.

use functions_test_host::{Level, Mode, Source};

use crate::support::{Fixture, Request};

#[tokio::test]
async fn output_gets_its_level_and_source() {
    let running = Fixture::new(Mode::Proxy).start().await;
    for (name, text, level, source) in [
        ("Echo-Print", "an error on stdout", Level::Information, Source::Console),
        ("Echo-Complain", "plain", Level::Error, Source::Console),
        ("Echo-Complain", "a WARNing", Level::Warning, Source::Console),
        (
            "Echo-Print",
            "LanguageWorkerConsoleLog for the system",
            Level::Information,
            Source::System,
        ),
        ("Echo-Print", "azfuncjsonlog:{}", Level::Information, Source::Tooling),
    ] {
        running.echo(Request::from("GET /x").header(name, text)).await;
        let expected = text
            .trim_start_matches("LanguageWorkerConsoleLog")
            .trim_start_matches("azfuncjsonlog:");
        running.until(expected, 1).await;
        let line = running.line(expected);
        assert_eq!((line.level, line.source, line.text.as_str()), (level, source, expected));
    }
}

#[tokio::test]
async fn stderr_can_be_for_more_than_errors() {
    let fixture =
        Fixture::new(Mode::Proxy).job_host("customHandler__description__useStdErrorStreamForErrorsOnly", "false");
    let running = fixture.start().await;
    for (text, level) in [("plain", Level::Information), ("it failed", Level::Error)] {
        running
            .echo(Request::from("GET /x").header("Echo-Complain", text))
            .await;
        running.until(text, 1).await;
        assert_eq!(running.line(text).level, level);
    }
}

#[tokio::test]
async fn the_console_category_is_filtered() {
    let fixture = Fixture::new(Mode::Proxy)
        .job_host("logging__logLevel__default", "Warning")
        .job_host("logging__logLevel__Host.Function", "Error");
    let running = fixture.start().await;
    running
        .echo(Request::from("GET /x").header("Echo-Complain", "a warning"))
        .await;
    running
        .echo(Request::from("GET /x").header("Echo-Complain", "plain"))
        .await;
    running.until("plain", 1).await;
    assert_eq!(running.count("a warning") + running.count("GET /x"), 0);
}

#[tokio::test]
async fn a_port_in_use_is_recognised() {
    let running = Fixture::new(Mode::Proxy).start().await;
    running
        .echo(Request::from("GET /x").header("Echo-Complain", "Error: Address already in use (os error 98)"))
        .await;
    running.until("Port is already in use. Process cannot start.", 1).await;
}
