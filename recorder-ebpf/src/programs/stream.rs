//! What the standard streams of a process are connected to.

use kcap_recorder_ebpf::{FILE_FLAG_SOCKET, SocketEnds, StreamFacts};

use super::{file, settings::setting, task::read_field};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The table of open files.
pub(super) struct Files {
    files: u64,
    count: u32,
}

/// The open files of a task.
#[inline(always)]
pub(super) fn files_of(task: u64) -> Files {
    let files = read_field::<u64>(task, setting!(offsets.task_files));
    let table = read_field::<u64>(files, setting!(offsets.files_fdt));
    Files {
        files: read_field(table, setting!(offsets.fdtable_fd)),
        count: read_field(table, setting!(offsets.fdtable_max_fds)),
    }
}

/// Fills in what is known of a descriptor; as [`file::describe`].
#[inline(always)]
pub(super) unsafe fn describe(files: &Files, descriptor: u32, facts: *mut StreamFacts, path: *mut u8) -> u32 {
    let open = descriptor < files.count;
    let file = if open { read_field::<u64>(files.files, descriptor * size_of::<u64>() as u32) } else { 0 };
    // SAFETY: the caller's facts and path have the room.
    unsafe {
        let path_len = file::describe(file, &raw mut (*facts).file, path);
        (&raw mut (*facts).socket).write(SocketEnds::default());
        if (*facts).file.flags & FILE_FLAG_SOCKET != 0 {
            let inode = read_field::<u64>(file, setting!(offsets.file_inode));
            let allocated = inode.wrapping_sub(u64::from(setting!(offsets.socket_alloc_vfs_inode)));
            ends(read_field(allocated, setting!(offsets.socket_alloc_sk)), &raw mut (*facts).socket);
        }
        path_len
    }
}

/// Fills in both ends of a `struct sock`.
#[inline(always)]
unsafe fn ends(sock: u64, ends: *mut SocketEnds) {
    let family = read_field::<u16>(sock, setting!(offsets.sock_family));
    // SAFETY: the caller's record has room for the ends; addresses lie four-byte aligned in it.
    unsafe {
        (*ends).family = family;
        (*ends).cookie = read_field(sock, setting!(offsets.sock_cookie));
        (*ends).protocol = read_field(sock, setting!(offsets.sock_protocol));
        match family {
            AF_INET => {
                (&raw mut (*ends).local_address)
                    .cast::<u32>()
                    .write(read_field(sock, setting!(offsets.sock_local_v4)));
                (&raw mut (*ends).remote_address)
                    .cast::<u32>()
                    .write(read_field(sock, setting!(offsets.sock_remote_v4)));
            }
            AF_INET6 => {
                (*ends).local_address = read_field(sock, setting!(offsets.sock_local_v6));
                (*ends).remote_address = read_field(sock, setting!(offsets.sock_remote_v6));
            }
            _ => return,
        }
        (*ends).local_port = read_field(sock, setting!(offsets.sock_local_port));
        (*ends).remote_port = u16::from_be(read_field(sock, setting!(offsets.sock_remote_port)));
    }
}
