//! What arrives in Application Insights, seen by a fake of its endpoint: the shipped executable, with `http://` on loopback.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

mod calls;
mod canary;
mod contract;
mod endpoint;
mod envelopes;
mod host;
mod inside;
mod outages;
mod questions;
mod sampling;
mod service;
mod tables;
