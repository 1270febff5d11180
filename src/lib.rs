//! scimgate: SCIM 2.0 for SaaS vendors, on Azure Functions and Table Storage.
//!
//! A request goes one straight way: [`http`] finds the route and the credential, [`tenants`] turns the credential into
//! an access, [`directory`] asks a pure function of [`scim`] what the resource becomes and commits it to the [`store`],
//! [`rows`] says how that is spelled, [`totals`] counts, [`telemetry`] tells of it. [`backup`] keeps and brings back. [`doctor`] looks at a service from
//! outside, [`explain`] reads the errors that others wrote on the way. In reading order:

pub mod scim;

pub mod store;

pub mod rows;

pub mod totals;

pub mod ambient;

pub mod tenants;

pub mod directory;

pub mod backup;

pub mod http;

pub mod config;

pub mod telemetry;

pub mod explain;

pub mod doctor;

pub mod app;

pub mod cli;
