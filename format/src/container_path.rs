//! What the path of a cgroup tells of the container whose processes are in it.
//!
//! Runtimes name cgroups by the containers' ids, each in its way and depending on who manages cgroups: systemd, by slices
//! and scopes, or the runtime itself ("cgroupfs"), by plain folders. The innermost container counts, since containers
//! run in containers.

/// A container, as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// As its runtime has it.
    pub id: &'a str,
    /// Empty when the path doesn't tell.
    pub runtime: &'static str,
    /// UID of the pod, as the path writes it: [`pod_uid`] makes it what Kubernetes writes.
    pub pod: Option<&'a str>,
    /// The cgroup is the container's own, and not one below it.
    pub is_own: bool,
}

/// Name of Docker as a runtime.
pub const DOCKER: &str = "docker";
/// Name of containerd as a runtime.
pub const CONTAINERD: &str = "containerd";
/// Name of CRI-O as a runtime.
pub const CRI_O: &str = "cri-o";
/// Name of Podman as a runtime.
pub const PODMAN: &str = "podman";

/// Hexadecimal digits of an id: SHA-256 of 32 random bytes, or these themselves.
const ID_LEN: usize = 64;
/// Longest id of those that people choose (containerd's `identifiers` package).
const CHOSEN_ID_LEN_MAX: usize = 76;
/// What systemd's scopes and some folders put before the id. Those without a runtime hold helpers of containers: what
/// runs in them is on the host.
const PREFIXES: [(&str, Option<&str>); 8] = [
    ("docker-", Some(DOCKER)),
    ("cri-containerd-", Some(CONTAINERD)),
    ("nerdctl-", Some(CONTAINERD)),
    ("crio-conmon-", None),
    ("crio-", Some(CRI_O)),
    ("libpod-conmon-", None),
    ("libpod-payload-", Some(PODMAN)),
    ("libpod-", Some(PODMAN)),
];
/// Folders whose entries are containers.
const PARENTS: [(&str, &str); 3] = [("docker", DOCKER), ("libpod_parent", PODMAN), ("k8s.io", CONTAINERD)];
/// containerd's namespace that `ctr` and `nerdctl` use; its containers may have chosen names.
const CONTAINERD_DEFAULT: &str = "default";

/// The innermost container that a cgroup belongs to, by its path below the root of the hierarchy; `None` outside of
/// containers.
#[must_use]
pub fn container_of(path: &[u8]) -> Option<Named<'_>> {
    // Runtimes only make names of ASCII; whatever else there is can lie above or below.
    let mut found = None;
    let mut parent: Option<&str> = None;
    let mut pod = None;
    for component in path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
        let component = std::str::from_utf8(component).ok();
        if let Some(outer) = &mut found {
            let outer: &mut Named<'_> = outer;
            outer.is_own = false;
        }
        if let Some(component) = component {
            if let Some(uid) = pod_of(component) {
                pod = Some(uid);
            }
            if is_helper(component) {
                found = None;
            } else if let Some((id, runtime)) = named_by(component, parent) {
                found = Some(Named { id, runtime, pod, is_own: true });
            }
        }
        parent = component;
    }
    found
}

/// A pod's UID as Kubernetes writes it; slices of systemd have underscores in it, since dashes divide them.
#[must_use]
pub fn pod_uid(pod: &str) -> String {
    pod.replace('_', "-")
}

fn named_by<'a>(component: &'a str, parent: Option<&str>) -> Option<(&'a str, &'static str)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    for (prefix, runtime) in PREFIXES {
        if let (Some(id), Some(runtime)) = (name.strip_prefix(prefix), runtime)
            && is_id(id)
        {
            return Some((id, runtime));
        }
    }
    // slice:prefix:id, which is for systemd, as a name: a runtime that wasn't told that it is to ask systemd.
    if let Some((rest, id)) = name.rsplit_once(':')
        && is_id(id)
    {
        let runtime = match rest.rsplit(':').next() {
            Some("docker") => DOCKER,
            Some("cri-containerd" | "nerdctl") => CONTAINERD,
            Some("crio") => CRI_O,
            Some("libpod") => PODMAN,
            _ => "",
        };
        return Some((id, runtime));
    }
    if component.ends_with(".scope") || component.ends_with(".slice") || component.ends_with(".service") {
        return None;
    }
    if parent == Some(CONTAINERD_DEFAULT) && is_chosen_id(name) {
        return Some((name, CONTAINERD));
    }
    // A folder named by an id alone: below its runtime's, below that of a pod, or wherever `--cgroup-parent` says. Amazon's
    // agent puts a task's 32 digits and a number there.
    let runtime = parent.and_then(|parent| PARENTS.iter().find(|(folder, _)| *folder == parent));
    (is_id(name) || is_task_id(name)).then(|| (name, runtime.map_or("", |(_, runtime)| runtime)))
}

