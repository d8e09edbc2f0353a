//! Files: inode, layer, path, and who changed them.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use kcap_recorder_ebpf::{
    FILE_FLAG_DELETED, FILE_FLAG_LOWER, FILE_FLAG_NAME_ALONE, FILE_FLAG_OVERLAY, FILE_FLAG_PATH_CUT,
    FILE_FLAG_PRESENT, FILE_FLAG_SOCKET, FILE_FLAG_UPPER, FileFacts, OFFSET_NONE, PATH_LEN_MAX,
};

use super::{bound::masked, change::first_change, scratch::NAME_LEN, settings::setting, task::read_field};

/// Directories and mounts between a file and the root of its namespace that are followed.
const PATH_STEPS_MAX: u32 = 64;
/// Set in what [`walk`] returns when the path didn't fit.
const PATH_CUT: u32 = 1 << 31;
/// Set when what was written is no path, but the name of a file that no directory holds.
const NAME_ALONE: u32 = 1 << 30;

/// `OVERLAYFS_SUPER_MAGIC` and `SOCKFS_MAGIC` of the kernel's `include/uapi/linux/magic.h`.
const OVERLAY_MAGIC: u64 = 0x794c_7630;
const SOCKET_MAGIC: u64 = 0x534f_434b;
/// The kernel's flag in `i_ctime_nsec` for times that somebody looked at (`I_CTIME_QUERIED`).
const CTIME_NSEC_MASK: u32 = 0x7fff_ffff;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// Which file an inode is, for as long as it exists.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct FileKey {
    pub(super) inode: u64,
    pub(super) device: u64,
}

/// The key of a `struct inode`.
#[inline(always)]
pub(super) fn key_of(inode: u64) -> FileKey {
    let super_block = read_field::<u64>(inode, setting!(offsets.inode_sb));
    FileKey {
        inode: read_field(inode, setting!(offsets.inode_ino)),
        device: u64::from(read_field::<u32>(super_block, setting!(offsets.super_block_dev))),
    }
}

/// Fills in what is known of a `struct file`, and writes its path to `path`, which has room for [`PATH_LEN_MAX`] and
/// [`NAME_LEN`] bytes. Returns the length of the path, below [`PATH_LEN_MAX`].
#[inline(never)]
pub(super) unsafe fn describe(file: u64, facts: *mut FileFacts, path: *mut u8) -> u32 {
    // SAFETY: the caller's facts and path have the room.
    unsafe {
        facts.write(FileFacts::default());
        if file == 0 {
            return 0;
        }
        let inode = read_field::<u64>(file, setting!(offsets.file_inode));
        let super_block = read_field::<u64>(inode, setting!(offsets.inode_sb));
        let magic = read_field::<u64>(super_block, setting!(offsets.super_block_magic));
        (*facts).inode = read_field(inode, setting!(offsets.inode_ino));
        (*facts).device = read_field(super_block, setting!(offsets.super_block_dev));
        (*facts).mode = read_field(inode, setting!(offsets.inode_mode));
        let seconds = read_field::<u64>(inode, setting!(offsets.inode_ctime_sec));
        let nanoseconds = read_field::<u32>(inode, setting!(offsets.inode_ctime_nsec)) & CTIME_NSEC_MASK;
        (*facts).ctime_ns = seconds.wrapping_mul(NANOSECONDS_PER_SECOND).wrapping_add(u64::from(nanoseconds));
        let mut flags = FILE_FLAG_PRESENT;
        let mut changed = inode;
        if magic == SOCKET_MAGIC {
            (*facts).flags = flags | FILE_FLAG_SOCKET;
            return 0;
        }
        if magic == OVERLAY_MAGIC {
            flags |= FILE_FLAG_OVERLAY;
            if setting!(offsets.ovl_inode_upper) != OFFSET_NONE {
                let overlay = inode.wrapping_sub(u64::from(setting!(offsets.ovl_inode_vfs_inode)));
                let upper = read_field::<u64>(overlay, setting!(offsets.ovl_inode_upper));
                if upper == 0 {
                    flags |= FILE_FLAG_LOWER;
                } else {
                    flags |= FILE_FLAG_UPPER;
                    // Changes reach the file in the layer.
                    changed = read_field(upper, setting!(offsets.dentry_inode));
                }
            }
        }
        if read_field::<u32>(inode, setting!(offsets.inode_nlink)) == 0 {
            flags |= FILE_FLAG_DELETED;
        }
        (*facts).modifier = first_change(changed);
        let mount = read_field::<u64>(file, setting!(offsets.file_path_mnt));
        let dentry = read_field::<u64>(file, setting!(offsets.file_path_dentry));
        let walked = walk(mount, dentry, path);
        if walked & PATH_CUT != 0 {
            flags |= FILE_FLAG_PATH_CUT;
        }
        if walked & NAME_ALONE != 0 {
            flags |= FILE_FLAG_NAME_ALONE;
        }
        (*facts).flags = flags;
        let len = masked(walked, PATH_LEN_MAX - 1);
        (*facts).path_len = len;
        len
    }
}

/// Writes the names from `dentry` up to the root of the mount namespace, each ended by NUL (`prepend_path` of the
/// kernel's `fs/d_path.c`, the other way round). `mount` is a `vfsmount`.
#[inline(never)]
unsafe fn walk(mount: u64, dentry: u64, path: *mut u8) -> u32 {
    let (mut mount, mut dentry, mut len) = (mount, dentry, 0u32);
    for _ in 0..PATH_STEPS_MAX {
        if dentry == read_field(mount, setting!(offsets.vfsmount_root)) {
            let outer = mount.wrapping_sub(u64::from(setting!(offsets.mount_mnt)));
            let parent = read_field::<u64>(outer, setting!(offsets.mount_parent));
            if parent == outer || parent == 0 {
                return len;
            }
            dentry = read_field(outer, setting!(offsets.mount_mountpoint));
            mount = parent.wrapping_add(u64::from(setting!(offsets.mount_mnt)));
            continue;
        }
        let parent = read_field::<u64>(dentry, setting!(offsets.dentry_parent));
        let is_root = parent == dentry || parent == 0;
        let name = read_field::<u64>(dentry, setting!(offsets.dentry_name));
        // SAFETY: the caller's path has room for a whole name behind the longest path.
        let read = unsafe {
            let target = path.add(masked(len, PATH_LEN_MAX - 1) as usize);
            bpf_probe_read_kernel_str(target.cast(), NAME_LEN, name as *const _)
        };
        // Files that no directory holds, as pipes and those of memfd_create(2), are their own root and have a name.
        if is_root {
            // The helper counts the NUL that it writes: a name of nothing or of "/" says nothing.
            let named = len == 0 && read > 2;
            return if named { masked(read as u32, PATH_LEN_MAX - 1) | NAME_ALONE } else { len };
        }
        // A name that can't be read makes this huge, as one that is too long.
        let longer = u64::from(len) + u64::from(read as u32);
        if longer >= u64::from(PATH_LEN_MAX) {
            return len | PATH_CUT;
        }
        len = masked(longer as u32, PATH_LEN_MAX - 1);
        dentry = parent;
    }
    len | PATH_CUT
}
