//! Conditions: whose packets are wanted, by process, user, container and pod.
//!
//! Several conditions with one key are alternatives; all keys that are asked for must hold. The kernel programs decide by
//! tables that are filled here: see `recorder-ebpf/src/programs/condition.rs`. What only runtimes know, names and labels
//! of containers, comes after a container's first packets: these are held until it is known.

mod decide;
mod ended;
mod fill;
mod held;
mod tables;

use std::fmt;
use std::str::FromStr;

use kcap_format::proto::Container;
use kcap_recorder_ebpf::{RULE_COUNT_MAX, RULE_RECORD, Rules, WANTED_COUNT_MAX, WANTED_PATH_LEN};

use crate::nearest::nearest;

pub(crate) use decide::Decider;
pub(crate) use ended::Ended;
pub(crate) use held::{Held, Policy};
pub(crate) use tables::Tables;

/// Bytes of a process name that the kernel keeps (`TASK_COMM_LEN` without the NUL).
const NAME_LEN_MAX: usize = 15;
/// Digits of a container's id that `docker ps` shows: so many or more name it.
const SHORT_ID_LEN: usize = 12;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    ProcessPid,
    ProcessName,
    ProcessExe,
    UserId,
    ContainerId,
    ContainerName,
    ContainerLabel,
    PodId,
    PodName,
    PodNamespace,
    PodLabel,
}

impl Key {
    /// All keys.
    const ALL: [(&str, Key); 11] = [
        ("process.pid", Key::ProcessPid),
        ("process.name", Key::ProcessName),
        ("process.exe", Key::ProcessExe),
        ("user.id", Key::UserId),
        ("container.id", Key::ContainerId),
        ("container.name", Key::ContainerName),
        ("container.label", Key::ContainerLabel),
        ("pod.id", Key::PodId),
        ("pod.name", Key::PodName),
        ("pod.namespace", Key::PodNamespace),
        ("pod.label", Key::PodLabel),
    ];

    fn is_of_container(self) -> bool {
        self >= Key::ContainerId
    }

    /// Cgroups alone don't tell.
    fn needs_runtime(self) -> bool {
        self.is_of_container() && !matches!(self, Key::ContainerId | Key::PodId)
    }
}

/// `KEY=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    key: Key,
    value: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("give KEY=VALUE, e.g. process.name=nginx or container.label=tier=web")?;
        let Some((_, key)) = Key::ALL.iter().find(|(known, _)| *known == name) else {
            let known = Key::ALL.map(|(known, _)| known);
            let meant = match nearest(name, known) {
                Some(meant) => format!("; did you mean '{meant}'?"),
                None => format!("; the keys are {}", known.join(", ")),
            };
            return Err(format!("there is no key '{name}'{meant}"));
        };
        if value.is_empty() {
            return Err(format!("{name} has no value"));
        }
        match key {
            Key::ProcessPid if !value.parse::<u32>().is_ok_and(|pid| pid > 0) => {
                Err(format!("{name}: '{value}' is no process id"))
            }
            Key::UserId if value.parse::<u32>().is_err() => {
                Err(format!("{name}: '{value}' is no number; `id -u NAME` tells a user's"))
            }
            Key::ProcessExe if !value.starts_with('/') || value.len() >= WANTED_PATH_LEN => {
                Err(format!("{name}: give an absolute path of less than {WANTED_PATH_LEN} bytes"))
            }
            _ if value.contains('\0') => Err(format!("{name}: a NUL byte can't be part of it")),
            _ => Ok(Self { key: *key, value: value.to_owned() }),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Key::ALL.iter().find(|(_, key)| *key == self.key).map_or("", |(name, _)| name);
        write!(formatter, "{name}={}", self.value)
    }
}

/// Conditions that belong together: a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions(Vec<Condition>);

/// Whether conditions hold, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    NotYetKnown,
}

impl Conditions {
    /// A rule of these.
    pub(crate) fn new(conditions: Vec<Condition>) -> Self {
        Self(conditions)
    }

    fn asks_for(&self, key: Key) -> bool {
        self.0.iter().any(|condition| condition.key == key)
    }

    fn values(&self, key: Key) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |condition| condition.key == key).map(|condition| condition.value.as_str())
    }

    /// Whether what is asked of containers and pods holds for a cgroup of this container; the id is empty outside of
    /// containers, and `container` is what is known beside ids.
    fn answer(&self, container_id: &str, pod_id: &str, container: Option<&Container>) -> Answer {
        let mut answer = Answer::Yes;
        for (_, key) in Key::ALL.iter().filter(|(_, key)| key.is_of_container() && self.asks_for(*key)) {
            let holds = |value: &str| holds(*key, value, container_id, pod_id, container);
            if container_id.is_empty() {
                return Answer::No;
            }
            // A pod's id may be known to the runtime alone.
            let is_open =
                container.is_none() && (key.needs_runtime() || *key == Key::PodId && pod_id.is_empty());
            if is_open {
                answer = Answer::NotYetKnown;
            } else if !self.values(*key).any(holds) {
                return Answer::No;
            }
        }
        answer
    }
}

