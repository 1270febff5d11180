//! Parses the command line and dispatches.

use std::process::ExitCode;

use actix_web::rt::System;
use scimgate::{cli, telemetry};

fn main() -> ExitCode {
    let command = cli::Cli::read();
    telemetry::start(command.shows_requests());
    match System::new().block_on(cli::run(command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("scimgate: {error:#}");
            ExitCode::from(1)
        }
    }
}
