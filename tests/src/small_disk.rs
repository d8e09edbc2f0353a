//! Small file systems that a test fills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::command::run;

/// A mounted file system of its own, gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    mounted: PathBuf,
    /// Holds the mount point, and the image of ext4.
    _scratch: TempDir,
}

impl SmallDisk {
    /// In memory.
    #[track_caller]
    pub fn tmpfs(len: u64) -> Self {
        Self::mount(|command, _| {
            command.args(["-t", "tmpfs", "-o", &format!("size={len}"), "tmpfs"]);
        })
    }

    /// On a loop device.
    #[track_caller]
    pub fn ext4(len: u64) -> Self {
        Self::mount(|command, scratch| {
            let image = scratch.join("image");
            fs::File::create(&image).and_then(|file| file.set_len(len)).expect("an image");
            run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image)).success();
            command.args(["-t", "ext4", "-o", "loop"]).arg(&image);
        })
    }

    #[track_caller]
    fn mount(what: impl FnOnce(&mut Command, &Path)) -> Self {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let mounted = scratch.path().join("mounted");
        fs::create_dir(&mounted).expect("a mount point");
        let mut mount = Command::new("mount");
        what(&mut mount, scratch.path());
        run(mount.arg(&mounted)).success();
        Self { mounted, _scratch: scratch }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Bytes that there is room for.
    #[track_caller]
    pub fn available_len(&self) -> u64 {
        let statistics = statvfs(&self.mounted).expect("statistics of the file system");
        statistics.blocks_available() * statistics.fragment_size()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).output();
    }
}
