//! The offsets that the programs read at.

use kcap_recorder_ebpf::{OFFSET_NONE, Offsets};

use super::{Btf, Error};

/// Finds all fields; refuses when one is missing without which records would be wrong.
pub(super) fn find(btf: &Btf) -> Result<Offsets, Error> {
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
        binprm_filename: btf.offset("linux_binprm.filename")?,
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
        task_cgroups: btf.offset("task_struct.cgroups")?,
        css_set_dfl_cgrp: btf.offset("css_set.dfl_cgrp")?,
        binprm_file: btf.offset("linux_binprm.file")?,
        file_inode: btf.offset("file.f_inode")?,
        inode_ino: btf.offset("inode.i_ino")?,
        inode_sb: btf.offset("inode.i_sb")?,
        super_block_dev: btf.offset("super_block.s_dev")?,
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
