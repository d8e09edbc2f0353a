//! What the Docker API says of containers; Podman has the same API.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerInspectResponse, EventMessage};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use futures::StreamExt;
use kcap_format::proto::container::Source;
use kcap_format::proto::{Container, Pod};
use std::pin::pin;
use tokio::time::timeout;

use super::runtime::{Link, REQUEST_TIMEOUT, Runtime, Told};
use super::store::CONTAINERS_MAX;
use super::text::Limiter;
use super::{timestamp, transport};

/// Labels that Kubernetes' shim for Docker gives to containers.
const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// Attributes of an event that are no labels.
const EVENT_ATTRIBUTES: [&str; 7] =
    ["image", "name", "exitCode", "signal", "execID", "execDuration", "oldName"];

/// Tells of the containers that run, and then of those that come and go, until something fails.
pub(super) async fn follow(runtime: &Runtime, link: &mut Link) -> Result<()> {
    let docker = transport::docker(&runtime.socket, REQUEST_TIMEOUT)?;
    let docker = in_time(docker.negotiate_version()).await?.context("no answer of Docker's API")?;
    // Events first, so that nothing happens between the list and them.
    let only_containers = HashMap::from([("type", vec!["container"])]);
    let options = EventsOptionsBuilder::default().filters(&only_containers).build();
    let mut events = pin!(docker.events(Some(options)));
    let options = ListContainersOptionsBuilder::default().all(false).build();
    let running = in_time(docker.list_containers(Some(options))).await?.context("listing containers")?;
    for summary in running.into_iter().take(CONTAINERS_MAX) {
        if let Some(id) = summary.id {
            inspect(&docker, runtime, link, &id).await?;
        }
    }
    link.connected(runtime);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => note_event(&docker, runtime, link, event).await?,
                Some(Err(error)) => return Err(error).context("reading events"),
                None => return Err(anyhow!("the stream of events ended")),
            },
            wanted = link.lookups.recv() => match wanted {
                Some(id) => {
                    let found = inspect(&docker, runtime, link, &id).await;
                    link.looked_up();
                    found?;
                }
                None => return Ok(()),
            },
        }
    }
}

async fn in_time<T>(request: impl Future<Output = T>) -> Result<T> {
    timeout(REQUEST_TIMEOUT, request).await.context("no answer in time")
}

async fn note_event(docker: &Docker, runtime: &Runtime, link: &mut Link, event: EventMessage) -> Result<()> {
    let Some(actor) = event.actor else { return Ok(()) };
    let Some(id) = actor.id.filter(|id| is_sensible(id)) else { return Ok(()) };
    match event.action.as_deref() {
        Some("create" | "start" | "rename") => {
            // At once, since it may be gone before it can be asked for.
            let attributes = actor.attributes.unwrap_or_default();
            link.tell(Told::Container(Box::new(of_attributes(runtime, &id, attributes)))).await;
            inspect(docker, runtime, link, &id).await
        }
        Some("die" | "destroy") => {
            link.tell(Told::Gone(id)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Asks for a container, and tells what is said. That there is none (any more) is no failure.
async fn inspect(docker: &Docker, runtime: &Runtime, link: &mut Link, id: &str) -> Result<()> {
    if !is_sensible(id) {
        return Ok(());
    }
    match in_time(docker.inspect_container(id, None::<InspectContainerOptions>)).await? {
        Ok(response) => {
            if let Some(container) = of_response(runtime, response) {
                link.tell(Told::Container(Box::new(container))).await;
            }
            Ok(())
        }
        Err(DockerError::DockerResponseServerError { .. }) => Ok(()),
        Err(error) => Err(error).context("asking for a container"),
    }
}

/// Ids become part of a URL.
fn is_sensible(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn of_attributes(runtime: &Runtime, id: &str, mut attributes: HashMap<String, String>) -> Container {
    let mut limiter = Limiter::default();
    let name = limiter.name(attributes.remove("name").unwrap_or_default());
    let image = limiter.name(attributes.remove("image").unwrap_or_default());
    attributes.retain(|key, _| !EVENT_ATTRIBUTES.contains(&key.as_str()));
    let labels = limiter.labels(attributes);
    let pod = pod_of(&labels);
    Container {
        id: id.to_owned(),
        runtime: runtime.name.to_owned(),
        name,
        image,
        labels,
        pod,
        source: Source::Docker.into(),
        truncated: limiter.truncated,
        ..Container::default()
    }
}

fn of_response(runtime: &Runtime, response: ContainerInspectResponse) -> Option<Container> {
    let id = response.id.filter(|id| is_sensible(id))?;
    let mut limiter = Limiter::default();
    let name = response.name.unwrap_or_default();
    let config = response.config.unwrap_or_default();
    let labels = limiter.labels(config.labels.unwrap_or_default());
    let created = response.created.and_then(|created| timestamp::realtime_ns(&created));
    Some(Container {
        id,
        runtime: runtime.name.to_owned(),
        // The slash stands for the daemon itself, from the time of links between containers.
        name: limiter.name(name.strip_prefix('/').unwrap_or(&name).to_owned()),
        image: limiter.name(config.image.unwrap_or_default()),
        image_id: limiter.name(response.image.unwrap_or_default()),
        pod: pod_of(&labels),
        labels,
        created_realtime_ns: created.unwrap_or(0),
        source: Source::Docker.into(),
        truncated: limiter.truncated,
        ..Container::default()
    })
}

fn pod_of(labels: &std::collections::BTreeMap<String, String>) -> Option<Pod> {
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    labels.contains_key(POD_NAME_LABEL).then(|| Pod {
        id: label(POD_UID_LABEL),
        name: label(POD_NAME_LABEL),
        namespace: label(POD_NAMESPACE_LABEL),
        ..Pod::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn runtime() -> Runtime {
        Runtime { socket: PathBuf::new(), name: "docker" }
    }

    #[test]
    fn an_event_has_labels_among_its_attributes() {
        let attributes = [("name", "web"), ("image", "nginx:1"), ("exitCode", "0"), ("tier", "front")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let container = of_attributes(&runtime(), "abc", attributes);
        assert_eq!((container.name.as_str(), container.image.as_str()), ("web", "nginx:1"));
        assert_eq!(container.labels.into_iter().collect::<Vec<_>>(), [("tier".into(), "front".into())]);
        assert_eq!(container.pod, None);
    }

    #[test]
    fn an_answer_gives_all_there_is() {
        let json = r#"{"Id":"abc","Created":"2024-02-29T12:00:00.5Z","Image":"sha256:00","Name":"/web","Config":{
            "Image":"nginx:1","Labels":{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop",
            "io.kubernetes.pod.uid":"u-1"}},"State":{"Pid":77}}"#;
        let response: ContainerInspectResponse = serde_json::from_str(json).unwrap();
        let container = of_response(&runtime(), response).unwrap();
        assert_eq!((container.name.as_str(), container.image_id.as_str()), ("web", "sha256:00"));
        assert_eq!(container.created_realtime_ns, 1_709_208_000_500_000_000);
        let pod = container.pod.unwrap();
        assert_eq!((pod.id.as_str(), pod.name.as_str(), pod.namespace.as_str()), ("u-1", "web-0", "shop"));
    }

    #[test]
    fn ids_that_would_change_the_request_are_not_asked_for() {
        for bad in ["", "../info", "a/b", "a?b", "a b", "é", &"x".repeat(129)] {
            assert!(!is_sensible(bad), "{bad}");
        }
        assert!(is_sensible("my-web_1.a"));
    }
}
