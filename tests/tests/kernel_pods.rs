//! Pods of a real containerd, made over the Container Runtime Interface: each packet carries its container and pod.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kcap_format::Segment;
use kcap_recorder::container::cri_api::runtime_service_client::RuntimeServiceClient;
use kcap_recorder::container::cri_api::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, LinuxContainerConfig,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopPodSandboxRequest,
};
use kcap_tests::answer::{get, serve};
use kcap_tests::command::wait_until;
use kcap_tests::containerd::{Containerd, IMAGE};
use kcap_tests::containers::{Owners, carried, leaving_for};
use kcap_tests::kernel;
use kcap_tests::recorder::{Recorder, segments};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

const OLD_UID: &str = "11111111-2222-4333-8444-555555555555";
const UID: &str = "6f1c2d3e-4b5a-4678-9abc-def012345678";

/// A small kubelet.
struct Kubelet {
    runtime: Runtime,
    client: RuntimeServiceClient<Channel>,
}

impl Kubelet {
    fn new(socket: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = PathBuf::from(socket);
        let connector = service_fn(move |_: tonic::transport::Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://cri");
        let channel = runtime.block_on(endpoint.connect_with_connector(connector)).expect("a connection");
        Self { runtime, client: RuntimeServiceClient::new(channel) }
    }

    /// Makes a pod; gives its sandbox's id and what it was made of.
    fn run_pod(&mut self, name: &str, uid: &str, namespace: &str) -> (String, PodSandboxConfig) {
        let on_the_host =
            NamespaceOption { network: NamespaceMode::Node.into(), ..NamespaceOption::default() };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: uid.to_owned(),
                namespace: namespace.to_owned(),
                attempt: 0,
            }),
            labels: HashMap::from([("app".to_owned(), name.to_owned())]),
            annotations: HashMap::from([("note".to_owned(), "a pod of a test".to_owned())]),
            linux: Some(LinuxPodSandboxConfig {
                // As kubelet has it: below the pod's cgroup.
                cgroup_parent: format!("/kubepods/besteffort/pod{uid}"),
                security_context: Some(LinuxSandboxSecurityContext { namespace_options: Some(on_the_host) }),
            }),
            ..PodSandboxConfig::default()
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let response = self.runtime.block_on(self.client.run_pod_sandbox(request)).expect("a pod");
        (response.into_inner().pod_sandbox_id, config)
    }

    /// Runs a script in a container of a pod; gives its id.
    fn run_container(&mut self, pod: &(String, PodSandboxConfig), name: &str, script: &str) -> String {
        let on_the_host =
            NamespaceOption { network: NamespaceMode::Node.into(), ..NamespaceOption::default() };
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.to_owned() }),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            labels: HashMap::from([("tier".to_owned(), "web".to_owned())]),
            linux: Some(LinuxContainerConfig {
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(on_the_host),
                }),
            }),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.0.clone(),
            config: Some(config),
            sandbox_config: Some(pod.1.clone()),
        };
        let response = self.runtime.block_on(self.client.create_container(request)).expect("a container");
        let container_id = response.into_inner().container_id;
        let request = StartContainerRequest { container_id: container_id.clone() };
        self.runtime.block_on(self.client.start_container(request)).expect("a start");
        container_id
    }

    fn remove_pod(&mut self, pod: &(String, PodSandboxConfig)) {
        let request = StopPodSandboxRequest { pod_sandbox_id: pod.0.clone() };
        self.runtime.block_on(self.client.stop_pod_sandbox(request)).expect("an end");
        let request = RemovePodSandboxRequest { pod_sandbox_id: pod.0.clone() };
        self.runtime.block_on(self.client.remove_pod_sandbox(request)).expect("gone");
    }
}

fn open(folder: &Path) -> Vec<Segment> {
    segments(folder).iter().map(|path| Segment::open(path).expect("a whole segment")).collect()
}

