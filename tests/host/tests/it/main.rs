//! The test host against what is known of the real one.
#![expect(clippy::unwrap_used, reason = "whatever fails here fails a test")]

mod both_modes;
mod forward;
mod front;
mod lifecycle;
mod loading;
mod output;
mod project;
mod proxy;
mod proxy_failures;
mod rows;
mod support;
