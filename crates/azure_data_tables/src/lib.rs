//! A small Azure Table Storage client on `azure_core`'s pipeline, in the official SDK's style and naming, so that an
//! official crate can take its place.
//!
//! What it promises beyond the operations:
//! - a failed transaction is an [`Error`] that says which change failed and why ([`Error::failed_index`],
//!   [`Error::code`]); codes are read from the body, because the real service sends no `x-ms-error-code` header;
//! - every try has an end ([`TableClientOptions::try_timeout`]: connect, head and body);
//! - nothing is retried behind the caller's back; [`heals`] is the one table of what a retry can heal, and says whether
//!   a write may have been applied;
//! - the service's limits are checked before anything is sent, those included that the Azurite emulator doesn't check;
//! - no secret is in any `Debug`, `Display`, error or log line.
//!
//! Reading order: `client` (what is called), `entity`, `filter`, `query`, `transaction` (what is sent), `error` (what
//! comes back), `rules` (the service's limits), `connection_string`, `auth`, `token` (who is calling), `attempt` (how
//! long and how much one try may take).

mod attempt;
mod auth;
mod client;
mod connection_string;
mod entity;
mod error;
mod filter;
mod options;
mod query;
mod rules;
mod token;
mod transaction;

pub use auth::SharedKeyCredential;
pub use client::{TableClient, TableServiceClient};
pub use entity::{Entity, Property};
pub use error::{Error, ErrorKind, Result, Retry, error_code, heals};
pub use filter::{Comparison, Filter};
pub use options::{Clock, DEFAULT_TRY_TIMEOUT, TableClientOptions};
pub use query::{Continuation, EntityPage, EntityPager, QueryEntitiesOptions};
pub use rules::{
    MAX_ENTITY_BYTES, MAX_KEY_UNITS, MAX_PAGE_ENTITIES, MAX_PROPERTIES, MAX_PROPERTY_BYTES, MAX_RESPONSE_BYTES,
    MAX_TRANSACTION_ACTIONS, MAX_TRANSACTION_BYTES,
};
pub use transaction::{IfMatch, TransactionAction, UpdateMode};
