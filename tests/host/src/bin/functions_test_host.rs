//! `func start` in the small: serves a script root with a custom handler until Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use functions_test_host::{Error, Host, Mode, Options, process_environment};

const USAGE: &str = "\
Usage: functions-test-host [--root DIR] [--mode proxy|forward] [--port N]

Imitates `func start` for a custom handler.

  --root DIR    the folder with host.json (default: the current one)
  --mode MODE   proxy or forward (default: what host.json says)
  --port N      the port to listen on (default: 7071)
";

#[tokio::main]
async fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(Some(options)) => match serve(options).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprint!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// `None`: help is asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options::new(".");
    options.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 7071));
    options.environment = process_environment();
    options.log = Some(Arc::new(|line| println!("{line}")));
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(None);
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, arguments.next()),
        };
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        match (name.as_str(), value.as_str()) {
            ("--root", _) => options.root = value.into(),
            ("--mode", "proxy") => options.mode = Some(Mode::Proxy),
            ("--mode", "forward") => options.mode = Some(Mode::Forward),
            ("--port", port) => options
                .listen
                .set_port(port.parse().map_err(|_| format!("no port: {port}"))?),
            _ => return Err(format!("not understood: {name} {value}")),
        }
    }
    Ok(Some(options))
}

async fn serve(options: Options) -> Result<ExitCode, Error> {
    let host = Host::start(options).await?;
    println!("\nFunctions:\n");
    for (name, methods, route) in host.functions() {
        let methods = if methods.is_empty() {
            String::new()
        } else {
            format!("[{}] ", methods.join(","))
        };
        println!(
            "\t{name}: {methods}http://localhost:{}/{route}\n",
            host.address().port()
        );
    }
    let code = tokio::select! {
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
        () = host.gave_up() => ExitCode::FAILURE,
    };
    host.stop().await;
    Ok(code)
}
