//! The name of a process that every table uses: boot, process id and start.

use std::fmt;

use kcap_format::proto;

use super::recording::uuid_text;

/// Nanoseconds of a clock tick of `/proc/PID/stat` (`USER_HZ` is 100 on every architecture Linux runs on).
const CLOCK_TICK_NS: u64 = 10_000_000;

/// A process of one boot. Starts are kept in clock ticks: the kernel programs tell nanoseconds and /proc only ticks,
/// and a process must have one name however it was learned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessIdentity {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// Clock ticks (10 ms) from boot to the start, as in field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The process with this id that started so many nanoseconds after boot.
    #[must_use]
    pub fn new(pid: u32, start_time_ns: u64) -> Self {
        Self { pid, start_ticks: start_time_ns / CLOCK_TICK_NS }
    }

    /// The process of a message; `None` when the message names none.
    #[must_use]
    pub fn from_proto(id: Option<&proto::ProcessId>) -> Option<Self> {
        id.filter(|id| id.pid != 0).map(|id| Self::new(id.pid, id.start_time_ns))
    }
}

/// Text of `proc_id`: first eight digits of the boot id, process id and start in ticks, as `1b9d6bcd-4711-98304`.
#[must_use]
pub fn process_id_text(boot_id: &[u8], process: ProcessIdentity) -> String {
    format!("{}-{}-{}", Boot(boot_id), process.pid, process.start_ticks)
}

/// The same process as the UUID that `spec/events.proto` defines; `None` when the boot isn't known.
#[must_use]
pub fn process_uuid_text(boot_id: &[u8], process: ProcessIdentity) -> Option<String> {
    let id = proto::ProcessId {
        pid: process.pid,
        start_time_ns: process.start_ticks * CLOCK_TICK_NS,
        start_time_coarse: true,
    };
    Some(uuid_text(&kcap_format::process_uuid(boot_id, &id)?))
}

struct Boot<'a>(&'a [u8]);

impl fmt::Display for Boot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = [0; 4].iter().enumerate().map(|(index, zero)| self.0.get(index).unwrap_or(zero));
        digits.into_iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_and_proc_name_a_process_alike() {
        let boot = [0x1b, 0x9d, 0x6b, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let exact = ProcessIdentity::new(4711, 983_041_234_567);
        let coarse = ProcessIdentity::new(4711, 983_040_000_000);
        assert_eq!(exact, coarse);
        assert_eq!(process_id_text(&boot, exact), "1b9d6bcd-4711-98304");
        assert_eq!(process_id_text(&[], exact), "00000000-4711-98304");
        assert_eq!(process_uuid_text(&boot, exact).as_deref(), Some("1b9d6bcd-0102-8000-8001-800000001267"));
        assert_eq!(process_uuid_text(&[], exact), None);
    }
}
