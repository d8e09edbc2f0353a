//! Which fields documents of payload have.

use kcap_format::proto;

/// Which fields documents have beside those of the run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFields {
    /// Whether the bytes themselves are written.
    pub payload: bool,
    /// The fields of processes, containers and pods, as [`Self::selected`] gives them; `None` for all.
    pub meta: Option<Vec<MetaField>>,
}

/// A field of a process, a container or a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaField {
    /// `process`, `container` or `pod`.
    group: &'static str,
    /// Name in documents.
    name: &'static str,
    /// Whether it is one of the few that `min` stands for.
    is_min: bool,
}

/// All fields of processes, containers and pods.
const FIELDS: [MetaField; 19] = [
    field("process", "pid").min(),
    field("process", "ppid"),
    field("process", "name").min(),
    field("process", "cmd"),
    field("process", "exe"),
    field("process", "ns"),
    field("process", "startedAt"),
    field("container", "ID").min(),
    field("container", "Name").min(),
    field("container", "Image"),
    field("container", "ImageID"),
    field("container", "Runtime"),
    field("container", "CreatedAt"),
    field("container", "Labels"),
    field("pod", "ID").min(),
    field("pod", "Name").min(),
    field("pod", "Namespace").min(),
    field("pod", "Labels"),
    field("pod", "Annotations"),
];

const fn field(group: &'static str, name: &'static str) -> MetaField {
    MetaField { group, name, is_min: false }
}

impl MetaField {
    const fn min(self) -> Self {
        Self { is_min: true, ..self }
    }
}

impl PayloadFields {
    /// What any of a packet's tasks wants of documents. Selectors that this program doesn't know stand for everything.
    #[must_use]
    pub fn of_tasks<'a>(tasks: impl Iterator<Item = &'a proto::PayloadTask>) -> Self {
        let mut fields = Self { payload: false, meta: Some(Vec::new()) };
        for task in tasks {
            fields.payload |= !task.skip_payload;
            let selected = Self::selected(&task.meta).ok();
            fields.meta = fields.meta.zip(selected).map(|(mut all, selected)| {
                add(&mut all, selected);
                all
            });
        }
        fields
    }

    /// Reads selectors joined by `+`, as in `process.name+pod.min`: `process`, `container` or `pod`, each alone or with
    /// `.all` for all of its fields, with `.min` for those that name it, or with the name of one field in any case.
    ///
    /// # Errors
    /// The selector that names nothing.
    pub fn selected(selectors: &str) -> Result<Vec<MetaField>, String> {
        let mut selected = Vec::new();
        for selector in selectors.split('+') {
            let (group, name) = selector.split_once('.').unwrap_or((selector, "all"));
            let is_chosen = |field: &MetaField| {
                field.group == group
                    && match name {
                        "all" => true,
                        "min" => field.is_min,
                        name => field.name.eq_ignore_ascii_case(name),
                    }
            };
            if !FIELDS.iter().any(is_chosen) {
                return Err(selector.to_owned());
            }
            add(&mut selected, FIELDS.into_iter().filter(is_chosen));
        }
        Ok(selected)
    }

    /// Whether documents have a field.
    pub(super) fn has(&self, group: &str, name: &str) -> bool {
        let is_it = |field: &MetaField| field.group == group && field.name == name;
        self.meta.as_ref().is_none_or(|fields| fields.iter().any(is_it))
    }
}

/// Adds fields that are not among the others yet.
fn add(fields: &mut Vec<MetaField>, others: impl IntoIterator<Item = MetaField>) {
    for field in others {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_name_groups_and_fields() {
        let names = |selectors: &str| -> Vec<String> {
            let fields = PayloadFields::selected(selectors).expect("selectors");
            fields.iter().map(|field| format!("{}.{}", field.group, field.name)).collect()
        };
        assert_eq!(names("process.min"), ["process.pid", "process.name"]);
        assert_eq!(names("pod.min"), ["pod.ID", "pod.Name", "pod.Namespace"]);
        assert_eq!(names("container.imageid+process.PID"), ["container.ImageID", "process.pid"]);
        assert_eq!(names("process.min+process.name+process.pid"), names("process.min"), "each once");
        assert_eq!((names("process").len(), names("container.all").len(), names("pod").len()), (7, 7, 5));
        for wrong in ["pod.colour", "", "process.name+", "host.name", "name", "process.container.ID"] {
            let named = wrong.rsplit('+').next().unwrap_or_default();
            assert_eq!(PayloadFields::selected(wrong), Err(named.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn documents_have_what_any_task_wants() {
        let task = |meta: &str, skip_payload| proto::PayloadTask {
            meta: meta.to_owned(),
            skip_payload,
            ..proto::PayloadTask::default()
        };
        let fields = |tasks: &[proto::PayloadTask]| {
            let fields = PayloadFields::of_tasks(tasks.iter());
            (fields.payload, fields.meta.map(|meta| meta.iter().map(|field| field.name).collect::<Vec<_>>()))
        };
        let (name, pod) = (task("process.name", true), task("pod.id+pod.name", false));
        assert_eq!(fields(std::slice::from_ref(&name)), (false, Some(vec!["name"])));
        assert_eq!(fields(&[name.clone(), pod.clone()]), (true, Some(vec!["name", "ID", "Name"])));
        assert_eq!(fields(&[name, task("", true)]), (false, None), "a task without selectors wants all");
        assert_eq!(fields(&[pod, task("process.colour", true)]), (true, None));
    }

    #[test]
    fn the_specification_has_every_field() {
        let text = include_str!("../../../spec/payload.md");
        for MetaField { group, name, is_min } in FIELDS {
            let row = format!("| `{group}.{name}` | {} |", if is_min { "yes" } else { "" });
            assert!(text.contains(&row), "{row}");
        }
        assert_eq!(text.matches("\n| `").count(), FIELDS.len() + 9, "nine are of the run itself");
    }
}
