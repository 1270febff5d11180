//! Provisioning logs: read as the portal, Graph or Log Analytics give them, counted by cause, compared.

pub mod compare;
pub mod moment;
pub mod read;
pub mod record;
pub mod tally;

#[cfg(test)]
mod tests;
