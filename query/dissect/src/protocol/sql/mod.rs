//! What the dissectors of SQL servers have in common.

mod csv;
mod frames;
mod parameters;
mod reader;
mod recent;
mod repeated;
mod statement;

pub(crate) use csv::Rows;
pub(crate) use frames::{Format, Frame, Frames};
pub(crate) use parameters::{PARAMETERS_CUT_NOTE, Parameters};
pub(crate) use reader::Reader;
pub(crate) use recent::{Held, Recent};
pub(crate) use repeated::{REPEATED_NOTE, Repeated, beginning};
pub(crate) use statement::{method, split};

/// Bytes of a name (of a user, a database, a version) that are kept: servers allow a few hundred at most, and every
/// transaction of a connection may tell them.
const NAME_LENGTH_MAX: usize = 1024;

/// A name as text, as much as is kept of it.
pub(crate) fn name_text(bytes: &[u8]) -> String {
    let mut text = super::text(&bytes[..bytes.len().min(NAME_LENGTH_MAX)]);
    text.truncate(text.floor_char_boundary(NAME_LENGTH_MAX));
    text
}
