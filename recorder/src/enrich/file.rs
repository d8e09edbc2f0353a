//! Files and descriptors of ring records as messages.

use kcap_format::proto::{Descriptor, File, SocketEnds, file::Layer};
use kcap_recorder_ebpf as ebpf;

use super::event::process_id;

/// Bits of the minor number in the kernel's `dev_t`.
const MINOR_BITS: u32 = 20;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A file; `None` when there is none. `path` has its names from the leaf up, each ended by NUL.
pub(super) fn file(facts: &ebpf::FileFacts, path: &[u8]) -> Option<File> {
    let has = |flag| facts.flags & flag != 0;
    let layer = if !has(ebpf::FILE_FLAG_OVERLAY) {
        Layer::Unspecified
    } else if has(ebpf::FILE_FLAG_UPPER) {
        Layer::Upper
    } else if has(ebpf::FILE_FLAG_LOWER) {
        Layer::Lower
    } else {
        Layer::Unknown
    };
    has(ebpf::FILE_FLAG_PRESENT).then(|| File {
        path: if has(ebpf::FILE_FLAG_NAME_ALONE) { name_alone(path) } else { join(path) },
        path_truncated: has(ebpf::FILE_FLAG_PATH_CUT),
        inode: facts.inode,
        device_major: facts.device >> MINOR_BITS,
        device_minor: facts.device & ((1 << MINOR_BITS) - 1),
        ctime_ns: facts.ctime_ns,
        layer: layer.into(),
        modified_by: process_id(&facts.modifier),
        deleted: has(ebpf::FILE_FLAG_DELETED),
    })
}

/// What a descriptor is; `None` when it is closed.
pub(super) fn descriptor(facts: &ebpf::StreamFacts, path: &[u8]) -> Option<Descriptor> {
    let file = file(&facts.file, path)?;
    let is_socket = facts.file.flags & ebpf::FILE_FLAG_SOCKET != 0;
    Some(Descriptor {
        mode: u32::from(facts.file.mode),
        file: Some(file),
        socket: is_socket.then(|| ends(&facts.socket)),
    })
}

fn ends(facts: &ebpf::SocketEnds) -> SocketEnds {
    let address = |bytes: &[u8; 16], port: u16| match facts.family {
        AF_INET | AF_INET6 if *bytes == [0; 16] && port == 0 => Vec::new(),
        AF_INET => bytes[..4].to_vec(),
        AF_INET6 => bytes.to_vec(),
        _ => Vec::new(),
    };
    SocketEnds {
        cookie: facts.cookie,
        family: u32::from(facts.family),
        protocol: u32::from(facts.protocol),
        local_address: address(&facts.local_address, facts.local_port),
        local_port: u32::from(facts.local_port),
        remote_address: address(&facts.remote_address, facts.remote_port),
        remote_port: u32::from(facts.remote_port),
    }
}

/// A path from its names, the last one first.
fn join(names: &[u8]) -> Vec<u8> {
    let Some(names) = names.strip_suffix(&[0]) else { return Vec::new() };
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.rsplit(|byte| *byte == 0) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

fn name_alone(path: &[u8]) -> Vec<u8> {
    path.strip_suffix(&[0]).unwrap_or(path).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebpf::{FILE_FLAG_OVERLAY, FILE_FLAG_PRESENT, FILE_FLAG_SOCKET, FILE_FLAG_UPPER, FileFacts};

    #[test]
    fn paths_are_put_together_from_the_root() {
        assert_eq!(join(b"ls\0bin\0usr\0"), b"/usr/bin/ls");
        assert_eq!(join(b"\xff name\0"), b"/\xff name");
        assert_eq!(join(b""), b"");
        assert_eq!(name_alone(b"memfd:x\0"), b"memfd:x");
    }

    #[test]
    fn devices_and_layers_are_those_of_linux() {
        let facts = FileFacts {
            device: 8 << 20 | 3,
            flags: FILE_FLAG_PRESENT | FILE_FLAG_OVERLAY | FILE_FLAG_UPPER,
            ..FileFacts::default()
        };
        let found = file(&facts, b"x\0").unwrap();
        assert_eq!((found.device_major, found.device_minor, found.layer()), (8, 3, Layer::Upper));
        assert_eq!(file(&FileFacts { flags: 0, ..facts }, b""), None);
    }

    #[test]
    fn a_stream_that_is_a_socket_has_both_ends() {
        let mut facts = ebpf::StreamFacts::default();
        facts.file.flags = FILE_FLAG_PRESENT | FILE_FLAG_SOCKET;
        facts.socket = ebpf::SocketEnds { family: AF_INET, local_port: 80, cookie: 9, ..facts.socket };
        facts.socket.local_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        let socket = descriptor(&facts, b"").unwrap().socket.unwrap();
        assert_eq!((socket.local_address.as_slice(), socket.local_port), (&[127, 0, 0, 1][..], 80));
        assert_eq!((socket.remote_address.len(), socket.cookie), (0, 9));
    }
}