fn holds(key: Key, value: &str, container_id: &str, pod_id: &str, container: Option<&Container>) -> bool {
    let pod = container.and_then(|container| container.pod.as_ref());
    match key {
        Key::ContainerId => {
            container_id == value || value.len() >= SHORT_ID_LEN && container_id.starts_with(value)
        }
        Key::ContainerName => container.is_some_and(|container| container.name == value),
        Key::ContainerLabel => container.is_some_and(|container| has_label(&container.labels, value)),
        Key::PodId => pod_id == value || pod.is_some_and(|pod| pod.id == value),
        Key::PodName => pod.is_some_and(|pod| pod.name == value),
        Key::PodNamespace => pod.is_some_and(|pod| pod.namespace == value),
        Key::PodLabel => pod.is_some_and(|pod| has_label(&pod.labels, value)),
        Key::ProcessPid | Key::ProcessName | Key::ProcessExe | Key::UserId => false,
    }
}

/// `key` or `key=value`
fn has_label(labels: &std::collections::BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// All rules, in the order of their bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet {
    rules: Vec<Option<Conditions>>,
    /// Rules that hold for the children of processes for which they hold.
    children: u32,
}

impl RuleSet {
    /// The rule that decides what is recorded; there is none without conditions.
    ///
    /// # Errors
    /// When there are more than the kernel's tables have room for.
    pub(crate) fn new(record: Vec<Condition>, children: bool) -> Result<Self, String> {
        let mut rules = Self { rules: vec![None], children: 0 };
        if !record.is_empty() {
            rules.check(&record)?;
            rules.rules[0] = Some(Conditions::new(record));
            rules.children = if children { RULE_RECORD } else { 0 };
        }
        Ok(rules)
    }

    /// Adds the rule of a task. Gives its bit.
    ///
    /// # Errors
    /// When there are too many rules or conditions.
    pub(crate) fn add(&mut self, conditions: Vec<Condition>, children: bool) -> Result<u32, String> {
        self.check(&conditions)?;
        if self.rules.len() >= RULE_COUNT_MAX as usize {
            return Err(format!("there can be {RULE_COUNT_MAX} sets of conditions at most"));
        }
        self.rules.push(Some(Conditions::new(conditions)));
        let bit = 1 << (self.rules.len() - 1);
        self.children |= if children { bit } else { 0 };
        Ok(bit)
    }

    fn check(&self, more: &[Condition]) -> Result<(), String> {
        let count: usize = self.rules.iter().flatten().map(|rule| rule.0.len()).sum();
        if count + more.len() > WANTED_COUNT_MAX as usize {
            return Err(format!("there can be {WANTED_COUNT_MAX} conditions at most"));
        }
        Ok(())
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.iter().all(Option::is_none)
    }

    /// Whether a runtime has to be asked.
    pub(crate) fn needs_runtime(&self) -> bool {
        let mut conditions = self.rules.iter().flatten().flat_map(|rule| &rule.0);
        conditions.any(|condition| condition.key.needs_runtime())
    }

    /// For the kernel programs.
    pub(crate) fn for_kernel(&self) -> Rules {
        let those = |wanted: fn(&Conditions) -> bool| {
            self.each().filter(|(_, rule)| wanted(rule)).fold(0, |bits, (bit, _)| bits | bit)
        };
        let all = those(|_| true);
        Rules {
            all,
            pid: those(|rule| rule.asks_for(Key::ProcessPid)),
            name: those(|rule| rule.asks_for(Key::ProcessName)),
            executable: those(|rule| rule.asks_for(Key::ProcessExe)),
            user: those(|rule| rule.asks_for(Key::UserId)),
            container: those(|rule| rule.0.iter().any(|condition| condition.key.is_of_container())),
            children: self.children,
        }
    }

    /// Each rule with its bit.
    fn each(&self) -> impl Iterator<Item = (u32, &Conditions)> {
        (0..).zip(&self.rules).filter_map(|(index, rule)| Some((1 << index, rule.as_ref()?)))
    }

    /// Rules that ask for a value that satisfies `is_it`.
    fn wanting(&self, key: Key, is_it: impl Fn(&str) -> bool) -> u32 {
        let wanting = self.each().filter(|(_, rule)| rule.values(key).any(&is_it));
        wanting.fold(0, |bits, (bit, _)| bits | bit)
    }

    /// What is asked for under a key, each value with the rules that do.
    fn wanted(&self, key: Key) -> impl Iterator<Item = (&str, u32)> {
        self.each()
            .flat_map(move |(_, rule)| rule.values(key))
            .map(move |value| (value, self.wanting(key, |other| other == value)))
    }
}

