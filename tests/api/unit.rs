//! The tests of the black box's own parts, which are built on Rust's test harness; `main` is not.

mod idp;
