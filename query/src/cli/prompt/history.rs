//! Where the prompt keeps its history.

use std::path::{Path, PathBuf};

use rustyline::Editor;
use rustyline::history::FileHistory;

use super::helper::SqlHelper;

/// The history's file: `$XDG_STATE_HOME/kcap/history`, by default below `~/.local/state` (XDG Base Directory
/// Specification). `None` when there is no home.
pub(super) fn path() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(from("HOME").or_else(|| from("USERPROFILE"))?.join(".local/state")))?;
    Some(state.join("kcap").join("history"))
}

/// Saves the history; a home that cannot be written is no reason to complain after the work is done.
pub(super) fn save(editor: &mut Editor<SqlHelper, FileHistory>, path: &Path) {
    if let Some(folder) = path.parent()
        && std::fs::create_dir_all(folder).is_ok()
    {
        let _ = editor.save_history(path);
    }
}
