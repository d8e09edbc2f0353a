//! What the dissectors of SQL servers have in common.

mod csv;
mod frames;
mod reader;
mod statement;

pub(crate) use csv::Rows;
pub(crate) use frames::{Format, Frame, Frames};
pub(crate) use reader::Reader;
pub(crate) use statement::{method, split};
