//! Who had the ends of a flow.

use kcap_dissect::attribute::Attribution;

use crate::source::End;
use crate::table::packets::PacketBlock;

/// The process at one end of a flow, as far as it is known. All empty when it is on another host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndFacts {
    /// `proc_id`.
    pub proc_id: Option<String>,
    /// Process id in the initial pid namespace.
    pub pid: Option<u32>,
    /// Name then.
    pub process_name: Option<String>,
    /// File that it ran.
    pub executable: Option<String>,
    /// Command line then.
    pub command_line: Option<String>,
    /// Container that it was in, by its cgroup.
    pub container_id: Option<String>,
    /// How it is known, or why not.
    pub attribution: Option<Attribution>,
}

impl EndFacts {
    /// The facts of an end of a row's packet.
    pub(super) fn of(block: &PacketBlock, row: usize, end: &End) -> Self {
        let Some(owners) = block.owners() else { return Self::default() };
        let time_ns = block.batch.time_ns[row];
        Self {
            proc_id: owners.proc_id(end).map(str::to_owned),
            pid: owners.pid(end),
            process_name: owners.process_name(end, time_ns).map(str::to_owned),
            executable: owners.executable(end, time_ns).map(str::to_owned),
            command_line: owners.command_line(end, time_ns).map(str::to_owned),
            container_id: owners.container_id(end, time_ns).map(str::to_owned),
            attribution: Some(end.attribution),
        }
    }

    /// Whether an end is known by better evidence than these facts are.
    pub(super) fn is_worse_than(&self, end: &End) -> bool {
        self.attribution.is_none_or(|known| (end.attribution as usize) < known as usize)
    }
}
