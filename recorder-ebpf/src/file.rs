//! Files and open descriptors in records.

use crate::ProcessKey;

/// What is known of an open file. Its path follows the record: the names from the file up to the root of its mount
/// namespace, each ended by NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FileFacts {
    /// `inode.i_ino`.
    pub inode: u64,
    /// Change time of the inode, nanoseconds since 1970.
    pub ctime_ns: u64,
    /// Who changed it first while recording; `pid` 0 when nobody is known to have.
    pub modifier: ProcessKey,
    /// `super_block.s_dev`: major << 20 | minor.
    pub device: u32,
    /// Type and permissions (`inode.i_mode`).
    pub mode: u16,
    /// `FILE_FLAG_*`; 0 when there is no file.
    pub flags: u16,
    /// Bytes of path that follow the record.
    pub path_len: u32,
    /// Zero.
    pub reserved: u32,
}

/// There is a file.
pub const FILE_FLAG_PRESENT: u16 = 1 << 0;
/// The path is longer than what was recorded: its beginning is missing.
pub const FILE_FLAG_PATH_CUT: u16 = 1 << 1;
/// It lies in an overlay file system.
pub const FILE_FLAG_OVERLAY: u16 = 1 << 2;
/// It has a file in the overlay's upper layer: it was made there, or changed and therefore copied up.
pub const FILE_FLAG_UPPER: u16 = 1 << 3;
/// It only has a file in a lower layer.
pub const FILE_FLAG_LOWER: u16 = 1 << 4;
/// It is a socket.
pub const FILE_FLAG_SOCKET: u16 = 1 << 5;
/// No directory holds it (any more): `inode.i_nlink` is 0.
pub const FILE_FLAG_DELETED: u16 = 1 << 6;
/// The path is a name alone, as memfd_create(2) gives one.
pub const FILE_FLAG_NAME_ALONE: u16 = 1 << 7;

/// Both ends of a socket. All 0 for what isn't an internet socket, but for the family.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct SocketEnds {
    /// `sock_gen_cookie`; 0 when nobody asked for it yet.
    pub cookie: u64,
    /// Address bytes in network order; IPv4 in the first four.
    pub local_address: [u8; 16],
    /// As `local_address`.
    pub remote_address: [u8; 16],
    /// Host order.
    pub local_port: u16,
    /// Host order; 0 without a peer.
    pub remote_port: u16,
    /// `AF_*`.
    pub family: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
}

/// What a standard stream is connected to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct StreamFacts {
    /// The file, socket or pipe.
    pub file: FileFacts,
    /// With [`FILE_FLAG_SOCKET`].
    pub socket: SocketEnds,
}

/// Most bytes of a path; names nearer to the root are left out.
pub const PATH_LEN_MAX: u32 = 1024;
