//! Where rows come from: the recordings under the paths that a person names.

mod comments;
mod containers;
mod damage;
mod end_facts;
mod facts;
mod found;
mod lake;
mod library;
mod owner_cache;
mod owners;
mod pattern;
mod process_id;
mod recording;
mod told;

pub use containers::Containers;
pub use end_facts::{EndFacts, container_name, pod_name, pod_namespace};
pub use found::STANDARD_INPUT;
pub use lake::Lake;
pub use library::Library;
pub use owners::{End, SegmentOwners};
pub use process_id::{ProcessIdentity, process_id_text, process_uuid_text};
pub use recording::{Recording, SegmentHandle, uuid_text};
