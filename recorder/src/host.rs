//! Which host, boot and kernel are recorded.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kcap_format::proto::Host;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` of the kernel's `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Describes this host from `/proc` and `/etc`.
pub(crate) fn describe() -> Host {
    Host {
        hostname: read_line("/proc/sys/kernel/hostname"),
        boot_id: parse_id(&read_line("/proc/sys/kernel/random/boot_id")),
        kernel_release: read_line("/proc/sys/kernel/osrelease"),
        kernel_version: read_line("/proc/sys/kernel/version"),
        architecture: std::env::consts::ARCH.to_owned(),
        cpu_count: std::thread::available_parallelism().map_or(0, |count| count.get() as u32),
        machine_id: parse_id(&read_line("/etc/machine-id")),
        os: fs::read_to_string("/etc/os-release").map(|text| pretty_name(&text)).unwrap_or_default(),
        namespace_device: fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.dev()),
    }
}

/// True when `/proc` numbers processes as the kernel programs do; false inside a container's pid namespace.
pub(crate) fn in_initial_pid_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|target| target == Path::new(INITIAL_PID_NAMESPACE))
}

/// This process's id as the kernel programs see it; `None` inside a container's pid namespace, where it isn't told.
pub(crate) fn kernel_pid() -> Option<u32> {
    in_initial_pid_namespace().then(std::process::id)
}

fn read_line(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default()
}

/// The 16 bytes of an id in hexadecimal with or without hyphens; empty when it is none.
fn parse_id(text: &str) -> Vec<u8> {
    uuid::Uuid::try_parse(text).map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

fn pretty_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    value.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_bytes_or_none() {
        assert_eq!(parse_id("d9201cd3-1885-4834-8601-6a8dc189218f").len(), 16);
        assert_eq!(parse_id("d9201cd31885483486016a8dc189218f")[..2], [0xd9, 0x20]);
        assert!(parse_id("").is_empty());
        assert!(parse_id("uninitialized").is_empty());
    }

    #[test]
    fn the_name_of_the_system_loses_its_quotes() {
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        assert_eq!(pretty_name("ID=alpine\n"), "");
    }

    #[test]
    fn this_host_has_a_kernel_and_a_boot() {
        let host = describe();
        assert_eq!(host.boot_id.len(), 16);
        assert!(host.cpu_count > 0 && !host.kernel_release.is_empty());
        assert_ne!(host.namespace_device, 0);
    }
}
