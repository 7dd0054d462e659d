//! How any source is prepared.

use serde::Serialize;

use crate::lines::MAX_LINE_BYTES;
use crate::split::SplitOptions;
use crate::writer::Overwrite;

/// How any source is prepared. What one source alone reads is in the options of that source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrepareOptions {
    /// How examples are split.
    pub split: SplitOptions,
    /// Whether an example that repeats user, prompt and target of an earlier one of the same split
    /// is dropped.
    pub deduplicate: bool,
    /// Longest line, quoted record, text of a Parquet column or JSON element.
    pub max_line_bytes: usize,
    /// Pseudo-users for each training example: one text of their profile is a statement of the
    /// answer, the others are from elsewhere in the training split. They and their examples are
    /// added to it, as `pseudo-ROUND-EXAMPLE`. Only for a source whose answers speak of the user.
    pub pseudo_users: u32,
    /// What the owner of the files says of them.
    #[serde(skip)]
    pub about: About,
    /// What to do when the output exists.
    #[serde(skip)]
    pub overwrite: Overwrite,
}

/// What the owner of the files says of them; it stands in `dataset.json` in place of what the
/// source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Name of the data set.
    pub name: Option<String>,
    /// Its licence, in words.
    pub licence: Option<String>,
    /// What a publication should cite.
    pub citation: Option<String>,
    /// What the owners ask beyond that.
    pub use_limits: Option<String>,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            split: SplitOptions::default(),
            deduplicate: true,
            max_line_bytes: MAX_LINE_BYTES,
            pseudo_users: 0,
            about: About::default(),
            overwrite: Overwrite::Refuse,
        }
    }
}
