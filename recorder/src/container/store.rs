//! What is known of containers, put together from their cgroups and what runtimes say of them.

use kcap_format::proto::container::Source;
use kcap_format::proto::{CgroupEvent, Container, cgroup_event};
use prost::Message;
use rustc_hash::FxHashMap;

/// Most containers that are known at a time.
pub(crate) const CONTAINERS_MAX: usize = 1 << 14;
/// Most bytes of all that is known of them.
const STORE_LEN_MAX: usize = 64 << 20;
/// How long a container is remembered after its end: its runtime may tell of it later than the kernel.
const LINGER_NS: u64 = 60_000_000_000;

/// The containers.
#[derive(Default)]
pub(crate) struct Store {
    known: FxHashMap<String, Known>,
    /// Bytes of `known`.
    len: usize,
    /// Containers that there was no room for.
    pub(crate) refused: u64,
}

struct Known {
    container: Container,
    len: usize,
}

impl Store {
    /// Takes note of a cgroup that came, went or is there. Gives what is now known of its container, if that is new.
    pub(crate) fn note_cgroup(
        &mut self,
        cgroup: &CgroupEvent,
        is_own: bool,
        time_ns: u64,
    ) -> Option<Container> {
        if cgroup.container_id.is_empty() || !is_own {
            return None;
        }
        let mut container = match self.known.get(&cgroup.container_id) {
            Some(known) => known.container.clone(),
            None if cgroup.kind() == cgroup_event::Kind::Remove => return None,
            None => Container {
                id: cgroup.container_id.clone(),
                source: Source::Cgroup.into(),
                ..Container::default()
            },
        };
        if cgroup.kind() == cgroup_event::Kind::Remove {
            // A container that was started again has a new cgroup.
            if container.cgroup_id != cgroup.id {
                return None;
            }
            container.gone_ns = time_ns;
        } else {
            container.cgroup_id = cgroup.id;
            container.cgroup_path.clone_from(&cgroup.path);
            container.gone_ns = 0;
        }
        if container.runtime.is_empty() {
            container.runtime.clone_from(&cgroup.runtime);
        }
        if !cgroup.pod_id.is_empty() {
            let pod = container.pod.get_or_insert_default();
            if pod.id.is_empty() {
                pod.id.clone_from(&cgroup.pod_id);
            }
        }
        self.replace(container, time_ns)
    }

    /// Takes note of what a runtime says. Gives what is now known, if that is new.
    pub(crate) fn note_told(&mut self, mut told: Container, time_ns: u64) -> Option<Container> {
        if let Some(Known { container: known, .. }) = self.known.get(&told.id) {
            told.cgroup_id = known.cgroup_id;
            told.cgroup_path.clone_from(&known.cgroup_path);
            told.gone_ns = known.gone_ns;
            // Another interface to the same runtime may have told more: Docker's has no pods, and events have less than
            // answers.
            if told.created_realtime_ns == 0 {
                told.created_realtime_ns = known.created_realtime_ns;
            }
            for (field, before) in [
                (&mut told.name, &known.name),
                (&mut told.image, &known.image),
                (&mut told.image_id, &known.image_id),
                (&mut told.runtime, &known.runtime),
            ] {
                if field.is_empty() {
                    field.clone_from(before);
                }
            }
            match (&mut told.pod, &known.pod) {
                (Some(pod), Some(before)) if pod.sandbox_id.is_empty() && !before.sandbox_id.is_empty() => {
                    *pod = before.clone();
                }
                (pod @ None, before) => pod.clone_from(before),
                _ => {}
            }
        }
        self.replace(told, time_ns)
    }

    /// A runtime says that a container ended. Gives what is now known, if that is new.
    pub(crate) fn note_gone(&mut self, id: &str, time_ns: u64) -> Option<Container> {
        let container = &self.known.get(id)?.container;
        // With a cgroup, the kernel says when: processes may still be ending.
        if container.gone_ns != 0 || container.cgroup_id != 0 {
            return None;
        }
        let container = Container { gone_ns: time_ns, ..container.clone() };
        self.replace(container, time_ns)
    }

    /// What is known of a container.
    pub(crate) fn container(&self, id: &str) -> Option<&Container> {
        self.known.get(id).map(|known| &known.container)
    }

    fn replace(&mut self, container: Container, now_ns: u64) -> Option<Container> {
        let before_len = match self.known.get(&container.id) {
            Some(known) if known.container == container => return None,
            Some(known) => known.len,
            None => 0,
        };
        let len = container.encoded_len();
        let is_full = |store: &Self| {
            store.len - before_len + len > STORE_LEN_MAX
                || (before_len == 0 && store.known.len() >= CONTAINERS_MAX)
        };
        if is_full(self) {
            self.forget_gone(now_ns);
        }
        if is_full(self) {
            // Told all the same: only that it is told again, or completed, is given up.
            self.refused += 1;
            return Some(container);
        }
        self.len = self.len - before_len + len;
        self.known.insert(container.id.clone(), Known { container: container.clone(), len });
        Some(container)
    }

