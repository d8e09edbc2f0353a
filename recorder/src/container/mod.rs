//! Containers: which cgroup is of which, and what runtimes say of them.
//!
//! The kernel tells of cgroups, and their paths name containers; that alone gives ids. What runtimes know beside it is
//! asked for at their sockets, on a thread of its own: whatever happens there, recording goes on. The sockets are
//! connected as the user that the recorder runs as, without any capability: root, or a member of the sockets' group.

mod cri;
mod docker;
mod runtime;
mod store;
mod text;
mod timestamp;
mod transport;
mod tree;
mod watch;

use std::path::PathBuf;
use std::str::FromStr;

use kcap_format::container_path as path;

pub(crate) use tree::{describe, enumerate};
pub(crate) use watch::{Tap, start, tap};

/// The Container Runtime Interface of Kubernetes, as far as it is used here and in tests.
#[doc(hidden)]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::needless_pass_by_value)]
pub mod cri_api {
    tonic::include_proto!("runtime.v1");
}

/// Sockets of Docker and Podman, as their packages place them.
const DOCKER_SOCKETS: [(&str, &str); 2] =
    [("/run/docker.sock", path::DOCKER), ("/run/podman/podman.sock", path::PODMAN)];
/// Sockets of the Container Runtime Interface, as packages and small distributions of Kubernetes place them.
const CRI_SOCKETS: [(&str, &str); 6] = [
    ("/run/containerd/containerd.sock", path::CONTAINERD),
    ("/run/crio/crio.sock", path::CRI_O),
    ("/run/k3s/containerd/containerd.sock", path::CONTAINERD),
    ("/run/k0s/containerd.sock", path::CONTAINERD),
    ("/var/snap/microk8s/common/run/containerd.sock", path::CONTAINERD),
    ("/run/cri-dockerd.sock", path::DOCKER),
];

/// Where a runtime is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketChoice {
    /// Wherever there is one of the usual sockets.
    Usual,
    /// At this one.
    At(PathBuf),
    /// Nowhere.
    Nowhere,
}

impl FromStr for SocketChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Usual),
            "none" => Ok(Self::Nowhere),
            _ => {
                let path = text.strip_prefix("unix://").unwrap_or(text);
                if path.starts_with('/') {
                    Ok(Self::At(path.into()))
                } else {
                    Err("give the path of a Unix socket, 'auto' or 'none'".to_owned())
                }
            }
        }
    }
}

impl std::fmt::Display for SocketChoice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usual => formatter.write_str("auto"),
            Self::At(path) => write!(formatter, "{}", path.display()),
            Self::Nowhere => formatter.write_str("none"),
        }
    }
}

impl SocketChoice {
    fn runtimes(&self, usual: &[(&str, &'static str)]) -> Vec<runtime::Runtime> {
        match self {
            Self::Usual => {
                usual.iter().map(|(socket, name)| runtime::Runtime { socket: socket.into(), name }).collect()
            }
            Self::At(socket) => vec![runtime::Runtime { socket: socket.clone(), name: "" }],
            Self::Nowhere => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_chosen_by_path_or_word() {
        assert_eq!("none".parse(), Ok(SocketChoice::Nowhere));
        assert_eq!("auto".parse(), Ok(SocketChoice::Usual));
        let at = SocketChoice::At("/run/x.sock".into());
        assert_eq!("unix:///run/x.sock".parse(), Ok(at.clone()));
        assert_eq!("/run/x.sock".parse(), Ok(at.clone()));
        assert!("docker.sock".parse::<SocketChoice>().is_err());
        assert_eq!(at.to_string(), "/run/x.sock");
        assert_eq!(SocketChoice::Usual.runtimes(&DOCKER_SOCKETS).len(), 2);
        assert!(SocketChoice::Nowhere.runtimes(&CRI_SOCKETS).is_empty());
    }
}
