//! One page about recordings: traffic over time, who talked with whom, every flow, and what was lost.
//!
//! The page is one file that asks nothing of a network: its style and script are in it, its data are JSON.

mod data;

use std::sync::Arc;

use crate::error::Result;
use crate::source::Library;
use crate::sql::SessionSettings;

/// The page; the data take the place of [`PLACE`].
const PAGE: &str = include_str!("page.html");
/// Where the data go.
const PLACE: &str = "/*DATA*/";

/// The text of the page. `title` is shown above.
///
/// # Errors
/// When a question about the recordings fails.
pub async fn page(library: &Arc<Library>, settings: &SessionSettings, title: &str) -> Result<String> {
    let data = data::gather(library, settings, title).await?;
    // Nothing in a script element may look like its end.
    let json = data.to_string().replace('<', "\\u003c");
    Ok(PAGE.replacen(PLACE, &json, 1))
}