    /// Forgets containers that ended long enough ago.
    pub(crate) fn forget_gone(&mut self, now_ns: u64) {
        self.known.retain(|_, known| {
            let gone_ns = known.container.gone_ns;
            gone_ns == 0 || gone_ns.saturating_add(LINGER_NS) > now_ns
        });
        self.len = self.known.values().map(|known| known.len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgroup_event::Kind;
    use kcap_format::proto::Pod;

    fn cgroup(kind: Kind, id: u64, container: &str) -> CgroupEvent {
        CgroupEvent {
            kind: kind.into(),
            id,
            path: format!("/docker/{container}").into_bytes(),
            container_id: container.to_owned(),
            runtime: "docker".to_owned(),
            pod_id: String::new(),
        }
    }

    fn told(id: &str, name: &str) -> Container {
        Container {
            id: id.to_owned(),
            name: name.to_owned(),
            source: Source::Docker.into(),
            ..Container::default()
        }
    }

    #[test]
    fn cgroup_and_runtime_complete_each_other_in_any_order() {
        let mut first = Store::default();
        assert_eq!(first.note_cgroup(&cgroup(Kind::Create, 7, "a"), true, 1).unwrap().cgroup_id, 7);
        let one = first.note_told(told("a", "web"), 2).unwrap();
        let mut second = Store::default();
        second.note_told(told("a", "web"), 1).unwrap();
        let other = second.note_cgroup(&cgroup(Kind::Create, 7, "a"), true, 2).unwrap();
        assert_eq!(one, other);
        assert_eq!((one.name.as_str(), one.runtime.as_str(), one.cgroup_id), ("web", "docker", 7));
        assert_eq!(first.note_told(told("a", "web"), 3), None, "nothing new");
    }

    #[test]
    fn the_end_is_that_of_the_last_cgroup() {
        let mut store = Store::default();
        store.note_cgroup(&cgroup(Kind::Create, 7, "a"), true, 1);
        assert_eq!(store.note_cgroup(&cgroup(Kind::Create, 8, "a"), true, 2).unwrap().cgroup_id, 8);
        assert_eq!(store.note_cgroup(&cgroup(Kind::Remove, 7, "a"), true, 3), None);
        assert_eq!(store.note_gone("a", 4), None, "the kernel will say");
        assert_eq!(store.note_cgroup(&cgroup(Kind::Remove, 8, "a"), true, 5).unwrap().gone_ns, 5);
        assert_eq!(store.note_told(told("a", "web"), 6).unwrap().gone_ns, 5);
        assert_eq!(store.note_cgroup(&cgroup(Kind::Create, 9, "a"), true, 7).unwrap().gone_ns, 0);
        assert_eq!(store.note_cgroup(&cgroup(Kind::Remove, 1, "unknown"), true, 8), None);
        assert_eq!(store.note_cgroup(&cgroup(Kind::Create, 10, "a"), false, 9), None, "one below it");
    }

    #[test]
    fn a_runtime_alone_can_end_a_container() {
        let mut store = Store::default();
        store.note_told(told("a", "web"), 1);
        assert_eq!(store.note_gone("a", 4).unwrap().gone_ns, 4);
        assert_eq!(store.note_gone("a", 5), None);
        store.forget_gone(4 + LINGER_NS);
        assert!(store.container("a").is_none() && store.len == 0);
    }

    #[test]
    fn pods_that_cri_told_are_not_lost_to_docker() {
        let mut store = Store::default();
        let pod = Pod { id: "u".into(), sandbox_id: "s".into(), name: "p".into(), ..Pod::default() };
        store.note_told(Container { pod: Some(pod.clone()), ..told("a", "web") }, 1);
        let less = Pod { name: "p".into(), ..Pod::default() };
        let merged = store.note_told(Container { pod: Some(less), image: "i".into(), ..told("a", "web") }, 2);
        assert_eq!(merged.unwrap().pod, Some(pod.clone()));
        assert_eq!(store.note_told(told("a", "other"), 3).unwrap().pod, Some(pod));
    }

    #[test]
    fn memory_is_bounded_and_what_has_no_room_is_told_all_the_same() {
        let mut store = Store::default();
        let large =
            |index: usize| Container { image: "x".repeat(15 << 10), ..told(&format!("{index}"), "n") };
        for index in 0..10_000 {
            assert!(store.note_told(large(index), 1).is_some());
        }
        assert!(store.len <= STORE_LEN_MAX && store.refused > 0, "{} {}", store.len, store.refused);
        let before = store.known.len();
        assert!(store.note_gone("5", 2).is_some());
        store.note_told(large(20_000), 3 + LINGER_NS);
        assert_eq!(store.known.len(), before, "one that ended made room");
        assert!(store.container("20000").is_some() && store.container("5").is_none());

        let mut store = Store::default();
        for index in 0..CONTAINERS_MAX + 5 {
            store.note_told(told(&format!("{index}"), "n"), 1);
        }
        assert_eq!((store.known.len(), store.refused), (CONTAINERS_MAX, 5));
    }
}
