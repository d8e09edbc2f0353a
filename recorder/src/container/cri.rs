//! What the Container Runtime Interface of Kubernetes says of containers and pods.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use kcap_format::proto::container::Source;
use kcap_format::proto::{Container, Pod};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tower::service_fn;

use super::cri_api::runtime_service_client::RuntimeServiceClient;
use super::cri_api::{
    self, ContainerEventResponse, ContainerEventType, ContainerFilter, ContainerStatusRequest,
    GetEventsRequest, ListContainersRequest, ListPodSandboxRequest, PodSandboxStatusRequest, VersionRequest,
};
use super::path;
use super::runtime::{Link, REQUEST_TIMEOUT, Runtime, Told};
use super::store::CONTAINERS_MAX;
use super::text::Limiter;

/// Most bytes of an answer: what kubelet takes.
const ANSWER_LEN_MAX: usize = 16 << 20;
/// Longest id of a container or sandbox that is believed.
const ID_LEN_MAX: usize = 128;
/// Only there for its form: a Unix socket has no host.
const HOST: &str = "http://cri";

type Client = RuntimeServiceClient<Channel>;

/// Tells of the containers that there are, and then of those that come, until something fails.
///
/// Runtimes that have no events (containerd before 1.7) are asked for a container when its cgroup is made.
pub(super) async fn follow(runtime: &Runtime, link: &mut Link) -> Result<()> {
    let mut client = connect(runtime).await?;
    let version = in_time(client.version(VersionRequest::default())).await?.context("no answer of CRI v1")?;
    let mut follower = Follower {
        name: runtime_name(&version.into_inner().runtime_name, runtime.name),
        events: events(&mut client).await,
        client,
        pods: HashMap::new(),
    };
    follower.list(link).await?;
    link.connected(runtime);
    loop {
        tokio::select! {
            event = next(&mut follower.events) => match event {
                Ok(Some(event)) => follower.note_event(link, event).await,
                // Some end the stream at once, since they have no events.
                Ok(None) => follower.events = None,
                Err(status) if status.code() == Code::Unimplemented => follower.events = None,
                Err(status) => return Err(status).context("reading events"),
            },
            wanted = link.lookups.recv() => match wanted {
                Some(id) => {
                    let found = follower.look_up(link, &id).await;
                    link.looked_up();
                    found?;
                }
                None => return Ok(()),
            },
        }
    }
}

struct Follower {
    client: Client,
    name: String,
    events: Option<Streaming<ContainerEventResponse>>,
    /// By their sandboxes' ids.
    pods: HashMap<String, (Pod, u64)>,
}

impl Follower {
    async fn list(&mut self, link: &mut Link) -> Result<()> {
        let sandboxes = in_time(self.client.list_pod_sandbox(ListPodSandboxRequest {})).await?;
        for sandbox in sandboxes.context("listing pods")?.into_inner().items.into_iter().take(CONTAINERS_MAX)
        {
            let created_at = sandbox.created_at;
            let pod = self.note_pod(sandbox.id, sandbox.metadata, sandbox.labels, sandbox.annotations);
            self.tell_sandbox(link, pod, created_at).await;
        }
        let containers = in_time(self.client.list_containers(ListContainersRequest::default())).await?;
        let containers = containers.context("listing containers")?.into_inner().containers;
        for container in containers.into_iter().take(CONTAINERS_MAX) {
            self.tell_container(link, container).await;
        }
        Ok(())
    }

    /// Asks for a container, or a sandbox, and tells what is said. That there is none (any more) is no failure.
    async fn look_up(&mut self, link: &mut Link, id: &str) -> Result<()> {
        let filter = Some(ContainerFilter { id: id.to_owned() });
        let request = ListContainersRequest { filter };
        let found = in_time(self.client.list_containers(request)).await?;
        let found = found.context("asking for a container")?.into_inner().containers;
        let Some(container) = found.into_iter().find(|container| container.id == id) else {
            return self.look_up_sandbox(link, id).await;
        };
        if !self.pods.contains_key(&container.pod_sandbox_id) {
            let sandbox = container.pod_sandbox_id.clone();
            self.look_up_sandbox(link, &sandbox).await?;
        }
        let is_named = container.image.as_ref().is_some_and(|image| !image.image.starts_with("sha256:"));
        if is_named {
            self.tell_container(link, container).await;
            return Ok(());
        }
        // The list has the image by its digest, the status as it was asked for.
        let request = ContainerStatusRequest { container_id: id.to_owned() };
        let status = in_time(self.client.container_status(request)).await?.ok();
        let image = status.and_then(|status| status.into_inner().status).and_then(|status| status.image);
        let container = cri_api::Container { image: image.or(container.image.clone()), ..container };
        self.tell_container(link, container).await;
        Ok(())
    }

