//! What can be learned of the system without loading anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability};

use super::Error;

/// Oldest kernel that the programs are made for: 5.8 has ring buffers, 5.10 is the first long-term one after it.
pub const KERNEL_MIN: (u32, u32) = (5, 10);
const KERNEL_MIN_TEXT: &str = "5.10";

/// First kernel with links for cgroup programs, which end with the process that made them.
pub(super) const CGROUP_LINKS_MIN: (u32, u32) = (5, 7);

/// Capabilities for loading (`CAP_BPF`), reading kernel memory (`CAP_PERFMON`), and programs of the network
/// (`CAP_NET_ADMIN`). `CAP_SYS_ADMIN` stands for all of them.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_NET_ADMIN];

/// Release of the running kernel as text, and its first two numbers.
pub fn kernel_version() -> Result<(String, (u32, u32)), Error> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    let text = text.trim().to_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Ok((text, version))
}

/// Refuses kernels before [`KERNEL_MIN`].
pub(super) fn check_kernel() -> Result<(u32, u32), Error> {
    let (found, version) = kernel_version()?;
    if version < KERNEL_MIN {
        Err(Error::KernelTooOld { found, required: KERNEL_MIN_TEXT })
    } else {
        Ok(version)
    }
}

/// Names of the capabilities that are missing; none when loading is allowed.
pub fn missing_capabilities() -> Vec<String> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if has(Capability::CAP_SYS_ADMIN) && has(Capability::CAP_NET_ADMIN) {
        return Vec::new();
    }
    NEEDED
        .into_iter()
        .filter(|capability| !has(*capability))
        .map(|capability| capability.to_string())
        .collect()
}

/// Refuses a process that may not load programs.
pub(super) fn check_permission() -> Result<(), Error> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(Error::NotPermitted { missing: missing.join(", ") }) }
}

/// Where the cgroup2 hierarchy is mounted.
pub fn cgroup2_mount() -> Result<PathBuf, Error> {
    let path = Path::new("/proc/self/mounts");
    let mounts = fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    parse_cgroup2_mount(&mounts).ok_or(Error::NoCgroup2)
}

/// The first mount of type `cgroup2` in the text of `/proc/self/mounts` (fstab(5)).
fn parse_cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| unescape(point).into())
    })
}

/// Blanks and backslashes are octal in fstab(5).
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Interface index of `lo`.
pub(super) fn loopback_index() -> Result<u32, Error> {
    let path = Path::new("/sys/class/net/lo/ifindex");
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    text.trim().parse().map_err(|error| Error::File { path: path.into(), source: io::Error::other(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_cgroup2_wherever_it_is() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(parse_cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let odd = "none /mnt/with\\040blank cgroup2 rw 0 0\n";
        assert_eq!(parse_cgroup2_mount(odd), Some("/mnt/with blank".into()));
        assert_eq!(parse_cgroup2_mount("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn reads_the_version() {
        let (text, (major, _)) = kernel_version().unwrap();
        assert!(text.starts_with(&major.to_string()));
    }
}
