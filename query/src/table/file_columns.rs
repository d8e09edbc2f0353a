//! The columns of a file that a process executed or mapped.

use arrow::datatypes::UInt64Type;
use kcap_format::proto;

use super::column::Column;
use super::text::{device_text, kernel_text};
use crate::source::{ProcessIdentity, process_id_text};

/// What is told of overlays, in the order of `File.Layer`.
const LAYERS: [&str; 4] = ["none", "unknown", "lower", "upper"];

/// A file, and who changed it.
#[derive(Debug, PartialEq)]
pub(super) struct FileFacts {
    file: Box<proto::File>,
    modifier: Option<String>,
}

impl FileFacts {
    pub(super) fn new(file: Box<proto::File>, boot_id: &[u8]) -> Self {
        let modifier = ProcessIdentity::from_proto(file.modified_by.as_ref());
        Self { modifier: modifier.map(|modifier| process_id_text(boot_id, modifier)), file }
    }

    /// About how many bytes it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<proto::File>() + self.file.path.len() + self.modifier.as_ref().map_or(0, String::len)
    }
}

/// The columns, from whatever row the file is in. Their names begin with `prefix`.
#[rustfmt::skip]
pub(super) fn columns<R: 'static>(
    prefix: &str,
    path_description: &'static str,
    of: impl for<'a> Fn(&'a R) -> Option<&'a FileFacts> + Copy + Send + Sync + 'static,
) -> Vec<Column<[R]>> {
    let name = |name: &str| format!("{prefix}_{name}");
    vec![
        Column::rare_text(&name("path"), path_description, move |rows: &[R], row| kernel_text(&of(&rows[row])?.file.path)),
        Column::boolean(&name("path_truncated"), "Whether the beginning of the path is missing", move |rows: &[R], row| Some(of(&rows[row])?.file.path_truncated)),
        Column::number::<UInt64Type>(&name("inode"), "Its inode", move |rows: &[R], row| Some(of(&rows[row])?.file.inode).filter(|inode| *inode != 0)),
        Column::rare_text(&name("device"), "Device that it is on, as major:minor", move |rows: &[R], row| of(&rows[row]).map(|facts| device_text(facts.file.device_major, facts.file.device_minor))),
        Column::timestamp(&name("ctime"), "When its inode changed last", move |rows: &[R], row| i64::try_from(of(&rows[row])?.file.ctime_ns).ok().filter(|time| *time != 0)),
        Column::enumeration(&name("layer"), &LAYERS, "Of an overlay: lower (as it is in the image), upper (made or changed in the container), or unknown; none outside of overlays", move |rows: &[R], row| usize::try_from(of(&rows[row])?.file.layer).ok()),
        Column::text(&name("modifier_proc_id"), "The process that first changed the file while the recording ran; null when none did, or when the kernel doesn't tell", move |rows: &[R], row| of(&rows[row])?.modifier.as_deref()),
        Column::boolean(&name("deleted"), "Whether no directory held it any more", move |rows: &[R], row| Some(of(&rows[row])?.file.deleted)),
    ]
}
