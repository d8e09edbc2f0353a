//! `meta`: what documents of the payload are to say of processes, containers and pods; the selectors of `spec/payload.md`.

use crate::nearest::nearest;

/// What can be told of, with the fields of each.
const FIELDS: [(&str, &[&str]); 3] = [
    ("process", &["pid", "ppid", "name", "cmd", "exe", "ns", "startedAt"]),
    ("container", &["ID", "Name", "Image", "ImageID", "Runtime", "CreatedAt", "Labels"]),
    ("pod", &["ID", "Name", "Namespace", "Labels", "Annotations"]),
];
/// What stands for several fields.
const GROUPS: [&str; 2] = ["all", "min"];

/// Refuses selectors, joined by `+`, that select nothing.
pub(super) fn check(selectors: &str) -> Result<(), String> {
    if selectors.is_empty() {
        return Ok(());
    }
    let known: Vec<String> = known().collect();
    for selector in selectors.split('+') {
        if !known.iter().any(|name| name.eq_ignore_ascii_case(selector)) {
            let help = match nearest(selector, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean '{meant}'?"),
                None => "give process.all, process.min or process.FIELD, and the same of container and pod"
                    .to_owned(),
            };
            return Err(format!("'{selector}' selects nothing; {help}"));
        }
    }
    Ok(())
}

fn known() -> impl Iterator<Item = String> {
    FIELDS.into_iter().flat_map(|(thing, fields)| {
        let of_thing = fields.iter().chain(&GROUPS).map(move |field| format!("{thing}.{field}"));
        std::iter::once(thing.to_owned()).chain(of_thing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_that_documents_have() {
        let document = include_str!("../../../spec/payload.md");
        let named = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let mut named: Vec<&str> = named.map(|(name, _)| name).filter(|name| name.contains('.')).collect();
        named.retain(|name| !name.starts_with("net."));
        let fields: Vec<String> = FIELDS
            .iter()
            .flat_map(|(thing, fields)| fields.iter().map(move |field| format!("{thing}.{field}")))
            .collect();
        assert_eq!(named, fields);
    }

    #[test]
    fn selectors_select_something() {
        for good in ["", "process", "process.name+pod.min", "container.all+process.startedAt", "pod.labels"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["process.", "name+", "+", "process.name,pod.min", "host.name"] {
            assert!(check(bad).unwrap_err().contains("selects nothing"), "{bad}");
        }
    }
}
