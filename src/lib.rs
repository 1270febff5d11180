//! scimgate.
pub mod store;
