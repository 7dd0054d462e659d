//! Interactions: who listened to, read or bought what; recommendation as writing.
//!
//! # Event files
//! CSV, TSV, JSON Lines or Parquet with these columns or fields, in any order; others are passed
//! over:
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
//! Other names can be given in [`Columns`]. A file without `user` describes items. Events of one
//! user with one item are merged: their weights add up and the last time counts. A directory with
//! the files of Last.fm HetRec 2011 is read as such.
//!
//! # Examples
//! Held-out items are the targets of `valid` and `test`; some items of the history are those of
//! `train`. `users.jsonl` has the history without anything held out, which is what [`crate::als`]
//! factorizes.

mod delimited;
mod emit;
mod events;
mod lastfm;
mod options;
mod read;
mod row;

use std::path::PathBuf;

use crate::error::Result;
use crate::parquet_table::files_of;
use crate::sink::Sink;
use crate::source::{Abilities, Source, SourceInfo, recorded};
use events::Events;
use options::TASK;

pub use options::{Columns, HoldOut, InteractionsOptions};

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
            Inputs::Own(paths) => paths.iter().flat_map(|path| files_of(path)).collect(),
            Inputs::LastFm(directory) => lastfm::files(directory),
        }
    }

    fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        recorded(&self.options)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            pseudo_users: false,
            files_of_splits: false,
            ..Abilities::default()
        }
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut events = Events::default();
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