#[test]
fn each_packet_carries_its_pod() {
    if !kernel::available() {
        return;
    }
    let containerd = Containerd::start();
    let mut kubelet = Kubelet::new(&containerd.socket());
    let (old_port, new_port) = (serve(), serve());
    let old_pod = kubelet.run_pod("old-0", OLD_UID, "test");
    kubelet.run_container(&old_pod, "old", &format!("while :; do {}; sleep 0.2; done", get(old_port)));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let capture = folder.path().join("capture");
    let recorder =
        Recorder::start(&capture, &["--cri-socket", &containerd.socket(), "--docker-socket", "none"]);
    let pod = kubelet.run_pod("shop-0", UID, "prod");
    let id = kubelet.run_container(&pod, "front", &get(new_port));
    wait_until("the pod to be told of", || {
        let owners = Owners::of(&open(&capture));
        let is_known = |name| owners.named(name).is_some_and(|container| container.pod.is_some());
        (is_known("front") && is_known("old")).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    kubelet.remove_pod(&pod);
    recorder.stop();
    kubelet.remove_pod(&old_pod);

    let segments = open(&capture);
    let owners = Owners::of(&segments);
    let pods = [("old-0", OLD_UID, "test"), ("shop-0", UID, "prod")];
    for (port, name, (pod_name, pod_id, pod_namespace)) in
        [(old_port, "old", pods[0]), (new_port, "front", pods[1])]
    {
        let packets = leaving_for(&segments, port);
        assert!(!packets.is_empty(), "{name} has packets");
        for cookie in &packets {
            assert_eq!(owners.container_name(*cookie), name);
        }
        let carried = carried(&capture, port);
        let [all] = &carried[..] else { panic!("{name}: not all packets carry the same: {carried:?}") };
        let container = owners.named(name).expect("it was told of");
        let expected = json!({
            "container_id": container.id, "container_name": name, "image": IMAGE, "runtime": "containerd",
            "pod_name": pod_name, "pod_namespace": pod_namespace, "pod_id": pod_id,
            "pod_labels": {"app": pod_name}, "packets": packets.len(),
        });
        for (column, value) in expected.as_object().expect("an object") {
            assert_eq!(&all[column], value, "{column} of {all}");
        }
        assert_eq!(all["labels"]["tier"], "web");
    }
    let container = owners.container(&id).expect("the container by its id");
    assert_eq!((container.name.as_str(), container.runtime.as_str()), ("front", "containerd"));
    assert_eq!(container.image, IMAGE);
    assert!(container.image_id.starts_with("sha256:"), "{}", container.image_id);
    assert_eq!(container.labels.get("tier").map(String::as_str), Some("web"));
    assert!(container.created_realtime_ns > 0 && container.gone_ns > 0);
    let told = container.pod.as_ref().expect("a pod");
    assert_eq!((told.id.as_str(), told.name.as_str(), told.namespace.as_str()), (UID, "shop-0", "prod"));
    assert_eq!(told.labels.get("app").map(String::as_str), Some("shop-0"));
    assert_eq!(told.annotations.get("note").map(String::as_str), Some("a pod of a test"));
    assert_eq!(told.sandbox_id, pod.0);
}

#[test]
fn pods_can_be_asked_for() {
    if !kernel::available() {
        return;
    }
    let containerd = Containerd::start();
    let mut kubelet = Kubelet::new(&containerd.socket());
    let folder = tempfile::tempdir().expect("a scratch folder");
    for condition in [
        &format!("pod.id={UID}"),
        "pod.name=shop-0",
        "pod.namespace=prod",
        "pod.label=app=shop-0",
        "pod.label=app",
    ] {
        let (wanted, other) = (serve(), serve());
        let capture = folder.path().join(condition);
        let socket = containerd.socket();
        let options = ["--cri-socket", &socket, "--docker-socket", "none", "--where", condition];
        let recorder = Recorder::start(&capture, &options);
        let pod = kubelet.run_pod("shop-0", UID, "prod");
        kubelet.run_container(&pod, "front", &get(wanted));
        let mut on_host = std::process::Command::new("busybox");
        let url = format!("http://127.0.0.1:{other}/");
        kcap_tests::command::run(on_host.args(["wget", "-q", "-O", "/dev/null", &url])).success();
        std::thread::sleep(Duration::from_secs(2));
        kubelet.remove_pod(&pod);
        recorder.stop();
        let segments = open(&capture);
        // SYN, ACK, request, and the two that end it.
        assert!(leaving_for(&segments, wanted).len() >= 5, "{condition}");
        assert_eq!(leaving_for(&segments, other).len(), 0, "{condition}");
    }
}
