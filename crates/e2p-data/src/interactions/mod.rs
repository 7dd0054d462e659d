//! Interactions: who listened to, read or bought what; recommendation as writing.
//!
//! # Event files
//! CSV, TSV, JSON Lines or Parquet with these columns or fields, in any order; others are passed over:
//!
//! | name | | meaning |
//! |---|---|---|
//! | `user` | needed | the user's id |
//! | `item` | needed | the item's id |
//! | `weight` | optional, 1 | how much: plays, minutes, stars; a finite number that is not negative |
//! | `time` | optional | a whole number, or a date such as `2024-05-01T12:30:00Z` |
//! | `text` | optional | the item's name |
//! | `tags` | optional | the item's tags, separated by `\|` (in JSON Lines also a list) |
//!
//! Other names can be given in [`Columns`]. A file without `user` describes items. Events of one user with one item are merged: their weights add up and
//! the last time counts. A directory with the files of Last.fm HetRec 2011 is read as such.
//!
//! # Examples
//! Held-out items are the targets of `valid` and `test`; some items of the history are those of `train`. `users.jsonl` has the history without anything
//! held out, which is what [`crate::als`] factorizes.

mod emit;
mod events;
mod lastfm;
mod read;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::prepare::Sink;
use crate::source::{Source, SourceInfo, recorded};
use events::Events;

const TASK: &str = "interactions";

/// One's own events.
pub const OWN_EVENTS: SourceInfo = SourceInfo {
    name: "Interactions",
    task: TASK,
    citation: "unknown: the owner of the event files knows",
    licence: "unknown: that of the event files",
    use_limits: "",
};

/// Last.fm as released at HetRec 2011.
pub const LASTFM_HETREC: SourceInfo = SourceInfo {
    name: "Last.fm HetRec 2011",
    task: TASK,
    citation: "Cantador, Brusilovsky, Kuflik: Second Workshop on Information Heterogeneity and Fusion in Recommender Systems (HetRec 2011). \
               RecSys 2011. Data from Last.fm, http://www.lastfm.com.",
    licence: "non-commercial use only, by its readme",
    use_limits: "Not for commercial use; cite HetRec 2011 and name Last.fm. The files may not be redistributed without permission.",
};

/// How histories become examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InteractionsOptions {
    /// What is held out.
    pub hold_out: HoldOut,
    /// Users with fewer distinct items are dropped.
    pub min_user_items: usize,
    /// Items with fewer distinct users are dropped.
    pub min_item_users: usize,
    /// How many items of a user's history become training targets at most. Ten (ours) keep heavy users from drowning the others.
    pub train_targets: usize,
    /// How many names the profile text lists at most: the latest, or without times those with the largest weight.
    pub profile_items: usize,
    /// The prompt.
    pub prompt: String,
    /// The target, and the item's text in `items.jsonl`: `{text}`, `{tags}` and `{item}` are filled in.
    pub target: String,
    /// The target of an item without tags; used only if `target` has `{tags}`.
    pub target_without_tags: String,
    /// How many tags `{tags}` lists at most.
    pub max_tags: usize,
    /// Names of columns or fields.
    pub columns: Columns,
}

impl Default for InteractionsOptions {
    fn default() -> Self {
        Self {
            hold_out: HoldOut::default(),
            min_user_items: 1,
            min_item_users: 1,
            train_targets: 10,
            profile_items: 20,
            prompt: "Recommend an artist:".to_owned(),
            target: "{text}".to_owned(),
            target_without_tags: "{text}".to_owned(),
            max_tags: 3,
            columns: Columns::default(),
        }
    }
}

/// Which of a user's items are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOut {
    /// Of every user with at least three items the last for the test and the one before for validation. Without times, two that a seeded hash draws in
    /// proportion to their weights, as the last of all plays would be.
    #[default]
    LeaveOneOut,
    /// Everything from some time on, the same for all: the shares of [`SplitOptions`](crate::SplitOptions) say from when, or its rule `Time`.
    Temporal,
}

/// What the columns are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "every field is the name of the column that the module's table describes under the field's name"
)]
pub struct Columns {
    pub user: String,
    pub item: String,
    pub weight: String,
    pub time: String,
    pub text: String,
    pub tags: String,
}

impl Default for Columns {
    fn default() -> Self {
        let [user, item, weight, time, text, tags] =
            ["user", "item", "weight", "time", "text", "tags"].map(str::to_owned);
        Self {
            user,
            item,
            weight,
            time,
            text,
            tags,
        }
    }
}

/// The loader.
#[derive(Debug, Clone)]
pub struct Interactions {
    inputs: Inputs,
    options: InteractionsOptions,
}

#[derive(Debug, Clone)]
enum Inputs {
    Own(Vec<PathBuf>),
    LastFm(PathBuf),
}

impl Interactions {
    /// Reads event and item files, or the one directory that has the files of Last.fm.
    pub fn new(paths: Vec<PathBuf>, options: InteractionsOptions) -> Self {
        let inputs = match paths.as_slice() {
            [directory] if directory.join(lastfm::EVENTS).is_file() => {
                Inputs::LastFm(directory.clone())
            }
            _ => Inputs::Own(paths),
        };
        Self { inputs, options }
    }
}

impl Source for Interactions {
    fn info(&self) -> SourceInfo {
        match self.inputs {
            Inputs::Own(_) => OWN_EVENTS,
            Inputs::LastFm(_) => LASTFM_HETREC,
        }
    }

    fn inputs(&self) -> Vec<PathBuf> {
        match &self.inputs {
            Inputs::Own(paths) => paths.clone(),
            Inputs::LastFm(directory) => lastfm::files(directory),
        }
    }

    fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        recorded(&self.options)
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut events = Events::new();
        match &self.inputs {
            Inputs::Own(paths) => {
                for path in paths {
                    read::read(path, &self.options.columns, &mut events, sink)?;
                }
            }
            Inputs::LastFm(directory) => lastfm::read(directory, &mut events, sink)?,
        }
        emit::emit(events, &self.options, sink)
    }
}
