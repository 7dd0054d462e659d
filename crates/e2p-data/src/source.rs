//! What a loader is: it says where its data come from, and reads them into a [`Sink`].

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::example::Split;
use crate::sink::Sink;

/// Where a data set comes from and what its owners ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SourceInfo {
    /// Name of the data set.
    pub name: &'static str,
    /// The `prepare` task that reads it.
    pub task: &'static str,
    /// What a publication should cite.
    pub citation: &'static str,
    /// Its licence, in words.
    pub licence: &'static str,
    /// What the owners ask beyond that; empty if nothing.
    pub use_limits: &'static str,
}

/// Which of [`PrepareOptions`](crate::PrepareOptions) a source can follow; the others are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Its answers speak of the user, so that pseudo-users can be made of them.
    pub pseudo_users: bool,
    /// Its examples can have times.
    pub times: bool,
    /// Its files can be of one split each.
    pub files_of_splits: bool,
}

impl Default for Abilities {
    /// Everything.
    fn default() -> Self {
        Self {
            pseudo_users: true,
            times: true,
            files_of_splits: true,
        }
    }
}

/// A loader with its inputs and options.
pub trait Source {
    /// Where the data come from.
    fn info(&self) -> SourceInfo;

    /// Every file it will read, for checksums and progress.
    fn inputs(&self) -> Vec<PathBuf>;

    /// Its options, for `dataset.json`.
    fn options(&self) -> serde_json::Map<String, serde_json::Value>;

    /// Which options of every preparation it can follow.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Reads the inputs, giving users, items and examples to `sink` as they come.
    fn read(&self, sink: &mut Sink<'_>) -> Result<()>;
}

/// An input file and the split that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// The split of everything in it, if it is one.
    pub split: Option<Split>,
}

impl Input {
    /// A file whose name says its split if a part of it is `train`, `valid`, `validation`, `val`,
    /// `dev` or `test`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let split = name
            .split(|c: char| !c.is_alphanumeric())
            .find_map(Split::from_name);
        Self {
            path: path.to_owned(),
            split,
        }
    }

    /// `SPLIT=PATH`, `all=PATH` for a file that is not one split, or a path whose name says it.
    pub fn parse(argument: &str) -> Self {
        match argument.split_once('=') {
            Some(("all", path)) => Self {
                path: path.into(),
                split: None,
            },
            Some((split, path)) if Split::from_name(split).is_some() => Self {
                path: path.into(),
                split: Split::from_name(split),
            },
            _ => Self::new(argument),
        }
    }
}

/// The options of a source as `dataset.json` records them.
pub(crate) fn recorded(options: &impl Serialize) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(options) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => unreachable!("options are plain structs with string keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_splits() {
        let split = |name: &str| Input::parse(name).split;
        assert_eq!(split("a/valid_self_original.txt"), Some(Split::Valid));
        assert_eq!(split("train_1072_dialogues.csv"), Some(Split::Train));
        assert_eq!(split("Synthetic-Persona-Chat_test.csv"), Some(Split::Test));
        assert_eq!(split("test=valid_self_original.txt"), Some(Split::Test));
        assert_eq!(split("all=train.csv"), None);
        assert_eq!(split("contest.csv"), None);
        assert_eq!(Input::parse("a=b.csv").path, PathBuf::from("a=b.csv"));
    }
}