    async fn look_up_sandbox(&mut self, link: &mut Link, id: &str) -> Result<()> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned() };
        match in_time(self.client.pod_sandbox_status(request)).await? {
            Ok(response) => {
                if let Some(status) = response.into_inner().status {
                    let created_at = status.created_at;
                    let pod = self.note_pod(status.id, status.metadata, status.labels, status.annotations);
                    self.tell_sandbox(link, pod, created_at).await;
                }
                Ok(())
            }
            Err(status) if is_an_answer(&status) => Ok(()),
            Err(status) => Err(status).context("asking for a pod"),
        }
    }

    async fn note_event(&mut self, link: &mut Link, event: ContainerEventResponse) {
        let kind = event.container_event_type();
        let sandbox_id = event.pod_sandbox_status.as_ref().map(|status| status.id.clone());
        if let Some(status) = event.pod_sandbox_status {
            let created_at = status.created_at;
            let pod = self.note_pod(status.id, status.metadata, status.labels, status.annotations);
            if pod.as_ref().is_some_and(|(pod, _)| pod.sandbox_id == event.container_id) {
                self.tell_sandbox(link, pod, created_at).await;
            }
        }
        for status in event.containers_statuses.into_iter().filter(|status| status.id == event.container_id) {
            let container = cri_api::Container {
                id: status.id,
                pod_sandbox_id: sandbox_id.clone().unwrap_or_default(),
                metadata: status.metadata,
                image: status.image,
                image_ref: status.image_ref,
                created_at: status.created_at,
                labels: status.labels,
            };
            self.tell_container(link, container).await;
        }
        if matches!(
            kind,
            ContainerEventType::ContainerStoppedEvent | ContainerEventType::ContainerDeletedEvent
        ) {
            if kind == ContainerEventType::ContainerDeletedEvent {
                self.pods.remove(&event.container_id);
            }
            link.tell(Told::Gone(event.container_id)).await;
        }
    }

    /// Remembers a pod, for its containers.
    fn note_pod(
        &mut self,
        sandbox_id: String,
        metadata: Option<cri_api::PodSandboxMetadata>,
        labels: HashMap<String, String>,
        annotations: HashMap<String, String>,
    ) -> Option<(Pod, u64)> {
        if sandbox_id.is_empty() || sandbox_id.len() > ID_LEN_MAX {
            return None;
        }
        if self.pods.len() >= CONTAINERS_MAX && !self.pods.contains_key(&sandbox_id) {
            // They are asked for again when they are needed.
            self.pods.clear();
        }
        let mut limiter = Limiter::default();
        let metadata = metadata.unwrap_or_default();
        let pod = Pod {
            id: limiter.name(metadata.uid),
            name: limiter.name(metadata.name),
            namespace: limiter.name(metadata.namespace),
            labels: limiter.labels(labels),
            annotations: limiter.labels(annotations),
            sandbox_id: sandbox_id.clone(),
        };
        let noted = (pod, limiter.truncated);
        self.pods.insert(sandbox_id, noted.clone());
        Some(noted)
    }

    /// The sandbox is a container too, of its own image, which does nothing.
    async fn tell_sandbox(&self, link: &mut Link, pod: Option<(Pod, u64)>, created_at: i64) {
        let Some((pod, truncated)) = pod else { return };
        let container = Container {
            id: pod.sandbox_id.clone(),
            runtime: self.name.clone(),
            created_realtime_ns: u64::try_from(created_at).unwrap_or(0),
            pod: Some(pod),
            source: Source::Cri.into(),
            truncated,
            ..Container::default()
        };
        link.tell(Told::Container(Box::new(container))).await;
    }

    async fn tell_container(&self, link: &mut Link, container: cri_api::Container) {
        if container.id.is_empty() || container.id.len() > ID_LEN_MAX {
            return;
        }
        let mut limiter = Limiter::default();
        let pod = self.pods.get(&container.pod_sandbox_id);
        let container = Container {
            id: container.id,
            runtime: self.name.clone(),
            name: limiter.name(container.metadata.unwrap_or_default().name),
            image: limiter.name(container.image.unwrap_or_default().image),
            image_id: limiter.name(container.image_ref),
            labels: limiter.labels(container.labels),
            created_realtime_ns: u64::try_from(container.created_at).unwrap_or(0),
            pod: pod.map(|(pod, _)| pod.clone()),
            source: Source::Cri.into(),
            truncated: limiter.truncated + pod.map_or(0, |(_, truncated)| *truncated),
            ..Container::default()
        };
        link.tell(Told::Container(Box::new(container))).await;
    }
}

async fn connect(runtime: &Runtime) -> Result<Client> {
    let socket: Arc<std::path::Path> = runtime.socket.as_path().into();
    let connector = service_fn(move |_: tonic::transport::Uri| {
        let socket = Arc::clone(&socket);
        async move { UnixStream::connect(&socket).await.map(TokioIo::new) }
    });
    let channel = in_time(Endpoint::from_static(HOST).connect_with_connector(connector)).await??;
    Ok(RuntimeServiceClient::new(channel).max_decoding_message_size(ANSWER_LEN_MAX))
}

/// The stream of events; `None` where there is none.
async fn events(client: &mut Client) -> Option<Streaming<ContainerEventResponse>> {
    // Some only answer with the first event: whether there are any is known then.
    let opened = timeout(EVENTS_TIMEOUT, client.get_container_events(GetEventsRequest {})).await;
    opened.ok()?.ok().map(tonic::Response::into_inner)
}

/// How long is waited for a stream of events to be opened.
const EVENTS_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);

/// The next event; waits for ever where there are none.
async fn next(
    events: &mut Option<Streaming<ContainerEventResponse>>,
) -> Result<Option<ContainerEventResponse>, Status> {
    match events {
        Some(events) => events.message().await,
        None => std::future::pending().await,
    }
}

async fn in_time<T>(request: impl Future<Output = T>) -> Result<T> {
    timeout(REQUEST_TIMEOUT, request).await.context("no answer in time")
}

/// The runtime has understood, and doesn't have it.
fn is_an_answer(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::InvalidArgument)
}

/// Under the name that paths of cgroups give it.
fn runtime_name(told: &str, by_socket: &str) -> String {
    match told {
        "containerd" => path::CONTAINERD.to_owned(),
        "cri-o" => path::CRI_O.to_owned(),
        "docker" => path::DOCKER.to_owned(),
        _ => by_socket.to_owned(),
    }
}
