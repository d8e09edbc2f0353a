//! What the functions that stand for filters are and return.

/// The packet is wanted.
pub const FILTER_MATCH: u32 = 1;
/// The packet is not wanted.
pub const FILTER_OTHER: u32 = 0;
/// Name of the function in the object for packets that begin with their network header.
pub const FILTER_FUNCTION: &str = "filter_network_packet";
/// Name of the one for the filters of tasks: its result has the bits of those rules whose filters match.
pub const TASK_FILTER_FUNCTION: &str = "filter_for_tasks";
/// Name of the one for frames.
pub const FRAME_FILTER_FUNCTION: &str = "filter_frame";
/// Instructions that each has room for.
pub const FILTER_INSTRUCTIONS_MAX: usize = 16_383;
