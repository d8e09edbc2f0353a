//! Placeholder while the workspace resolves.
fn main() {}
