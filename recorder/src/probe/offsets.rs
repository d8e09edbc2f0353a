//! The offsets that the programs read at.

use kcap_recorder_ebpf::{OFFSET_NONE, Offsets};

use super::{Btf, Error};

/// Where kernels keep seconds and nanoseconds of an inode's change time, newest first (6.11, 6.6).
const CHANGE_TIMES: [(&str, &str); 3] = [
    ("inode.i_ctime_sec", "inode.i_ctime_nsec"),
    ("inode.__i_ctime.tv_sec", "inode.__i_ctime.tv_nsec"),
    ("inode.i_ctime.tv_sec", "inode.i_ctime.tv_nsec"),
];

/// Finds all fields; refuses when one is missing without which records would be wrong.
pub(super) fn find(btf: &Btf) -> Result<Offsets, Error> {
    // Without these only details are missing, or speed: overlays may be a module, and IPv6 may be compiled out.
    let optional = |path| btf.offset(path).unwrap_or(OFFSET_NONE);
    let change_time = CHANGE_TIMES.iter().find(|(seconds, _)| btf.offset(seconds).is_ok());
    let change_time = change_time.unwrap_or(&CHANGE_TIMES[0]);
    Ok(Offsets {
        task_tgid: btf.offset("task_struct.tgid")?,
        task_pid: btf.offset("task_struct.pid")?,
        task_group_leader: btf.offset("task_struct.group_leader")?,
        task_start_boottime: btf.offset("task_struct.start_boottime")?,
        task_real_parent: btf.offset("task_struct.real_parent")?,
        task_mm: btf.offset("task_struct.mm")?,
        task_signal: btf.offset("task_struct.signal")?,
        task_exit_code: btf.offset("task_struct.exit_code")?,
        signal_live: btf.offset("signal_struct.live")?,
        mm_arg_start: btf.offset("mm_struct.arg_start")?,
        mm_arg_end: btf.offset("mm_struct.arg_end")?,
        mm_env_start: btf.offset("mm_struct.env_start")?,
        mm_env_end: btf.offset("mm_struct.env_end")?,
        mm_start_code: btf.offset("mm_struct.start_code")?,
        mm_end_code: btf.offset("mm_struct.end_code")?,
        binprm_filename: btf.offset("linux_binprm.filename")?,
        binprm_file: btf.offset("linux_binprm.file")?,
        task_thread_pid: btf.offset("task_struct.thread_pid")?,
        task_nsproxy: btf.offset("task_struct.nsproxy")?,
        task_cgroups: btf.offset("task_struct.cgroups")?,
        task_files: btf.offset("task_struct.files")?,
        pid_level: btf.offset("pid.level")?,
        pid_numbers: btf.offset("pid.numbers")?,
        upid_ns: btf.offset("upid.ns")?,
        pid_namespace_inum: btf.offset("pid_namespace.ns.inum")?,
        nsproxy_mnt_ns: btf.offset("nsproxy.mnt_ns")?,
        mnt_namespace_inum: btf.offset("mnt_namespace.ns.inum")?,
        css_set_dfl_cgrp: btf.offset("css_set.dfl_cgrp")?,
        files_fdt: btf.offset("files_struct.fdt")?,
        fdtable_max_fds: btf.offset("fdtable.max_fds")?,
        fdtable_fd: btf.offset("fdtable.fd")?,
        file_inode: btf.offset("file.f_inode")?,
        file_path_mnt: btf.offset("file.f_path.mnt")?,
        file_path_dentry: btf.offset("file.f_path.dentry")?,
        inode_mode: btf.offset("inode.i_mode")?,
        inode_ino: btf.offset("inode.i_ino")?,
        inode_nlink: btf.offset("inode.i_nlink")?,
        inode_sb: btf.offset("inode.i_sb")?,
        inode_ctime_sec: btf.offset(change_time.0)?,
        inode_ctime_nsec: btf.offset(change_time.1)?,
        super_block_dev: btf.offset("super_block.s_dev")?,
        super_block_magic: btf.offset("super_block.s_magic")?,
        dentry_parent: btf.offset("dentry.d_parent")?,
        dentry_name: btf.offset("dentry.d_name.name")?,
        dentry_inode: btf.offset("dentry.d_inode")?,
        mount_parent: btf.offset("mount.mnt_parent")?,
        mount_mountpoint: btf.offset("mount.mnt_mountpoint")?,
        mount_mnt: btf.offset("mount.mnt")?,
        vfsmount_root: btf.offset("vfsmount.mnt_root")?,
        ovl_inode_vfs_inode: optional("ovl_inode.vfs_inode"),
        ovl_inode_upper: optional("ovl_inode.__upperdentry"),
        socket_alloc_vfs_inode: btf.offset("socket_alloc.vfs_inode")?,
        socket_alloc_sk: btf.offset("socket_alloc.socket.sk")?,
        sock_local_v4: btf.offset("sock.__sk_common.skc_rcv_saddr")?,
        sock_remote_v4: btf.offset("sock.__sk_common.skc_daddr")?,
        sock_local_v6: optional("sock.__sk_common.skc_v6_rcv_saddr"),
        sock_remote_v6: optional("sock.__sk_common.skc_v6_daddr"),
        sock_local_port: btf.offset("sock.__sk_common.skc_num")?,
        sock_remote_port: btf.offset("sock.__sk_common.skc_dport")?,
        vma_flags: btf.offset("vm_area_struct.vm_flags")?,
        vma_file: btf.offset("vm_area_struct.vm_file")?,
        sk_buff_sk: optional("sk_buff.sk"),
        sock_family: btf.offset("sock.__sk_common.skc_family")?,
        sock_cookie: btf.offset("sock.__sk_common.skc_cookie")?,
        // A kernel without network namespaces has only one: it needs no cookie.
        sock_net: btf.offset("sock.__sk_common.skc_net.net").unwrap_or(OFFSET_NONE),
        sock_type: btf.offset("sock.sk_type")?,
        sock_protocol: btf.offset("sock.sk_protocol")?,
        net_cookie: match btf.offset("sock.__sk_common.skc_net.net") {
            Ok(_) => btf.offset("net.net_cookie").unwrap_or(OFFSET_NONE),
            Err(_) => OFFSET_NONE,
        },
        cgroup_kn: btf.offset("cgroup.kn")?,
        cgroup_root: btf.offset("cgroup.root")?,
        cgroup_root_hierarchy_id: btf.offset("cgroup_root.hierarchy_id")?,
        kernfs_node_id: btf.offset("kernfs_node.id")?,
        cgroup_self: btf.offset("cgroup.self")?,
        cgroup_self_parent: btf.offset("cgroup.self.parent")?,
        task_comm: btf.offset("task_struct.comm")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_all_fields() {
        match Btf::of_kernel() {
            Ok(btf) => {
                let offsets = find(&btf).unwrap();
                assert_eq!(offsets.task_tgid, offsets.task_pid + 4);
                assert_ne!(offsets.mm_arg_end, offsets.mm_arg_start);
            }
            Err(error) => println!("skipped: {error}"),
        }
    }
}
