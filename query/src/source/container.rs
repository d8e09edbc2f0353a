//! Which container a cgroup belongs to.

/// Digits of the ids that Docker, containerd, CRI-O and Podman give.
const ID_DIGITS: usize = 64;

/// The container's id in a path below the cgroup2 root: the last part of the path that has one in it, as in
/// `/system.slice/docker-<id>.scope`, `/kubepods.slice/…/cri-containerd-<id>.scope`, `/docker/<id>`,
/// `/machine.slice/libpod-<id>.scope`.
pub(super) fn container_id(cgroup_path: &str) -> Option<&str> {
    cgroup_path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let start = part.len().checked_sub(ID_DIGITS)?;
        let id = part.get(start..)?;
        let begins = start == 0 || part[..start].ends_with(['-', ':']);
        (begins && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::container_id;

    #[test]
    fn ids_of_common_runtimes() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/docker/{id}"),
            format!("/docker/{id}/init.scope"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods/burstable/pod1/{id}"),
        ] {
            assert_eq!(container_id(&path), Some(id.as_str()), "{path}");
        }
        for path in ["/", "/user.slice/user-0.slice/session-1.scope", &format!("/x{id}"), &id[1..]] {
            assert_eq!(container_id(path), None, "{path}");
        }
    }
}
