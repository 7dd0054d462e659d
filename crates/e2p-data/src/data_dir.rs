//! The data directory: what `prepare` writes and everything else reads.
//!
//! `dataset.json` says what it is; `train.jsonl`, `valid.jsonl` and `test.jsonl` hold the examples,
//! `users.jsonl` the users and `items.jsonl` the items. Reading streams; a file that has another
//! number of lines than `dataset.json` says is an error, because half a copy looks like a whole
//! one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Problem, Result};
use crate::example::{Example, ItemRecord, Split, UserRecord};
use crate::json;
use crate::json_lines::JsonLines;
use crate::lines::Problems;

/// Version of the directory's format, raised whenever an older reader would misread it.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const DATASET_FILE: &str = "dataset.json";
pub(crate) const USERS_FILE: &str = "users.jsonl";
pub(crate) const ITEMS_FILE: &str = "items.jsonl";

/// The contents of `dataset.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// Name of the data set, such as "Persona-Chat".
    pub name: String,
    /// The loader that wrote it, such as `personachat`.
    pub task: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Licence of the data, in words.
    pub licence: String,
    /// What a publication should cite.
    pub citation: String,
    /// What the licence or the authors ask of users beyond that; empty if nothing.
    #[serde(default)]
    pub use_limits: String,
    /// Lines of every file.
    pub counts: Counts,
    /// The files it was made from.
    #[serde(default)]
    pub inputs: Vec<InputFile>,
    /// The options it was made with.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What happened on the way that a reader should know, with how often: "duplicate examples
    /// dropped" and the like.
    #[serde(default)]
    pub notes: BTreeMap<String, u64>,
}

/// How many lines each file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Examples to learn from.
    pub train: u64,
    /// Examples to choose with.
    pub valid: u64,
    /// Examples to report.
    pub test: u64,
    /// Users.
    pub users: u64,
    /// Items.
    pub items: u64,
}

impl Counts {
    /// Examples of one split.
    pub fn examples(&self, split: Split) -> u64 {
        match split {
            Split::Train => self.train,
            Split::Valid => self.valid,
            Split::Test => self.test,
        }
    }
}

/// One file that a data directory was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// File name, without its directory.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the contents, in hexadecimal.
    pub sha256: String,
}

/// A data directory, open for reading.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    info: DatasetInfo,
}

impl DataDir {
    /// Opens the directory at `path`, reading only `dataset.json`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = path.join(DATASET_FILE);
        if path.is_dir() && !file.exists() {
            return Err(DataError::NotADataDirectory {
                path: path.to_owned(),
                missing: DATASET_FILE,
            });
        }
        let text =
            fs::read_to_string(&file).map_err(|source| DataError::io(&file, "read", source))?;
        let info: DatasetInfo = json::read(&text, false).map_err(|fault| {
            let (line, column) = (fault.line as u64, fault.column);
            let expected = "the description of a data directory";
            let problem = Problem::byte(line, column, fault.found, expected);
            Problems::new(&file).fatal(problem)
        })?;
        if info.format_version != FORMAT_VERSION {
            let (found, expected) = (info.format_version, FORMAT_VERSION);
            return Err(DataError::FormatVersion {
                path: file,
                found,
                expected,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            info,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The examples of one split, streamed in file order.
    pub fn examples(&self, split: Split) -> Result<JsonLines<Example>> {
        self.open_lines(
            split.file_name(),
            self.info.counts.examples(split),
            Example::fault,
        )
    }

    /// The users, streamed in file order.
    pub fn users(&self) -> Result<JsonLines<UserRecord>> {
        self.open_lines(USERS_FILE, self.info.counts.users, |user: &UserRecord| {
            let mismatch = !user.weights.is_empty() && user.weights.len() != user.history.len();
            mismatch.then(|| {
                let found = format!(
                    "{} weights for {} items",
                    user.weights.len(),
                    user.history.len()
                );
                ("weights", found, "one weight per item of `history`")
            })
        })
    }

    /// The items, streamed in file order; none unless the task recommends.
    pub fn items(&self) -> Result<JsonLines<ItemRecord>> {
        self.open_lines(ITEMS_FILE, self.info.counts.items, |_| None)
    }

    /// Reads everything once and returns the first error.
    pub fn validate(&self) -> Result<()> {
        for split in Split::ALL {
            self.examples(split)?
                .try_for_each(|example| example.map(drop))?;
        }
        self.users()?.try_for_each(|user| user.map(drop))?;
        self.items()?.try_for_each(|item| item.map(drop))
    }

    fn open_lines<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        expected: u64,
        check: fn(&T) -> Option<(&'static str, String, &'static str)>,
    ) -> Result<JsonLines<T>> {
        let file = self.path.join(name);
        if expected == 0 && !file.exists() {
            return Ok(JsonLines::empty());
        }
        JsonLines::open(&file, Some(expected), check)
    }
}
