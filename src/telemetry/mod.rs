//! What the process tells about itself. For now lines on standard output: the Functions host takes what comes on
//! standard error for errors.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Sends log lines to standard output: our own from INFO on, libraries' from WARN on.
pub fn start() {
    let levels = Targets::new()
        .with_default(Level::WARN)
        .with_target("scimgate", Level::INFO);
    let terminal = std::io::stdout().is_terminal();
    tracing_subscriber::registry()
        .with(fmt::layer().with_ansi(terminal).with_target(false))
        .with(levels)
        .init();
}
