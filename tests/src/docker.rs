//! A Docker daemon of the test's own, with its own containerd, data and sockets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::command::{Running, run, wait_until};

/// Hides the host's cgroup hierarchies behind one of version 2, as systemd mounts it and as `runc` wants it, and becomes
/// the program.
const WITH_CGROUP2: &str =
    r#"umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && exec "$@""#;
/// An image of busybox alone.
pub const IMAGE: &str = "kcap/busybox:1";
/// What of busybox containers run by its own name.
const APPLETS: [&str; 4] = ["sh", "sleep", "wget", "nc"];

/// A command in a mount namespace of its own, with cgroup2 at `/sys/fs/cgroup`.
pub fn with_cgroup2(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", WITH_CGROUP2, "sh"]).arg(program);
    command
}

/// The root of a container with busybox in it.
pub fn busybox_root(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    fs::create_dir_all(root.join("bin")).expect("a folder");
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    root
}

/// The daemon. Its containers are removed when it is dropped.
#[derive(Debug)]
pub struct Docker {
    daemon: Option<Running>,
    folder: TempDir,
}

impl Docker {
    /// Starts it, and gives it the image.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = |name: &str| folder.path().join(name);
        let mut command = with_cgroup2("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("run"));
        command.arg("--pidfile").arg(path("pid")).arg("-H").arg(address(folder.path()));
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]);
        let daemon = Running::start(&mut command);
        let mut docker = Self { daemon: Some(daemon), folder };
        wait_until("dockerd to answer", || {
            let ended = docker.daemon.as_mut().and_then(Running::ended);
            assert!(ended.is_none(), "dockerd ended: {ended:?}");
            run(docker.command().arg("version")).status.success().then_some(())
        });
        let root = busybox_root(docker.folder.path());
        let import = "tar -C \"$0\" -c . | \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", import]).arg(root).arg("docker").arg("-H").arg(address(docker.folder.path()));
        run(command.args(["import", "-", IMAGE])).success();
        docker
    }

    /// The socket of its API.
    pub fn socket(&self) -> String {
        self.folder.path().join("docker.sock").to_string_lossy().into_owned()
    }

    /// Runs a container on the host's network until its shell script ends, or in the background with `-d` among the
    /// options. Gives what was written to standard output: in the background, its id.
    #[track_caller]
    pub fn run(&self, options: &[&str], script: &str) -> String {
        let mut command = self.command();
        command.args(["run", "--network", "host"]).args(options).args([IMAGE, "/bin/sh", "-c", script]);
        run(&mut command).success().text().trim().to_owned()
    }

    /// Runs a shell script in a container that runs.
    #[track_caller]
    pub fn exec(&self, name: &str, script: &str) {
        run(self.command().args(["exec", name, "/bin/sh", "-c", script])).success();
    }

    /// Removes a container at once.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        run(self.command().args(["rm", "-f", name])).success();
    }

    /// One field of what the daemon says of something, as a Go template.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        run(self.command().args(["inspect", "-f", template, name])).success().text().trim().to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(address(self.folder.path()));
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whatever state it is in: no container may outlive the test.
            let _ = Command::new("sh")
                .args(["-c", r#"docker -H "$0" ps -aq | xargs -r docker -H "$0" rm -f"#])
                .arg(address(self.folder.path()))
                .output();
        } else {
            let all = run(self.command().args(["ps", "-aq"])).success().text();
            all.split_whitespace().for_each(|id| self.remove(id));
        }
        if let Some(daemon) = self.daemon.take() {
            // Its own containerd ends with it.
            daemon.stop(Signal::SIGTERM);
        }
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}/docker.sock", folder.display())
}
