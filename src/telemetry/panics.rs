//! What is told of a panic: where, and nothing of its message, which may quote what a client sent.

use std::panic;

/// Takes the place of the hook that prints a panic's message.
pub(super) fn report() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        tracing::error!(target: "scimgate::panic", place, "a panic");
    }));
}
