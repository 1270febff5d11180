//! The black box: scimgate over real HTTP, in every way in which it is run.

fn main() {}
