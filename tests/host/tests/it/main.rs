//! The test host against what is known of the real one. `§` refers to the description of the Functions host.

mod forward;
mod front;
mod lifecycle;
mod loading;
mod project;
mod proxy;
mod support;
