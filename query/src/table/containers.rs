//! `containers`: a row for each container that the recording tells of.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::datatypes::UInt64Type;
use kcap_format::proto::{self, event::Event as Kind};

use super::column::Column;
use super::facts::{Facts, RowSink};
use super::text::kernel_text;
use crate::error::Result;
use crate::source::{Library, Recording, uuid_text};

/// The table.
#[derive(Debug)]
pub(super) struct Containers;

/// Who told of a container, in the order of `Container.Source`, less the unspecified one.
const SOURCES: [&str; 3] = ["cgroup", "docker", "cri"];
/// About what a container takes while the table is put together.
const CONTAINER_MEMORY_BYTES: usize = 2048;

/// One container.
#[derive(Debug)]
pub(super) struct ContainerRow {
    container: proto::Container,
    cgroup_path: Option<String>,
    gone: Option<i64>,
    first_seen: i64,
    capture_id: Arc<str>,
}

impl ContainerRow {
    fn pod(&self) -> Option<&proto::Pod> {
        self.container.pod.as_ref()
    }
}

impl Facts for Containers {
    type Row = ContainerRow;
    const NAME: &'static str = "containers";
    const SUMMARY: &'static str = "A container that lived during the recording, with what is known of it at its end: from \
        its cgroup its id, from its runtime the rest.";

    #[rustfmt::skip]
    fn columns() -> Vec<Column<[ContainerRow]>> {
        vec![
            Column::text("container_id", "As the runtime names it", |rows: &[ContainerRow], row| Some(&rows[row].container.id)).required(),
            Column::text("container_name", "Name; null when no runtime told it", |rows: &[ContainerRow], row| known(&rows[row].container.name)),
            Column::repeated_text("runtime", "docker, containerd, cri-o or podman; null when nothing tells", |rows: &[ContainerRow], row| known(&rows[row].container.runtime)),
            Column::text("image", "Image as it was asked for", |rows: &[ContainerRow], row| known(&rows[row].container.image)),
            Column::text("image_id", "Digest of the image", |rows: &[ContainerRow], row| known(&rows[row].container.image_id)),
            Column::text_map("labels", "Labels by their keys, as in `labels['app']`", |rows: &[ContainerRow], row| Some(&rows[row].container.labels)),
            Column::text("pod_id", "UID of its pod; null outside of pods", |rows: &[ContainerRow], row| known(&rows[row].pod()?.id)),
            Column::text("pod_name", "Name of its pod", |rows: &[ContainerRow], row| known(&rows[row].pod()?.name)),
            Column::repeated_text("pod_namespace", "Namespace of its pod", |rows: &[ContainerRow], row| known(&rows[row].pod()?.namespace)),
            Column::text_map("pod_labels", "Labels of its pod", |rows: &[ContainerRow], row| Some(&rows[row].pod()?.labels)),
            Column::text_map("pod_annotations", "Annotations of its pod", |rows: &[ContainerRow], row| Some(&rows[row].pod()?.annotations)),
            Column::text("sandbox_id", "The container that holds the pod's namespaces", |rows: &[ContainerRow], row| known(&rows[row].pod()?.sandbox_id)),
            Column::number::<UInt64Type>("cgroup_id", "Id of its cgroup v2 (inode of the folder); null when none was seen", |rows: &[ContainerRow], row| Some(rows[row].container.cgroup_id).filter(|id| *id != 0)),
            Column::text("cgroup_path", "Path of its cgroup below the root", |rows: &[ContainerRow], row| rows[row].cgroup_path.as_deref()),
            Column::timestamp("created_ts", "When its runtime made it; null when no runtime told", |rows: &[ContainerRow], row| i64::try_from(rows[row].container.created_realtime_ns).ok().filter(|time| *time != 0)),
            Column::timestamp("gone_ts", "When its cgroup was removed or its runtime said that it ended; null while it lives", |rows: &[ContainerRow], row| rows[row].gone),
            Column::enumeration("source", &SOURCES, "Who told most of it: cgroup (its path alone), docker, or cri", |rows: &[ContainerRow], row| usize::try_from(rows[row].container.source).ok()?.checked_sub(1)),
            Column::number::<UInt64Type>("truncated_bytes", "Bytes of names, labels and annotations beyond the recorder's limits", |rows: &[ContainerRow], row| Some(rows[row].container.truncated)).required(),
            Column::timestamp("first_seen_ts", "When the recording first tells of it", |rows: &[ContainerRow], row| Some(rows[row].first_seen)).required(),
            Column::repeated_text("capture_id", "The recording (UUID)", |rows: &[ContainerRow], row| Some(&rows[row].capture_id)).required(),
        ]
    }

    fn rows(library: &Arc<Library>, sink: &mut RowSink<ContainerRow>) -> Result<()> {
        for recording in &library.recordings {
            for row in collect(recording, sink)? {
                sink.push(row)?;
            }
        }
        Ok(())
    }
}

/// All containers of a recording in the order in which they became known.
fn collect(recording: &Recording, sink: &mut RowSink<ContainerRow>) -> Result<Vec<ContainerRow>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows: Vec<ContainerRow> = Vec::new();
    for handle in &recording.segments {
        let clock = handle.clock()?;
        let capture_id: Arc<str> = uuid_text(&handle.file_info().capture_id).into();
        for events in handle.events()? {
            for event in events? {
                let Some(Kind::Container(container)) = event.event else { continue };
                let gone = (container.gone_ns != 0).then(|| clock.realtime_ns(container.gone_ns));
                let cgroup_path = kernel_text(&container.cgroup_path);
                match places.entry(container.id.clone()) {
                    Entry::Occupied(place) => {
                        let row = &mut rows[*place.get()];
                        *row = ContainerRow {
                            container,
                            cgroup_path: cgroup_path.or(row.cgroup_path.take()),
                            gone: gone.or(row.gone),
                            first_seen: row.first_seen,
                            capture_id: Arc::clone(&capture_id),
                        };
                    }
                    Entry::Vacant(place) => {
                        sink.reserve(CONTAINER_MEMORY_BYTES)?;
                        place.insert(rows.len());
                        let first_seen = clock.realtime_ns(event.time_ns);
                        let capture_id = Arc::clone(&capture_id);
                        rows.push(ContainerRow { container, cgroup_path, gone, first_seen, capture_id });
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// What is empty in the message is not known.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
