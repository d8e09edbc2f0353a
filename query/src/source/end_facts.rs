//! Who had an end of a conversation.

use std::sync::Arc;

use kcap_dissect::attribute::Attribution;
use kcap_format::proto;

use super::owners::End;

/// The process at an end, for rows that outlive their packets. All empty when it is on another host, or not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndFacts {
    /// `proc_id`.
    pub proc_id: Option<Arc<str>>,
    /// Process id in the initial pid namespace.
    pub pid: Option<u32>,
    /// Name then.
    pub process_name: Option<Arc<str>>,
    /// File that it ran.
    pub executable: Option<Arc<str>>,
    /// Command line then.
    pub command_line: Option<Arc<str>>,
    /// Container that it was in.
    pub container: Option<Arc<proto::Container>>,
    /// How it is known, or why not.
    pub attribution: Option<Attribution>,
}

impl EndFacts {
    /// Nothing is known.
    pub const NOBODY: Self = Self {
        proc_id: None,
        pid: None,
        process_name: None,
        executable: None,
        command_line: None,
        container: None,
        attribution: None,
    };

    /// Whether an end is known by better evidence than these facts are.
    #[must_use]
    pub fn is_worse_than(&self, end: &End) -> bool {
        self.attribution.is_none_or(|known| (end.attribution as usize) < known as usize)
    }

    /// Id of the container.
    #[must_use]
    pub fn container_id(&self) -> Option<&str> {
        self.container.as_deref().map(|container| container.id.as_str())
    }

    /// Name of the container; `None` when no runtime told it.
    #[must_use]
    pub fn container_name(&self) -> Option<&str> {
        container_name(self.container.as_deref()?)
    }

    /// Name of the pod.
    #[must_use]
    pub fn pod_name(&self) -> Option<&str> {
        pod_name(self.container.as_deref()?)
    }

    /// Namespace of the pod.
    #[must_use]
    pub fn pod_namespace(&self) -> Option<&str> {
        pod_namespace(self.container.as_deref()?)
    }
}

/// Name of a container; `None` when no runtime told it.
#[must_use]
pub fn container_name(container: &proto::Container) -> Option<&str> {
    Some(container.name.as_str()).filter(|name| !name.is_empty())
}

/// Name of a container's pod.
#[must_use]
pub fn pod_name(container: &proto::Container) -> Option<&str> {
    Some(container.pod.as_ref()?.name.as_str()).filter(|name| !name.is_empty())
}

/// Namespace of a container's pod.
#[must_use]
pub fn pod_namespace(container: &proto::Container) -> Option<&str> {
    Some(container.pod.as_ref()?.namespace.as_str()).filter(|namespace| !namespace.is_empty())
}
