//! Names of files with `*` and `?`, for shells that leave them to the program, and for quoted ones.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The files that a path means whose last part is a pattern, sorted; none when it is no pattern, or nothing fits.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let pattern = path.file_name().and_then(|name| name.to_str()).filter(|name| name.contains(['*', '?']));
    let Some(pattern) = pattern else { return Ok(Vec::new()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str() else { continue };
        // As shells do: a name that begins with a dot is only meant by a pattern that does.
        if fits(pattern, name) && (!name.starts_with('.') || pattern.starts_with('.')) {
            paths.push(path.with_file_name(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a name fits a pattern: `*` stands for any characters, `?` for one.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut taken) = (0, 0);
    // Behind the last star, and how much of the name it took.
    let mut star = None;
    while taken < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                star = Some((at, taken));
            }
            Some(&character) if character == '?' || character == name[taken] => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((behind, took)) = star else { return false };
                at = behind;
                taken = took + 1;
                star = Some((behind, taken));
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name) in [
            ("*.pcap", "a.pcap"),
            ("*", ""),
            ("a*b*c", "a-b-b-c"),
            ("??", "ab"),
            ("*.pcap*", "x.pcap12"),
            ("é?", "éx"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.pcap", "a.pcap.gz"), ("??", "a"), ("a*b", "a-b-c"), ("", "a"), ("?", "")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        // Would take for ever if every star tried every length for each length of those before.
        assert!(!fits(&"*a".repeat(30), &"a".repeat(29)));
    }

    #[test]
    fn only_names_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.pcap", "a.pcap", ".hidden.pcap", "a.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| {
            let paths = expand(&folder.path().join(pattern)).unwrap();
            paths
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("*.pcap"), ["a.pcap", "b.pcap"]);
        assert_eq!(names(".*"), [".hidden.pcap"]);
        assert!(names("a.pcap").is_empty() && names("*.none").is_empty());
    }
}
