//! What `/proc` tells of a process's namespaces, binary and standard streams (proc(5)).

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kcap_format::proto::{Descriptor, File, Namespaces, Streams, file::Layer};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use rustc_hash::FxHashMap;

use super::socket::inode_of;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
/// What `/proc` adds to the path of a file that no directory holds any more.
const DELETED: &[u8] = b" (deleted)";
/// `S_IFMT` and `S_IFSOCK` of inode(7).
const TYPE_MASK: u32 = 0o170_000;
const TYPE_SOCKET: u32 = 0o140_000;

/// A process's pid namespace and its ids from the outermost namespace that this one sees to its own.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pid_namespace: u32,
    own_pid: u32,
}

/// Ids of all processes that were read, by pid: parents are looked up in it.
pub(super) type IdsOfAll = FxHashMap<u32, Ids>;

/// The ids that a process has, from its folder and the text of its `status`.
pub(super) fn ids(folder: &Path, status: &[u8]) -> Ids {
    let text = String::from_utf8_lossy(status);
    let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ids {
        pid_namespace: namespace(folder, "pid"),
        own_pid: numbers
            .and_then(|numbers| numbers.split_ascii_whitespace().next_back()?.parse().ok())
            .unwrap_or(0),
    }
}

/// Namespaces of process `pid`, whose parent is `parent`.
pub(super) fn namespaces(folder: &Path, all: &IdsOfAll, pid: u32, parent: u32) -> Option<Namespaces> {
    let own = all.get(&pid).filter(|own| own.pid_namespace != 0)?;
    // One that isn't in this namespace is outside: none below it can be a parent of this process.
    let parent_pid = all
        .get(&parent)
        .filter(|parent| parent.pid_namespace == own.pid_namespace)
        .map_or(0, |parent| parent.own_pid);
    Some(Namespaces {
        pid_namespace: own.pid_namespace,
        mount_namespace: namespace(folder, "mnt"),
        pid: own.own_pid,
        parent_pid,
    })
}

/// Whether a process was put into its pid namespace from outside; see [`super::session`].
pub(super) fn entered(namespaces: &Namespaces, all: &IdsOfAll, parent: u32) -> bool {
    let parent = all.get(&parent).map_or(0, |parent| parent.pid_namespace);
    parent != 0 && parent != namespaces.pid_namespace && namespaces.pid != 1
}

/// The file that a process executes; `None` for kernel threads and for what may not be looked at.
pub(super) fn binary(folder: &Path) -> Option<File> {
    open_file(&folder.join("exe")).ok().map(|(file, _)| file)
}

/// Standard input, output and error, sockets without their addresses.
pub(super) fn streams(folder: &Path) -> Streams {
    let descriptor = |number: &str| {
        let (file, mode) = open_file(&folder.join("fd").join(number)).ok()?;
        Some(Descriptor { mode, file: Some(file), socket: None })
    };
    Streams { stdin: descriptor("0"), stdout: descriptor("1"), stderr: descriptor("2") }
}

/// The inodes of a process's streams that are sockets, and where their addresses go.
pub(super) fn sockets(streams: &mut Streams) -> impl Iterator<Item = (u64, &mut Descriptor)> {
    let Streams { stdin, stdout, stderr } = streams;
    [stdin, stdout, stderr].into_iter().flatten().filter_map(|descriptor| {
        let inode = descriptor.file.as_ref()?.inode;
        (descriptor.mode & TYPE_MASK == TYPE_SOCKET).then_some((inode, descriptor))
    })
}

/// What a link of `/proc` leads to, with its mode.
fn open_file(link: &Path) -> io::Result<(File, u32)> {
    let target = fs::read_link(link)?.into_os_string();
    let found = fs::metadata(link)?;
    let deleted = found.nlink() == 0;
    let mut path = target.as_bytes();
    if deleted {
        path = path.strip_suffix(DELETED).unwrap_or(path);
    }
    // Of pipes and sockets the link names the kind and the inode.
    let is_path = path.starts_with(b"/");
    let overlay =
        is_path && statfs(link).is_ok_and(|system| system.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    let (seconds, nanoseconds) = (found.ctime().cast_unsigned(), found.ctime_nsec().cast_unsigned());
    let file = File {
        path: if is_path { path.to_vec() } else { Vec::new() },
        inode: found.ino(),
        device_major: libc::major(found.dev()),
        device_minor: libc::minor(found.dev()),
        ctime_ns: seconds.wrapping_mul(NANOSECONDS_PER_SECOND).wrapping_add(nanoseconds),
        layer: if overlay { Layer::Unknown } else { Layer::Unspecified }.into(),
        deleted,
        ..File::default()
    };
    Ok((file, found.mode()))
}

/// Inode of a namespace; 0 when it may not be looked at.
fn namespace(folder: &Path, kind: &str) -> u32 {
    let target = fs::read_link(folder.join("ns").join(kind)).ok();
    let inode = target.and_then(|target| inode_of(&target, &format!("{kind}:[")));
    inode.and_then(|inode| u32::try_from(inode).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> IdsOfAll {
        let ids = |pid_namespace, own_pid| Ids { pid_namespace, own_pid };
        [(1, ids(10, 1)), (50, ids(10, 50)), (60, ids(20, 1)), (61, ids(20, 2)), (62, ids(20, 3))]
            .into_iter()
            .collect()
    }

    #[test]
    fn parents_outside_have_no_number() {
        let (folder, all) = (Path::new("/nonexistent"), all());
        let find = |pid, parent| {
            let namespaces = namespaces(folder, &all, pid, parent).unwrap();
            (namespaces.pid, namespaces.parent_pid, entered(&namespaces, &all, parent))
        };
        assert_eq!(find(50, 1), (50, 1, false));
        assert_eq!(find(60, 50), (1, 0, false), "a container's first process");
        assert_eq!(find(61, 60), (2, 1, false));
        assert_eq!(find(62, 50), (3, 0, true), "put there from outside");
        assert_eq!(namespaces(folder, &all, 99, 1), None);
    }

    #[test]
    fn this_process_has_a_binary_and_streams() {
        let folder = Path::new("/proc/self");
        let binary = binary(folder).unwrap();
        let found = fs::metadata(std::env::current_exe().unwrap()).unwrap();
        assert_eq!((binary.inode, binary.deleted), (found.ino(), false));
        assert_eq!(binary.path, std::env::current_exe().unwrap().as_os_str().as_bytes());
        assert!(binary.ctime_ns > 1_500_000_000 * NANOSECONDS_PER_SECOND);
        let status = fs::read("/proc/self/status").unwrap();
        let ids = ids(folder, &status);
        assert!(ids.pid_namespace > 0 && ids.own_pid == std::process::id());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let streams = streams(&Path::new("/proc").join(child.id().to_string()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(streams.stdout.unwrap().file.unwrap().path, b"/dev/null");
        let stdin = streams.stdin.unwrap();
        assert_eq!((stdin.mode & TYPE_MASK, stdin.file.unwrap().path.len()), (0o010_000, 0), "a pipe");
    }
}
