//! What the process tells about itself. For now lines on standard output: the Functions host takes what comes on
//! standard error for errors.

use std::io::IsTerminal;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Sends log lines to standard output, to be read in a terminal and as JSON elsewhere: our own from INFO on, libraries'
/// from WARN on, and if wanted one line for each request.
pub fn start(requests: bool) {
    let terminal = std::io::stdout().is_terminal();
    let readable = terminal.then(|| fmt::layer().with_target(false));
    let json = (!terminal).then(|| fmt::layer().json().flatten_event(true));
    tracing_subscriber::registry()
        .with(readable)
        .with(json)
        .with(levels(terminal, requests))
        .init();
}

fn levels(terminal: bool, requests: bool) -> Targets {
    let wanted = |it: bool| if it { LevelFilter::INFO } else { LevelFilter::OFF };
    Targets::new()
        .with_default(Level::WARN)
        .with_target("scimgate", Level::INFO)
        // In a terminal they stand in the request's line.
        .with_target("scimgate::request", wanted(requests))
        .with_target("scimgate::normalized", wanted(!terminal))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::levels;

    /// The line of the request says it already.
    #[test]
    fn a_terminal_has_no_records_of_what_was_normalized() {
        for (terminal, requests) in [(true, true), (true, false), (false, true), (false, false)] {
            let levels = levels(terminal, requests);
            assert_eq!(levels.would_enable("scimgate::request", &Level::INFO), requests);
            assert_eq!(levels.would_enable("scimgate::normalized", &Level::INFO), !terminal);
            assert!(levels.would_enable("scimgate::app", &Level::INFO));
            assert!(!levels.would_enable("hyper", &Level::INFO));
        }
    }
}
