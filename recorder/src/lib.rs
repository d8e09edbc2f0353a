//! Placeholder while the workspace resolves.
pub mod losses;
pub mod probe;
pub mod ring;
