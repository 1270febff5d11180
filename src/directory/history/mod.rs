//! What happened to a tenant's resources, read from its log: the events that every write leaves, with what was refused and what
//! operators did.
//!
//! Reading order: `log` (events in the order of time), `account` (what is there now), `story` (both, of one person), `verdict` (which of
//! four things it was), `purge` (what is too old).

mod account;
mod log;
mod purge;
mod story;
#[cfg(test)]
mod tests;
mod verdict;

pub use account::{Account, State};
pub use log::{BEHIND, Event, Events, Follower, Scope};
pub use purge::{forget, forget_deeds};
pub use story::{Deed, Search, Story, Told};
pub use verdict::{Verdict, advice};
