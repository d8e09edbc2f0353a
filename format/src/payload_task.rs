//! What FILE blocks say of payload tasks.

use crate::proto::PayloadTask;

impl PayloadTask {
    /// Most bytes of a name. Recorders take no longer ones; for those, readers, who may tell of a task with each packet, have the
    /// number of its bit.
    pub const NAME_LEN_MAX: usize = 64;
}
