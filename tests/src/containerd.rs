//! A containerd of the test's own, with its plugin for Kubernetes (CRI).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::command::{Running, run, wait_until};
use crate::docker::{busybox_root, with_cgroup2};

/// Name of the image that it is given: busybox, which sleeps unless it is told something else.
pub const IMAGE: &str = "docker.io/kcap/busybox:1";

/// The daemon. Whoever makes pods removes them.
#[derive(Debug)]
pub struct Containerd {
    daemon: Option<Running>,
    folder: TempDir,
}

impl Containerd {
    /// Starts it, and gives it the image.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path();
        fs::write(path.join("config.toml"), config(path)).expect("a configuration");
        let mut command = with_cgroup2("containerd");
        command.arg("--config").arg(path.join("config.toml"));
        let daemon = Running::start(&mut command);
        let mut containerd = Self { daemon: Some(daemon), folder };
        wait_until("containerd to answer", || {
            let ended = containerd.daemon.as_mut().and_then(Running::ended);
            assert!(ended.is_none(), "containerd ended: {ended:?}");
            run(containerd.ctr().arg("version")).status.success().then_some(())
        });
        let archive = image(containerd.folder.path());
        let mut import = containerd.ctr();
        run(import.args(["images", "import"]).arg(archive)).success();
        containerd
    }

    /// The socket of its API and of CRI.
    pub fn socket(&self) -> String {
        self.folder.path().join("containerd.sock").to_string_lossy().into_owned()
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--address", &self.socket(), "--namespace", "k8s.io"]);
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Shims outlive their daemon, and would outlive a test that failed.
        let tasks = run(self.ctr().args(["tasks", "list", "--quiet"])).text();
        for task in tasks.split_whitespace() {
            let _ = run(self.ctr().args(["tasks", "delete", "--force", task]));
        }
        if let Some(daemon) = self.daemon.take() {
            daemon.stop(Signal::SIGTERM);
        }
    }
}

fn config(folder: &Path) -> String {
    let folder = folder.display();
    // Pods get shares of the processors, for which the hierarchy needs that controller. Where version 1 has it, they go
    // without limits, and below the daemon's own cgroup.
    let disable_cgroup = !has_cpu_controller();
    format!(
        r#"version = 2
root = "{folder}/data"
state = "{folder}/run"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
disable_cgroup = {disable_cgroup}
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/cni"
conf_dir = "{folder}/cni"
"#
    )
}

fn has_cpu_controller() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let hierarchies = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    hierarchies.filter(|fields| fields[2] == "cgroup2").any(|fields| {
        let controllers = fs::read_to_string(Path::new(fields[1]).join("cgroup.controllers"));
        controllers.is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "cpu"))
    })
}

/// An image as `docker save` writes it: a layer, a configuration, and a list of both.
fn image(folder: &Path) -> std::path::PathBuf {
    let root = busybox_root(folder);
    // Runtimes mount there.
    for mounted in ["etc", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(mounted)).expect("a folder");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("a file");
    let _ = symlink("../proc/self/mounts", root.join("etc/mtab"));
    let parts = folder.join("image");
    fs::create_dir(&parts).expect("a folder");
    let layer = parts.join("layer.tar");
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&layer).arg(".")).success();
    let digest = run(Command::new("sha256sum").arg(&layer)).success().text();
    let digest = digest.split_whitespace().next().expect("a digest");
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/bin/sleep", "100000"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    fs::write(parts.join("config.json"), config.to_string()).expect("a file");
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }
    ]);
    fs::write(parts.join("manifest.json"), manifest.to_string()).expect("a file");
    let archive = folder.join("image.tar");
    run(Command::new("tar").arg("-C").arg(&parts).arg("-cf").arg(&archive).args([
        "manifest.json",
        "config.json",
        "layer.tar",
    ]))
    .success();
    archive
}
