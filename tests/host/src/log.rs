//! The host's log: the handler's output with the host's levels, and what happens to its process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest lines kept for [`crate::Host::log`].
const MAX_LINES: usize = 10_000;

/// Called with each line as it is written, on whichever task writes it.
pub type Sink = Arc<dyn Fn(&Line) + Send + Sync>;

/// One line of the host's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The level the host gives the line.
    pub level: Level,
    /// Where the line comes from.
    pub source: Source,
    /// The text, without its line end.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}] {:?}: {}", self.level, self.source, self.text)
    }
}

/// A log level, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `Information`.
    Information,
    /// `Warning`.
    Warning,
    /// `Error`.
    Error,
    /// `None` in host.json: nothing passes.
    None,
}

impl Level {
    /// The level of that name in `logging.logLevel`; `Trace` and `Debug` let everything pass.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "trace" | "debug" | "information" => Some(Self::Information),
            "warning" => Some(Self::Warning),
            "error" | "critical" => Some(Self::Error),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host itself: process and worker events.
    Host,
    /// The handler, category `Host.Function.Console`.
    Console,
    /// The handler, by prefix `LanguageWorkerConsoleLog`: the host's system log.
    System,
    /// The handler, by prefix `azfuncjsonlog:`: for tools.
    Tooling,
}

#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<VecDeque<Line>>>,
    sink: Option<Sink>,
}

impl Log {
    pub(crate) fn new(sink: Option<Sink>) -> Self {
        Self {
            lines: Arc::default(),
            sink,
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    pub(crate) fn information(&self, text: impl Into<String>) {
        self.write(Line {
            level: Level::Information,
            source: Source::Host,
            text: text.into(),
        });
    }

    pub(crate) fn error(&self, text: impl Into<String>) {
        self.write(Line {
            level: Level::Error,
            source: Source::Host,
            text: text.into(),
        });
    }

    pub(crate) fn write(&self, line: Line) {
        if let Some(sink) = &self.sink {
            sink(&line);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