/// Holds a helper of a container, as `conmon`, which runs on the host.
fn is_helper(component: &str) -> bool {
    let is_of =
        |prefix: &str| component.strip_prefix(prefix).is_some_and(|id| is_id(id.trim_end_matches(".scope")));
    PREFIXES.iter().any(|(prefix, runtime)| runtime.is_none() && is_of(prefix))
}

/// `pod<uid>` below `kubepods`, or `kubepods-burstable-pod<uid>.slice`.
fn pod_of(component: &str) -> Option<&str> {
    let name = match component.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods")?.rsplit('-').next()?,
        None => component,
    };
    let uid = name.strip_prefix("pod")?;
    is_uid(uid).then_some(uid)
}

/// A UUID with dashes or underscores, or the 32 digits of a static pod.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let dividers = text.bytes().filter(|byte| matches!(byte, b'-' | b'_')).count();
    digits == 32 && digits + dividers == text.len() && (dividers == 0 || dividers == 4)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `<32 digits>-<number>` of Amazon's container agent on Fargate.
fn is_task_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && task.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (1..=10).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// containerd's rule for ids: letters and digits, with single `-`, `_` or `.` between them.
fn is_chosen_id(text: &str) -> bool {
    text.len() <= CHOSEN_ID_LEN_MAX
        && text
            .split(['-', '_', '.'])
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4a7f0c3d9e8b1f2a6c5d4e3b2a190817f6e5d4c3b2a1908f7e6d5c4b3a291807";
    const INNER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const UID: &str = "2b5c1d9e-0a3f-4d77-9c1b-6e5f4a3b2c1d";
    const UID_IN_SLICE: &str = "2b5c1d9e_0a3f_4d77_9c1b_6e5f4a3b2c1d";

    /// The path, and the runtime of container `ID` in it, the pod and whether it is the container's own cgroup.
    #[track_caller]
    fn check(path: &str, runtime: &str, pod: Option<&str>, is_own: bool) {
        let path = path.replace("SLICEUID", UID_IN_SLICE).replace("UID", UID).replace("ID", ID);
        let named = container_of(path.as_bytes()).unwrap_or_else(|| panic!("{path}: none"));
        let found = (named.id, named.runtime, named.pod.map(pod_uid), named.is_own);
        assert_eq!(found, (ID, runtime, pod.map(str::to_owned), is_own), "{path}");
    }

    #[test]
    fn the_runtimes_and_their_drivers() {
        let pod = Some(UID);
        for (path, runtime, pod, is_own) in [
            ("/docker/ID", DOCKER, None, true),
            ("/docker/ID/init", DOCKER, None, false),
            ("/system.slice/docker-ID.scope", DOCKER, None, true),
            ("/system.slice/docker-ID.scope/a.service/b", DOCKER, None, false),
            ("/batch/jobs/ID", "", None, true),
            ("/system.slice:docker:ID", DOCKER, None, true),
            (
                "/user.slice/user-1000.slice/user@1000.service/docker.slice/docker-ID.scope",
                DOCKER,
                None,
                true,
            ),
            ("/kubepods/burstable/podUID/ID", "", pod, true),
            ("/kubepods/podUID/ID", "", pod, true),
            ("/kubepods/besteffort/podUID/crio-ID", CRI_O, pod, true),
            ("/kubepods.slice/kubepods-podSLICEUID.slice/cri-containerd-ID.scope", CONTAINERD, pod, true),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICEUID.slice/cri-containerd-ID.scope",
                CONTAINERD,
                pod,
                true,
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICEUID.slice/crio-ID.scope",
                CRI_O,
                pod,
                true,
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICEUID.slice/crio-ID.scope/container",
                CRI_O,
                pod,
                false,
            ),
            ("/kubepods.slice/kubepods-podSLICEUID.slice/docker-ID.scope", DOCKER, pod, true),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubepods-podSLICEUID.slice/cri-containerd-ID.scope",
                CONTAINERD,
                pod,
                true,
            ),
            ("/kubepods-besteffort-podSLICEUID.slice:cri-containerd:ID", CONTAINERD, None, true),
            (
                "/system.slice/containerd.service/kubepods-podSLICEUID.slice:cri-containerd:ID",
                CONTAINERD,
                None,
                true,
            ),
            ("/k8s.io/ID", CONTAINERD, None, true),
            ("/default/ID", CONTAINERD, None, true),
            ("/system.slice/nerdctl-ID.scope", CONTAINERD, None, true),
            ("/machine.slice/libpod-ID.scope", PODMAN, None, true),
            ("/machine.slice/libpod-ID.scope/container", PODMAN, None, false),
            ("/machine.slice/libpod-payload-ID", PODMAN, None, true),
            ("/libpod_parent/libpod-ID", PODMAN, None, true),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                PODMAN,
                None,
                false,
            ),
        ] {
            check(path, runtime, pod, is_own);
        }
    }

    #[test]
    fn the_innermost_container_counts() {
        for outer in ["/docker/INNER", "/system.slice/docker-INNER.scope", "/kubepods/podUID/INNER"] {
            let outer = outer.replace("INNER", INNER);
            for inner in ["/docker/ID", "/system.slice/docker-ID.scope", "/init/docker/ID"] {
                let pod = outer.contains("UID").then_some(UID);
                check(&format!("{outer}{inner}"), DOCKER, pod, true);
            }
        }
    }

    #[test]
    fn ids_that_are_chosen_or_of_tasks() {
        let named = container_of(b"/default/my-web.1/sub").unwrap();
        assert_eq!((named.id, named.runtime, named.is_own), ("my-web.1", CONTAINERD, false));
        let task = b"/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890";
        assert_eq!(container_of(task).unwrap().id, "0123456789abcdef0123456789abcdef-1234567890");
    }

    #[test]
    fn what_is_of_no_container() {
        let uppercase = format!("/docker/{}", ID.to_uppercase());
        let short = format!("/docker/{}", &ID[1..]);
        let conmon = format!("/machine.slice/libpod-conmon-{ID}.scope");
        let crio_conmon = format!("/kubepods.slice/kubepods-pod{UID_IN_SLICE}.slice/crio-conmon-{ID}.scope");
        let pod = format!("/kubepods.slice/kubepods-pod{UID_IN_SLICE}.slice");
        let podman_pod = format!("/machine.slice/machine-libpod_pod_{ID}.slice");
        for path in [
            "",
            "/",
            "//",
            "/init.scope",
            "/system.slice/docker.service",
            "/system.slice/docker.socket",
            "/system.slice/containerd.service",
            "/docker",
            "/docker/",
            "/docker/buildkit",
            "/default/-x",
            "/default/a..b",
            "/default/default.slice",
            "/kubepods/burstable",
            "/user.slice/user-1000.slice/session-1.scope",
            &uppercase,
            &short,
            &conmon,
            &crio_conmon,
            &pod,
            &podman_pod,
        ] {
            assert_eq!(container_of(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let path = [b"/docker/", ID.as_bytes(), b"/\xff\xfe/x"].concat();
        assert_eq!(container_of(&path).map(|named| (named.id, named.is_own)), Some((ID, false)));
        assert_eq!(container_of(b"/\xff\xff-\0/:::/.scope/:"), None);
        let conmon_in_container = format!("/docker/{INNER}/machine.slice/libpod-conmon-{ID}.scope");
        assert_eq!(container_of(conmon_in_container.as_bytes()), None);
    }
}
