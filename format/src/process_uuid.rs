//! The UUID of a process: the same in every segment and recording of a boot, however the process became known.

use crate::proto::ProcessId;

/// Starts are rounded down to this, which is all that `/proc/PID/stat` tells of them.
const TICK_NS: u64 = 10_000_000;
/// Bits of the start in the UUID.
const TICK_BITS: u32 = 42;

/// The UUID of a process, as `spec/events.proto` defines it at `ProcessId`. `boot_id` is that of the segment's
/// `FileInfo`; `None` when the id names no process or the boot isn't known.
#[must_use]
pub fn process_uuid(boot_id: &[u8], process: &ProcessId) -> Option<[u8; 16]> {
    let boot_id: &[u8; 6] = boot_id.first_chunk()?;
    if process.pid == 0 {
        return None;
    }
    let ticks = (process.start_time_ns / TICK_NS) & ((1 << TICK_BITS) - 1);
    let boot = boot_id.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    // 122 bits, of which version and variant (RFC 9562, section 5.8) take the 49th to 52nd and 65th to 66th place.
    let (head, middle) = (boot, u128::from(ticks >> 30));
    let tail = u128::from(ticks & ((1 << 30) - 1)) << 32 | u128::from(process.pid);
    let uuid = head << 80 | 8 << 76 | middle << 64 | 2 << 62 | tail;
    Some(uuid.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT_ID: [u8; 16] =
        [0xd9, 0x20, 0x1c, 0xd3, 0x18, 0x85, 0x48, 0x34, 0x86, 1, 0x6a, 0x8d, 0xc1, 0x89, 0x21, 0x8f];

    fn uuid(pid: u32, start_time_ns: u64) -> uuid::Uuid {
        let id = ProcessId { pid, start_time_ns, start_time_coarse: false };
        uuid::Uuid::from_bytes(process_uuid(&BOOT_ID, &id).unwrap())
    }

    #[test]
    fn exact_and_coarse_starts_give_one_uuid() {
        let exact = uuid(0x1234, 77_123_456_789);
        assert_eq!(exact.to_string(), "d9201cd3-1885-8000-8000-1e2000001234");
        assert_eq!(exact, uuid(0x1234, 77_120_000_000));
        assert_eq!((exact.get_version_num(), exact.get_variant()), (8, uuid::Variant::RFC4122));
    }

    #[test]
    fn pid_start_and_boot_tell_processes_apart() {
        let all = [uuid(1, 0), uuid(2, 0), uuid(1, TICK_NS), uuid(1, TICK_NS << 30), uuid(1, TICK_NS << 41)];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| other != one), "{one}");
        }
        let id = ProcessId { pid: 1, ..ProcessId::default() };
        assert_ne!(process_uuid(&[0; 16], &id), process_uuid(&BOOT_ID, &id));
        assert_eq!(process_uuid(&[], &id), None);
        assert_eq!(process_uuid(&BOOT_ID, &ProcessId::default()), None);
    }
}
