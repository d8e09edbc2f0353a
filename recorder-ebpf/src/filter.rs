//! What the function that stands for `--filter` is and returns.

/// The packet is wanted.
pub const FILTER_MATCH: u32 = 1;
/// The packet is not wanted.
pub const FILTER_OTHER: u32 = 0;
/// Name of the function in the object.
pub const FILTER_FUNCTION: &str = "filter_network_packet";
/// Instructions that it has room for.
pub const FILTER_INSTRUCTIONS_MAX: usize = 16_383;
