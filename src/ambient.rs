//! What the world decides for us: time, ids, randomness. Everything else is a function of its arguments.

use std::{fmt::Debug, sync::Arc};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The source of time, ids and secrets; tests put a fixed one in its place.
pub trait Ambient: Debug + Send + Sync + 'static {
    /// The present, in UTC.
    fn now(&self) -> OffsetDateTime;
    /// A new id for a resource: a UUIDv7. Nothing may rely on its order.
    fn new_id(&self) -> Uuid;
    /// 32 bytes that nobody can guess: for tokens, tenant secrets and the random part of operation ids.
    fn secret(&self) -> [u8; 32];
}

/// Another world, its clock ahead by so much, or behind: two machines' clocks never agree. Made for tests.
#[derive(Debug)]
pub struct Skewed(pub Arc<dyn Ambient>, pub Duration);

impl Ambient for Skewed {
    fn now(&self) -> OffsetDateTime {
        self.0.now() + self.1
    }

    fn new_id(&self) -> Uuid {
        self.0.new_id()
    }

    fn secret(&self) -> [u8; 32] {
        self.0.secret()
    }
}

/// The real world.
#[derive(Debug)]
pub struct System;

impl Ambient for System {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn secret(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        bytes
    }
}
