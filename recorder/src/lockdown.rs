//! What the process gives up once the programs are attached. It applies to the calling thread and the threads
//! that it makes: threads that need more for a while are made before.

use std::path::Path;

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;
use std::os::unix::fs::MetadataExt;
use tracing::debug;

/// Drops every capability but those in the list, and the ways to get others.
pub(crate) fn apply(folder: &Path) -> Result<()> {
    let keep = kept_capabilities(folder);
    // Bounding first: dropping from it takes a capability of its own. Without that one there is nothing to
    // drop.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability).context("cannot drop a capability for good")?;
        }
    }
    caps::clear(None, CapSet::Ambient)
        .or_else(ignore_unsupported)
        .context("cannot clear ambient capabilities")?;
    caps::clear(None, CapSet::Inheritable).context("cannot clear inheritable capabilities")?;
    let had: CapsHashSet = caps::read(None, CapSet::Permitted)?.intersection(&keep).copied().collect();
    caps::set(None, CapSet::Effective, &had).context("cannot drop capabilities")?;
    caps::set(None, CapSet::Permitted, &had).context("cannot drop capabilities")?;
    prctl::set_no_new_privs().context("cannot refuse new privileges")?;
    // Recorded bytes must not end up in a core file or in a tracer of the same user.
    prctl::set_dumpable(false).context("cannot forbid core files")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("cannot forbid core files")?;
    umask(Mode::from_bits_truncate(0o077));
    debug!(capabilities = ?had, "locked down");
    Ok(())
}

/// Leaves the calling thread only what attaching programs takes.
pub(crate) fn keep_for_attaching() -> Result<()> {
    let keep = CapsHashSet::from([Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON]);
    let had: CapsHashSet = caps::read(None, CapSet::Permitted)?.intersection(&keep).copied().collect();
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &had)?;
    caps::set(None, CapSet::Permitted, &had)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// - `CAP_BPF`: reading the counters goes through `bpf(2)`, which kernels before 5.19 refuse to others when
///   `kernel.unprivileged_bpf_disabled` is set.
/// - `CAP_DAC_OVERRIDE`: only for a folder that belongs to another user, in which each new segment is a new
///   file.
fn kept_capabilities(folder: &Path) -> CapsHashSet {
    let mut keep = CapsHashSet::from([Capability::CAP_BPF]);
    let is_own = std::fs::metadata(folder).is_ok_and(|found| found.uid() == geteuid().as_raw());
    if !is_own {
        keep.insert(Capability::CAP_DAC_OVERRIDE);
    }
    keep
}

/// Kernels and sandboxes without ambient capabilities have none to clear.
fn ignore_unsupported(_: caps::errors::CapsError) -> Result<(), caps::errors::CapsError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_down_thread_has_what_it_needs_and_its_children_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let check = move || {
            apply(&path).unwrap();
            let allowed = kept_capabilities(&path);
            let inner = std::thread::spawn(move || {
                let permitted = caps::read(None, CapSet::Permitted).unwrap();
                assert!(permitted.is_subset(&allowed), "{permitted:?}");
                assert!(!caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap());
                assert!(prctl::get_no_new_privs().unwrap() && !prctl::get_dumpable().unwrap());
            });
            inner.join().unwrap();
            std::fs::write(path.join("segment"), b"still writable").unwrap();
        };
        std::thread::spawn(check).join().unwrap();
        // The whole process: other tests may rely on reading their own /proc files.
        prctl::set_dumpable(true).unwrap();
    }

    #[test]
    fn only_a_folder_of_somebody_else_keeps_the_right_to_write_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!kept_capabilities(folder.path()).contains(&Capability::CAP_DAC_OVERRIDE));
        assert!(kept_capabilities(Path::new("/nonexistent")).contains(&Capability::CAP_DAC_OVERRIDE));
    }
}
