//! Imitates the Azure Functions host.
