//! What a caller may choose.

use std::{fmt, sync::Arc, time::Duration};

use azure_core::{http::ClientOptions, time::OffsetDateTime};

/// The default of [`TableClientOptions::try_timeout`].
pub const DEFAULT_TRY_TIMEOUT: Duration = Duration::from_secs(3);

/// Options for [`TableServiceClient`](crate::TableServiceClient) and [`TableClient`](crate::TableClient).
#[derive(Clone, Debug)]
pub struct TableClientOptions {
    /// `azure_core`'s options. Give a `transport` here, so that the application makes its HTTP clients in one place;
    /// without one, `azure_core` makes its own. `retry` is ignored: this client sends every request once.
    pub client_options: ClientOptions,
    /// The most time that one try may take, from connecting to the body's last byte; waiting for a token before
    /// that may take as long again, and then nothing is sent. A connect time-out of the transport should be shorter, so that it shows as "never sent".
    pub try_timeout: Duration,
    /// Where the time comes from that signatures carry and that tokens age by.
    pub clock: Clock,
}

impl Default for TableClientOptions {
    fn default() -> Self {
        Self {
            client_options: ClientOptions::default(),
            try_timeout: DEFAULT_TRY_TIMEOUT,
            clock: Clock::default(),
        }
    }
}

/// Tells the time; the system's by default.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "the crate's one source of time")]
    fn default() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
