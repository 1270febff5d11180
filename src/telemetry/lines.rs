//! Lines on standard output: the Functions host takes what comes on standard error for errors.

use std::io::IsTerminal;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    field::MakeExt,
    filter::Targets,
    fmt::{
        self,
        format::{self, FormatFields},
    },
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Sends log lines to standard output, to be read in a terminal and as JSON elsewhere: our own from INFO on, libraries'
/// from WARN on, and one line for each request, or for those only that we failed at. Where everything is `kept_elsewhere`,
/// those from WARN on.
pub(super) fn start(requests: bool, kept_elsewhere: bool, elsewhere: Option<impl Layer<Registry> + Send + Sync>) {
    let terminal = std::io::stdout().is_terminal();
    let levels = levels(terminal, requests, kept_elsewhere);
    let readable = terminal.then(|| fmt::layer().with_target(false).fmt_fields(for_a_person()));
    let json = (!terminal).then(|| fmt::layer().json().flatten_event(true));
    tracing_subscriber::registry()
        .with(elsewhere)
        .with(readable.with_filter(levels.clone()))
        .with(json.with_filter(levels))
        .init();
}

fn levels(terminal: bool, requests: bool, kept_elsewhere: bool) -> Targets {
    if kept_elsewhere {
        return Targets::new().with_default(Level::WARN);
    }
    let wanted = |it: bool, otherwise| if it { LevelFilter::INFO } else { otherwise };
    Targets::new()
        .with_default(Level::WARN)
        .with_target("scimgate", Level::INFO)
        .with_target("scimgate::request", wanted(requests, LevelFilter::WARN))
        // In a terminal they stand in the request's line.
        .with_target("scimgate::normalized", wanted(!terminal, LevelFilter::OFF))
}

/// What goes to Application Insights: our own. A request's row says what its line and its notes say, and what libraries
/// write may hold anything.
pub(super) fn exported() -> Targets {
    Targets::new()
        .with_target("scimgate", Level::INFO)
        .with_target("scimgate::request", LevelFilter::OFF)
        .with_target("scimgate::normalized", LevelFilter::OFF)
}

/// The message first; a request's identifiers are for who searches logs.
fn for_a_person() -> impl for<'w> FormatFields<'w> {
    format::debug_fn(|line, field, value| match field.name() {
        "message" => write!(line, "{value:?}"),
        "ids" => Ok(()),
        name => write!(line, "{name}={value:?}"),
    })
    .delimited(" ")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::{exported, levels};

    /// The line of the request says it already.
    #[test]
    fn a_terminal_has_no_records_of_what_was_normalized() {
        for (terminal, requests) in [(true, true), (true, false), (false, true), (false, false)] {
            let levels = levels(terminal, requests, false);
            assert_eq!(levels.would_enable("scimgate::request", &Level::INFO), requests);
            assert!(levels.would_enable("scimgate::request", &Level::WARN));
            assert_eq!(levels.would_enable("scimgate::normalized", &Level::INFO), !terminal);
            assert!(levels.would_enable("scimgate::app", &Level::INFO));
            assert!(!levels.would_enable("hyper", &Level::INFO));
        }
    }

    #[test]
    fn what_is_kept_elsewhere_is_not_paid_twice() {
        let levels = levels(false, true, true);
        for target in ["scimgate::app", "scimgate::request", "scimgate::normalized"] {
            assert!(!levels.would_enable(target, &Level::INFO), "{target}");
            assert!(levels.would_enable(target, &Level::WARN), "{target}");
        }
        let exported = exported();
        assert!(exported.would_enable("scimgate::app", &Level::INFO));
        assert!(!exported.would_enable("scimgate::request", &Level::ERROR));
        assert!(!exported.would_enable("azure_core", &Level::ERROR));
    }
}