/// A name as the kernel keeps it.
fn name_key(name: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    let len = name.len().min(NAME_LEN_MAX);
    key[..len].copy_from_slice(&name[..len]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcap_format::proto::Pod;

    fn conditions(text: &str) -> Conditions {
        Conditions::new(text.split_whitespace().map(|word| word.parse().unwrap()).collect())
    }

    fn container() -> Container {
        let labels = [("tier".to_owned(), "web".to_owned()), ("bare".to_owned(), String::new())];
        let pod = Pod {
            id: "u-1".into(),
            name: "shop-0".into(),
            namespace: "prod".into(),
            labels: [("app".to_owned(), "shop".to_owned())].into(),
            ..Pod::default()
        };
        Container { name: "front".into(), labels: labels.into(), pod: Some(pod), ..Container::default() }
    }

    #[test]
    fn keys_that_are_not_there_are_told_with_those_that_are() {
        let error = "process.nmae=x".parse::<Condition>().unwrap_err();
        assert_eq!(error, "there is no key 'process.nmae'; did you mean 'process.name'?");
        let error = "color=red".parse::<Condition>().unwrap_err();
        assert!(error.contains("'color'") && error.contains("pod.label"), "{error}");
        for bad in [
            "nothing",
            "process.name=",
            "process.pid=0",
            "process.pid=-1",
            "process.pid=init",
            "user.id=root",
            "process.exe=nginx",
            "PROCESS.NAME=x",
            "=x",
        ] {
            let error = bad.parse::<Condition>().unwrap_err();
            assert!(!error.contains('\n') && !error.is_empty(), "{bad}: {error}");
        }
        let long = format!("process.exe=/{}", "x".repeat(WANTED_PATH_LEN));
        assert!(long.parse::<Condition>().is_err());
        let label: Condition = "container.label=tier=web".parse().unwrap();
        assert_eq!((label.key, label.to_string()), (Key::ContainerLabel, "container.label=tier=web".into()));
    }

    #[test]
    fn one_key_is_alternatives_and_all_keys_must_hold() {
        let id = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            ("container.name=front", Answer::Yes),
            ("container.name=back container.name=front", Answer::Yes),
            ("container.name=front container.label=tier=db", Answer::No),
            ("container.label=tier", Answer::Yes),
            ("container.label=tier=web container.label=bare", Answer::Yes),
            ("container.label=bare=", Answer::Yes),
            ("container.label=web", Answer::No),
            ("container.id=0123456789ab", Answer::Yes),
            ("container.id=0123456789a", Answer::No),
            ("container.id=123456789abc", Answer::No),
            ("pod.id=u-1", Answer::Yes),
            ("pod.name=shop-0 pod.namespace=prod pod.label=app=shop", Answer::Yes),
            ("pod.name=shop-0 pod.namespace=test", Answer::No),
            ("process.name=x", Answer::Yes),
        ] {
            assert_eq!(conditions(text).answer(&id, "", Some(&container())), expected, "{text}");
        }
    }

    #[test]
    fn what_only_a_runtime_knows_is_open_until_it_has_said_so() {
        let id = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            ("container.name=front", Answer::NotYetKnown),
            ("container.name=front container.id=ffffffffffff", Answer::No),
            ("container.id=0123456789ab", Answer::Yes),
            ("pod.id=u-1", Answer::NotYetKnown),
            ("pod.label=x", Answer::NotYetKnown),
        ] {
            assert_eq!(conditions(text).answer(&id, "", None), expected, "{text}");
        }
        assert_eq!(conditions("pod.id=u-1").answer(&id, "u-1", None), Answer::Yes);
        assert_eq!(conditions("container.name=front").answer("", "", None), Answer::No, "on the host");
    }

    #[test]
    fn rules_have_bits_in_their_order() {
        let parse = |text: &str| text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let mut rules = RuleSet::new(parse("process.name=nginx user.id=0"), true).unwrap();
        assert_eq!(rules.add(parse("process.name=nginx process.name=sh"), false).unwrap(), 2);
        let kernel = rules.for_kernel();
        assert_eq!(
            (kernel.all, kernel.name, kernel.user, kernel.container, kernel.children),
            (3, 3, 1, 0, 1)
        );
        let names: Vec<_> = rules.wanted(Key::ProcessName).collect();
        assert_eq!(names, [("nginx", 3), ("nginx", 3), ("sh", 2)]);
        let tasks_only = {
            let mut rules = RuleSet::new(Vec::new(), false).unwrap();
            rules.add(parse("user.id=5"), true).unwrap();
            rules.for_kernel()
        };
        assert_eq!((tasks_only.all, tasks_only.user, tasks_only.children), (2, 2, 2));
        assert!(RuleSet::new(Vec::new(), false).unwrap().is_empty());
        assert!(
            RuleSet::new(vec!["user.id=1".parse().unwrap(); WANTED_COUNT_MAX as usize + 1], false).is_err()
        );
    }

    #[test]
    fn names_are_compared_as_the_kernel_cuts_them() {
        assert_eq!(name_key(b"containerd-shim-runc-v2"), *b"containerd-shim\0");
        assert_eq!(name_key(b"sh"), *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
