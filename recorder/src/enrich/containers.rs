//! The cgroups and containers that are there.

use std::collections::VecDeque;

use kcap_format::proto::{Event, cgroup_event, event};
use rustc_hash::FxHashMap;

/// Most cgroups kept.
const CGROUPS_MAX: usize = 1 << 16;
/// Most containers kept.
const CONTAINERS_MAX: usize = 1 << 14;
/// How long those that are gone are kept: packets of their processes may still wait to be written into the next segment.
const LINGER_NS: u64 = 5_000_000_000;

/// The last event of each.
#[derive(Default)]
pub(super) struct Containers {
    cgroups: FxHashMap<u64, Event>,
    containers: FxHashMap<String, Event>,
    /// Cgroups that were removed, oldest first.
    removed: VecDeque<(u64, u64)>,
}

impl Containers {
    /// Takes note of an event of a cgroup or of a container.
    pub(super) fn apply(&mut self, event: Event) {
        match &event.event {
            Some(event::Event::Cgroup(cgroup)) => {
                let id = cgroup.id;
                if cgroup.kind() == cgroup_event::Kind::Remove {
                    self.removed.push_back((event.time_ns, id));
                } else if self.cgroups.len() < CGROUPS_MAX {
                    // An enumeration that arrives late tells nothing new.
                    self.cgroups.entry(id).or_insert(event);
                }
            }
            Some(event::Event::Container(container))
                if self.containers.len() < CONTAINERS_MAX || self.containers.contains_key(&container.id) =>
            {
                self.containers.insert(container.id.clone(), event);
            }
            _ => {}
        }
    }

    /// Forgets what is gone for long enough.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_over = |gone_ns: u64| gone_ns.saturating_add(LINGER_NS) <= now_ns;
        while let Some((_, id)) = self.removed.front().filter(|(gone_ns, _)| is_over(*gone_ns)) {
            self.cgroups.remove(id);
            self.removed.pop_front();
        }
        self.containers.retain(|_, event| match &event.event {
            Some(event::Event::Container(container)) => container.gone_ns == 0 || !is_over(container.gone_ns),
            _ => false,
        });
    }

    /// The events that tell of all that is there.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.cgroups.values().chain(self.containers.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgroup_event::Kind;
    use kcap_format::proto::{CgroupEvent, Container};

    fn cgroup(kind: Kind, id: u64, time_ns: u64) -> Event {
        let cgroup = CgroupEvent { kind: kind.into(), id, ..CgroupEvent::default() };
        Event { time_ns, event: Some(event::Event::Cgroup(cgroup)), ..Event::default() }
    }

    fn container(id: &str, name: &str, gone_ns: u64) -> Event {
        let container =
            Container { id: id.to_owned(), name: name.to_owned(), gone_ns, ..Container::default() };
        Event { time_ns: 1, event: Some(event::Event::Container(container)), ..Event::default() }
    }

    #[test]
    fn the_last_word_on_a_container_is_kept_until_it_is_gone_for_a_while() {
        let mut known = Containers::default();
        known.apply(cgroup(Kind::Create, 5, 1));
        known.apply(container("a", "", 0));
        known.apply(container("a", "web", 0));
        assert_eq!(known.events().count(), 2);
        known.apply(cgroup(Kind::Remove, 5, 10));
        known.apply(container("a", "web", 10));
        known.expire(9 + LINGER_NS);
        assert_eq!(known.events().count(), 2);
        known.expire(10 + LINGER_NS);
        assert_eq!(known.events().count(), 0);
    }

    #[test]
    fn there_is_a_limit() {
        let mut known = Containers::default();
        for id in 0..CGROUPS_MAX as u64 + 9 {
            known.apply(cgroup(Kind::Create, id, 1));
        }
        assert_eq!(known.cgroups.len(), CGROUPS_MAX);
    }
}
