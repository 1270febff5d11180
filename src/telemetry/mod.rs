//! What the process tells about itself. For now lines on standard output: the Functions host takes what comes on
//! standard error for errors.

use std::io::IsTerminal;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Sends log lines to standard output: our own from INFO on, libraries' from WARN on, and if wanted one line for each
/// request.
pub fn start(requests: bool) {
    let terminal = std::io::stdout().is_terminal();
    let requests = if requests { LevelFilter::INFO } else { LevelFilter::OFF };
    let levels = Targets::new()
        .with_default(Level::WARN)
        .with_target("scimgate", Level::INFO)
        .with_target("scimgate::request", requests);
    tracing_subscriber::registry()
        .with(fmt::layer().with_ansi(terminal).with_target(false))
        .with(levels)
        .init();
}
