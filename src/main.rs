//! Parses the command line and dispatches.

use std::process::ExitCode;

use actix_web::rt::System;
use scimgate::{cli, telemetry};

fn main() -> ExitCode {
    let command = cli::Cli::read();
    telemetry::start(command.telemetry());
    let code = System::new().block_on(cli::run(command)).unwrap_or_else(|error| {
        eprintln!("scimgate: {error:#}");
        1
    });
    telemetry::stop();
    ExitCode::from(code)
}
