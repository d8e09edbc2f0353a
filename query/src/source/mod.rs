//! Where rows come from: the recordings under the paths that a person names.

mod damage;
mod facts;
mod lake;
mod library;
mod owner_cache;
mod owners;
mod process_id;
mod recording;

pub use lake::Lake;
pub use library::{Library, damage_text};
pub use owners::{End, SegmentOwners};
pub use process_id::{ProcessIdentity, process_id_text};
pub use recording::{Recording, SegmentHandle, uuid_text};
