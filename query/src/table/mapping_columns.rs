//! The columns of memory that a process can execute.

use arrow::datatypes::UInt64Type;
use kcap_format::proto;

use super::column::Column;
use super::file_columns::{self, FileFacts};

/// What made memory executable, in the order of `ExecutableMapping.Action`, less the unspecified one.
const ACTIONS: [&str; 3] = ["mmap", "mprotect", "initial"];

/// A mapping.
#[derive(Debug)]
pub(super) struct MappingFacts {
    mapping: Box<proto::ExecutableMapping>,
    file: Option<FileFacts>,
}

impl MappingFacts {
    pub(super) fn new(mut mapping: Box<proto::ExecutableMapping>, boot_id: &[u8]) -> Self {
        let file = mapping.file.take().map(|file| FileFacts::new(file.into(), boot_id));
        Self { mapping, file }
    }
}

/// The columns, from whatever row the mapping is in.
#[rustfmt::skip]
pub(super) fn columns<R: 'static>(of: fn(&R) -> Option<&MappingFacts>) -> Vec<Column<[R]>> {
    let number = |name, description, value: fn(&proto::ExecutableMapping) -> u64| {
        Column::number::<UInt64Type>(name, description, move |rows: &[R], row| of(&rows[row]).map(|facts| value(&facts.mapping)))
    };
    let flags = |name, description, value: fn(&proto::ExecutableMapping) -> u64| {
        Column::number::<UInt64Type>(name, description, move |rows: &[R], row| of(&rows[row]).map(|facts| value(&facts.mapping)).filter(|flags| *flags != 0))
    };
    let mut columns = vec![
        Column::enumeration("mapping_action", &ACTIONS, "What made memory executable: mmap, mprotect, or initial (the execution itself, of its binary); null for steps that made none", move |rows: &[R], row| usize::try_from(of(&rows[row])?.mapping.action).ok()?.checked_sub(1)),
        number("mapping_start", "Its first address", |mapping| mapping.start_address),
        number("mapping_end", "The first address after it", |mapping| mapping.end_address),
        flags("mapping_requested_protection", "PROT_* that were asked for; null for initial", |mapping| mapping.requested_protection),
        flags("mapping_old_flags", "VM_* of the memory before an mprotect", |mapping| mapping.old_flags),
        flags("mapping_new_flags", "VM_* of the memory afterwards; null when the kernel doesn't tell", |mapping| mapping.new_flags),
        flags("mapping_mmap_flags", "MAP_* of mmap(2)", |mapping| mapping.mmap_flags),
    ];
    columns.extend(file_columns::columns("mapping_file", "Full path of the mapped file; null for anonymous memory", move |row: &R| of(row)?.file.as_ref()));
    columns
}
