//! The tests of the black box's own parts, which are built on Rust's test harness; `main` is not.

#[expect(dead_code, reason = "the fields and functions that only `main` needs")]
mod idp;
