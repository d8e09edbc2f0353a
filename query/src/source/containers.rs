//! The containers that a segment tells of, and which one a cgroup belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use kcap_format::proto::{self, event::Event as Kind};

/// Digits of the ids that Docker, containerd, CRI-O and Podman give.
const ID_DIGITS: usize = 64;

/// Containers by their cgroups.
#[derive(Debug, Default)]
pub struct Containers {
    by_id: HashMap<String, Arc<proto::Container>>,
    /// Paths of cgroups, and the ids of their containers where the recorder told them.
    cgroups: HashMap<u64, (Vec<u8>, String)>,
}

impl Containers {
    /// Takes in what an event tells of cgroups and containers.
    pub fn learn(&mut self, event: &proto::Event) {
        match &event.event {
            Some(Kind::Container(container)) => {
                self.by_id.insert(container.id.clone(), Arc::new(container.clone()));
            }
            Some(Kind::Cgroup(cgroup)) if !cgroup.path.is_empty() => {
                self.cgroups.insert(cgroup.id, (cgroup.path.clone(), cgroup.container_id.clone()));
            }
            Some(Kind::CgroupAttach(attach)) if !attach.cgroup_path.is_empty() => {
                self.learn_path(attach.cgroup_id, &attach.cgroup_path);
            }
            _ => {}
        }
    }

    /// Takes in the path of a cgroup, as a process told it.
    pub fn learn_path(&mut self, cgroup_id: u64, path: &[u8]) {
        if cgroup_id != 0 && !path.is_empty() {
            self.cgroups.entry(cgroup_id).or_insert_with(|| (path.to_vec(), String::new()));
        }
    }

    /// The path of a cgroup below the root of the hierarchy.
    #[must_use]
    pub fn path(&self, cgroup_id: u64) -> Option<&[u8]> {
        self.cgroups.get(&cgroup_id).map(|(path, _)| path.as_slice())
    }

    /// The container of a cgroup, given by its id or, when that is unknown, by its path. Of one that no runtime told of,
    /// only the id is known.
    #[must_use]
    pub fn of_cgroup(&self, cgroup_id: u64, path: &[u8]) -> Option<Arc<proto::Container>> {
        let (path, told) =
            self.cgroups.get(&cgroup_id).map_or((path, ""), |(path, told)| (path.as_slice(), told.as_str()));
        let path = String::from_utf8_lossy(path);
        let id = if told.is_empty() { container_id(&path)? } else { told };
        let known = self.by_id.get(id).cloned();
        Some(known.unwrap_or_else(|| Arc::new(proto::Container { id: id.to_owned(), ..Default::default() })))
    }
}

/// The container's id in a path below the cgroup2 root: the last part of the path that has one in it, as in
/// `/system.slice/docker-<id>.scope`, `/kubepods.slice/…/cri-containerd-<id>.scope`, `/docker/<id>`,
/// `/machine.slice/libpod-<id>.scope`.
fn container_id(cgroup_path: &str) -> Option<&str> {
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
    use super::*;

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

    #[test]
    fn a_cgroup_has_the_container_that_was_told_last() {
        let id = "0123456789abcdef".repeat(4);
        let mut containers = Containers::default();
        let path = format!("/docker/{id}/inner");
        assert!(containers.of_cgroup(7, b"/user.slice").is_none());
        assert_eq!(containers.of_cgroup(7, path.as_bytes()).unwrap().id, id);
        containers.learn_path(7, path.as_bytes());
        assert_eq!(containers.of_cgroup(7, b"").unwrap().name, "", "nobody told its name");
        for name in ["web", "renamed"] {
            let container = proto::Container { id: id.clone(), name: name.to_owned(), ..Default::default() };
            containers.learn(&proto::Event { event: Some(Kind::Container(container)), ..Default::default() });
        }
        assert_eq!(containers.of_cgroup(7, b"").unwrap().name, "renamed");
        let cgroup =
            proto::CgroupEvent { id: 8, path: b"/x".to_vec(), container_id: id, ..Default::default() };
        containers.learn(&proto::Event { event: Some(Kind::Cgroup(cgroup)), ..Default::default() });
        assert_eq!(containers.of_cgroup(8, b"").unwrap().name, "renamed", "what the recorder says counts");
    }
}
