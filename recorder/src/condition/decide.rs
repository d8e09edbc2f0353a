//! Verdicts on cgroups, as soon as what is asked of their containers is known.

use std::collections::VecDeque;

use kcap_format::proto::container::Source;
use kcap_format::proto::{CgroupEvent, Container, cgroup_event};
use kcap_recorder_ebpf::{CGROUP_COUNT_MAX, Verdict};
use rustc_hash::FxHashMap;

use super::{Answer, RuleSet, Tables};
use crate::clock;

/// How long a runtime may take to tell of a container. After that it is taken for one of which nothing is known, until it
/// is told of.
const DECISION_TIMEOUT_NS: u64 = 5_000_000_000;
/// How long removed cgroups are remembered: sockets may outlive their processes.
const LINGER_NS: u64 = 30_000_000_000;

/// Decides about cgroups.
pub(crate) struct Decider {
    rules: RuleSet,
    tables: Option<Tables>,
    cgroups: FxHashMap<u64, Cgroup>,
    /// Cgroups of each container.
    of_container: FxHashMap<String, Vec<u64>>,
    /// Undecided ones, oldest first.
    waiting: VecDeque<(u64, u64)>,
    removed: VecDeque<(u64, u64)>,
}

struct Cgroup {
    container_id: String,
    pod_id: String,
    is_decided: bool,
}

impl Decider {
    /// One for these rules; without any that ask for containers there is nothing to decide.
    pub(crate) fn new(rules: RuleSet, tables: Option<Tables>) -> Self {
        let asked = rules.for_kernel().container != 0;
        Self {
            rules,
            tables: tables.filter(|_| asked),
            cgroups: FxHashMap::default(),
            of_container: FxHashMap::default(),
            waiting: VecDeque::new(),
            removed: VecDeque::new(),
        }
    }

    /// Whether it wants to know of all cgroups.
    pub(crate) fn is_needed(&self) -> bool {
        self.tables.is_some()
    }

    /// A cgroup came, went or is there; `container` is what is known of its container.
    pub(crate) fn note_cgroup(&mut self, cgroup: &CgroupEvent, container: Option<&Container>) {
        if self.tables.is_none() {
            return;
        }
        let now_ns = clock::boot_ns();
        if cgroup.kind() == cgroup_event::Kind::Remove {
            self.removed.push_back((now_ns, cgroup.id));
            return;
        }
        if self.cgroups.len() >= CGROUP_COUNT_MAX as usize || self.cgroups.contains_key(&cgroup.id) {
            return;
        }
        if !cgroup.container_id.is_empty() {
            self.of_container.entry(cgroup.container_id.clone()).or_default().push(cgroup.id);
        }
        let entry = Cgroup {
            container_id: cgroup.container_id.clone(),
            pod_id: cgroup.pod_id.clone(),
            is_decided: false,
        };
        self.cgroups.insert(cgroup.id, entry);
        self.waiting.push_back((now_ns, cgroup.id));
        self.decide(cgroup.id, container, false);
    }

    /// Something new is known of a container.
    pub(crate) fn note_container(&mut self, container: &Container) {
        for id in self.of_container.get(&container.id).cloned().unwrap_or_default() {
            self.decide(id, Some(container), false);
        }
    }

    /// Decides what waited for too long, and forgets what is gone. To be called every second or so.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        while let Some((since_ns, id)) = self.waiting.front().copied() {
            if since_ns.saturating_add(DECISION_TIMEOUT_NS) > now_ns {
                break;
            }
            self.waiting.pop_front();
            if self.cgroups.get(&id).is_some_and(|cgroup| !cgroup.is_decided) {
                self.decide(id, None, true);
            }
        }
        while let Some((since_ns, id)) = self.removed.front().copied() {
            if since_ns.saturating_add(LINGER_NS) > now_ns {
                break;
            }
            self.removed.pop_front();
            self.forget(id);
        }
    }

    fn decide(&mut self, id: u64, container: Option<&Container>, is_over: bool) {
        let (Some(cgroup), Some(tables)) = (self.cgroups.get_mut(&id), &self.tables) else { return };
        // That its cgroup is there is all that is known of it.
        let container = container.filter(|container| container.source() != Source::Cgroup);
        let mut verdict = Verdict::default();
        for (bit, rule) in self.rules.each() {
            match rule.answer(&cgroup.container_id, &cgroup.pod_id, container) {
                Answer::Yes => verdict.yes |= bit,
                Answer::NotYetKnown if !is_over => verdict.maybe |= bit,
                Answer::No | Answer::NotYetKnown => {}
            }
        }
        cgroup.is_decided = verdict.maybe == 0;
        verdict.maybe |= verdict.yes;
        tables.set_cgroup(id, verdict);
    }

    fn forget(&mut self, id: u64) {
        let Some(cgroup) = self.cgroups.remove(&id) else { return };
        if let Some(tables) = &self.tables {
            tables.remove_cgroup(id);
        }
        if let Some(ids) = self.of_container.get_mut(&cgroup.container_id) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.of_container.remove(&cgroup.container_id);
            }
        }
    }
}
