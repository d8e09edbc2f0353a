//! The containers that a segment tells of, and which one a cgroup belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use kcap_format::container_path::{container_of, pod_uid};
use kcap_format::proto::{self, event::Event as Kind};

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
    /// only what the path tells is known.
    #[must_use]
    pub fn of_cgroup(&self, cgroup_id: u64, path: &[u8]) -> Option<Arc<proto::Container>> {
        let (path, told) =
            self.cgroups.get(&cgroup_id).map_or((path, ""), |(path, told)| (path.as_slice(), told.as_str()));
        let named = container_of(path);
        let id = if told.is_empty() { named?.id } else { told };
        if let Some(known) = self.by_id.get(id) {
            return Some(Arc::clone(known));
        }
        let named = named.filter(|named| named.id == id);
        let pod = named.and_then(|named| named.pod);
        Some(Arc::new(proto::Container {
            id: id.to_owned(),
            runtime: named.map(|named| named.runtime.to_owned()).unwrap_or_default(),
            pod: pod.map(|pod| proto::Pod { id: pod_uid(pod), ..proto::Pod::default() }),
            ..proto::Container::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_container_that_nobody_told_of_its_path_tells() {
        let id = "0123456789abcdef".repeat(4);
        let pod = "2b5c1d9e_0a3f_4d77_9c1b_6e5f4a3b2c1d";
        let path = format!("/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{id}.scope");
        let found = Containers::default().of_cgroup(0, path.as_bytes()).expect("a container");
        assert_eq!((found.id.as_str(), found.runtime.as_str()), (id.as_str(), "containerd"));
        assert_eq!(found.pod.as_ref().map(|found| found.id.clone()), Some(pod.replace('_', "-")));
        let helper = format!("/machine.slice/libpod-conmon-{id}.scope");
        assert_eq!(
            Containers::default().of_cgroup(0, helper.as_bytes()),
            None,
            "what is in it is on the host"
        );
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
