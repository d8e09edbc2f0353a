//! A folder of Parquet that kcap wrote: `table=…/date=…/host=…/part-N.parquet`.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How the folder of a table begins.
const TABLE_PREFIX: &str = "table=";

/// The tables of a Parquet folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lake {
    /// Names with their folders, sorted.
    pub tables: Vec<(String, PathBuf)>,
}

impl Lake {
    /// The tables below a folder; `None` when it holds none, and so is no such folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.is_dir() {
            return Ok(None);
        }
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let mut tables = Vec::new();
        for entry in path.read_dir().map_err(unreadable)? {
            let folder = entry.map_err(unreadable)?.path();
            let name = folder.file_name().and_then(|name| name.to_str()?.strip_prefix(TABLE_PREFIX));
            if let Some(name) = name.filter(|_| folder.is_dir()) {
                let absolute = folder.canonicalize().map_err(unreadable)?;
                tables.push((name.to_owned(), absolute));
            }
        }
        tables.sort();
        Ok(Some(Self { tables }).filter(|lake| !lake.tables.is_empty()))
    }
}
