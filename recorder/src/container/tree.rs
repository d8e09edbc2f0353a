//! The cgroups that are there, and what the kernel tells of those that come and go.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use kcap_format::container_path::{container_of, pod_uid};
use kcap_format::proto::{CgroupEvent, Event, cgroup_event::Kind, event};
use tracing::warn;

use crate::clock;

/// Most cgroups that are enumerated.
const CGROUPS_MAX: usize = 1 << 17;
/// Deepest that is looked; the kernel's own limit (`cgroup.max.depth`) is none by default.
const DEPTH_MAX: usize = 64;

/// What is told of a cgroup.
pub(crate) fn describe(kind: Kind, id: u64, path: &[u8]) -> CgroupEvent {
    let named = container_of(path);
    CgroupEvent {
        kind: kind.into(),
        id,
        path: path.to_vec(),
        container_id: named.map(|named| named.id.to_owned()).unwrap_or_default(),
        runtime: named.map(|named| named.runtime.to_owned()).unwrap_or_default(),
        pod_id: named.and_then(|named| named.pod).map(pod_uid).unwrap_or_default(),
    }
}

/// All cgroups below a mounted hierarchy, itself among them, as events: parents before their children.
pub(crate) fn enumerate(root: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut waiting: Vec<(PathBuf, u64, usize)> = Vec::new();
    if let Ok(found) = fs::metadata(root) {
        waiting.push((PathBuf::new(), std::os::unix::fs::MetadataExt::ino(&found), 0));
    }
    while let Some((below, id, depth)) = waiting.pop() {
        if events.len() == CGROUPS_MAX {
            warn!(limit = CGROUPS_MAX, "more cgroups than can be enumerated");
            break;
        }
        let path = [b"/", below.as_os_str().as_bytes()].concat();
        let cgroup = describe(Kind::Enumerate, id, &path);
        let event = Some(event::Event::Cgroup(cgroup));
        events.push(Event { time_ns: clock::boot_ns(), snapshot: true, event, ..Event::default() });
        // One that vanishes meanwhile has nothing below it.
        let Ok(entries) = fs::read_dir(root.join(&below)) else { continue };
        if depth < DEPTH_MAX {
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(folders.map(|entry| (below.join(entry.file_name()), entry.ino(), depth + 1)));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn folders_are_enumerated_with_their_inodes_and_containers() {
        let id = "4a7f0c3d9e8b1f2a6c5d4e3b2a190817f6e5d4c3b2a1908f7e6d5c4b3a291807";
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("docker").join(id);
        fs::create_dir_all(own.join("init")).unwrap();
        fs::write(own.join("cgroup.procs"), b"").unwrap();
        let found: Vec<CgroupEvent> = enumerate(root.path())
            .into_iter()
            .map(|event| match event.event {
                Some(event::Event::Cgroup(cgroup)) => cgroup,
                other => panic!("{other:?}"),
            })
            .collect();
        let paths: Vec<String> =
            found.iter().map(|cgroup| String::from_utf8(cgroup.path.clone()).unwrap()).collect();
        assert_eq!(
            paths,
            ["/".to_owned(), "/docker".into(), format!("/docker/{id}"), format!("/docker/{id}/init")]
        );
        let containers: Vec<&str> = found.iter().map(|cgroup| cgroup.container_id.as_str()).collect();
        assert_eq!(containers, ["", "", id, id]);
        assert_eq!(found[2].id, fs::metadata(&own).unwrap().ino());
    }

    #[test]
    fn a_hierarchy_that_is_gone_has_none() {
        assert!(enumerate(Path::new("/nonexistent")).is_empty());
    }
}
