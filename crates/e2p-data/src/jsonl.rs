//! The generic task: lines of one's own, from question answering over candidates to a company's
//! chat logs, as JSON Lines or as the rows of a Parquet file.
//!
//! # Lines
//! Every line is an object; fields not named here are passed over.
//!
//! | field | | meaning |
//! |---|---|---|
//! | `user` | needed | the user's id, text or number |
//! | `prompt` | | what the model reads: a text, or messages `{"role", "content"}` |
//! | `target` | | what it should write; also `completion`, a text or one message of the assistant's |
//! | `messages` | | instead of `prompt` and `target`: a conversation whose last message is the target and is the assistant's; also `conversations`, with `from` and `value` |
//! | `candidates` | optional | texts to rank, the target among them |
//! | `item` | optional | id of the item that the target names |
//! | `profile` | optional | what is known of the user: a text or a list of texts |
//! | `history` | optional | ids of the items the user chose, oldest first |
//! | `split` | optional | `train`, `valid` or `test`; otherwise the file's name says it, otherwise the user's id |
//! | `time` | optional | a whole number or a date, for splits by time |
//!
//! The content of a message is a text, or a list of parts of which all are texts
//! (`{"type": "text", "text"}`).
//!
//! A line without prompt, target and messages describes a user (`user`, `profile`, `history`), and
//! one with `item` and `text` alone an item. The first line of a user decides what `users.jsonl`
//! says of them, so users are best described first.

mod line;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cell::Cell;
use crate::error::{Problem, Result, excerpt};
use crate::example::{Example, ItemRecord, Split, UserRecord};
use crate::hash::hash_bytes;
use crate::json_lines::{BadField, field_problem, members};
use crate::lines::{Encoding, Problems};
use crate::parquet_table::{ParquetTable, Reading, files_of, parts};
use crate::seen::Seen;
use crate::sink::Sink;
use crate::source::{Input, Source, SourceInfo, recorded};
use crate::split::Placement;
use crate::unpack::extension;
use line::Line;

/// One's own lines.
pub const OWN_LINES: SourceInfo = SourceInfo {
    name: "JSON Lines",
    task: "jsonl",
    citation: "unknown: the owner of the files knows",
    licence: "unknown: that of the files",
    use_limits: "",
};

/// How lines are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonlOptions {
    /// Whether candidates are kept.
    pub candidates: bool,
    /// How many texts of a profile are kept at most, the first; zero keeps all.
    pub profile_items: usize,
}

impl Default for JsonlOptions {
    fn default() -> Self {
        Self {
            candidates: true,
            profile_items: 0,
        }
    }
}

/// The loader.
#[derive(Debug, Clone)]
pub struct Jsonl {
    inputs: Vec<Input>,
    options: JsonlOptions,
}

impl Jsonl {
    /// Reads `inputs` in their order.
    pub fn new(inputs: Vec<Input>, options: JsonlOptions) -> Self {
        Self { inputs, options }
    }
}

impl Source for Jsonl {
    fn info(&self) -> SourceInfo {
        OWN_LINES
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let paths = self.inputs.iter();
        paths.flat_map(|input| files_of(&input.path)).collect()
    }

    fn options(&self) -> serde_json::Map<String, Value> {
        recorded(&self.options)
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut items = Seen::new();
        for input in &self.inputs {
            match extension(&input.path).as_deref() {
                Some("parquet") => {
                    for part in parts(&input.path)? {
                        self.read_parquet(&part, input.split, &mut items, sink)?;
                    }
                }
                _ => self.read_file(input, &mut items, sink)?,
            }
        }
        Ok(())
    }
}

impl Jsonl {
    fn read_file(&self, input: &Input, items: &mut Seen, sink: &mut Sink<'_>) -> Result<()> {
        let mut problems = Problems::new(&input.path);
        let mut lines = sink.lines(&input.path, Encoding::Utf8)?;
        while lines.advance(&mut problems)? {
            if lines.text().trim().is_empty() {
                continue;
            }
            let (text, number) = (lines.text(), lines.number());
            let object = match members(text, number, lines.is_cut_off()) {
                Ok(object) => object,
                Err(problem) => {
                    problems.push(problem)?;
                    continue;
                }
            };
            let taken = self.take(|name| object.cell(name), input.split, items, sink)?;
            if let Err((field, found, expected)) = taken {
                problems.push(field_problem(text, number, field, &found, expected))?;
            }
        }
        problems.finish()
    }

    fn read_parquet(
        &self,
        path: &Path,
        split: Option<Split>,
        items: &mut Seen,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut problems = Problems::new(path);
        let reading = Reading {
            max_bytes: sink.max_line_bytes(),
            vectors: false,
        };
        sink.begin(path);
        let table = match ParquetTable::open(path, reading)? {
            Ok(table) => table,
            Err(fault) => return Err(problems.fatal(fault.problem())),
        };
        let names = table.names().iter();
        let (at, names): (Vec<usize>, Vec<&String>) = (names.enumerate())
            .filter(|(_, name)| line::FIELDS.contains(&name.as_str()))
            .unzip();
        let outcome = table.rows(&at, |row, cells| {
            let cell = |wanted: &str| {
                let at = names.iter().position(|name| *name == wanted);
                at.map_or(Cell::Missing, |at| cells[at].clone())
            };
            match self.take(cell, split, items, sink)? {
                Ok(()) => Ok(()),
                Err((field, found, expected)) => {
                    problems.push(Problem::cell(row, field, found, expected))
                }
            }
        })?;
        if let Err(fault) = outcome {
            return Err(problems.fatal(fault.problem()));
        }
        problems.finish()
    }

    fn take(
        &self,
        cell: impl Fn(&str) -> Cell,
        split: Option<Split>,
        items: &mut Seen,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadField>> {
        let line = match Line::read(cell) {
            Ok(line) => line,
            Err(bad) => return Ok(Err(bad)),
        };
        if line.user.is_none()
            && let (Some(item), Some(text)) = (&line.item, &line.text)
        {
            if item.trim().is_empty() || text.trim().is_empty() {
                return Ok(Err(("item", "an empty item".into(), "an id and a text")));
            }
            if !items.insert(hash_bytes(item.as_bytes())) {
                let found = format!("item {} again", excerpt(item));
                return Ok(Err(("item", found, "every item once")));
            }
            let (item, text) = (item.clone(), text.clone());
            return sink.item(&ItemRecord { item, text }).map(Ok);
        }
        let user = match self.user(&line) {
            Ok(user) => user,
            Err(bad) => return Ok(Err(bad)),
        };
        let describes = !user.profile.is_empty() || !user.history.is_empty();
        let placement = Placement {
            split: line.split.or(split),
            time: line.time,
        };
        let example = match line.prompt_and_target {
            Some((prompt, target)) => {
                let example = Example {
                    user: user.user.clone(),
                    prompt,
                    target,
                    candidates: line.candidates,
                    item: line.item,
                };
                if let Some(bad) = example.fault() {
                    return Ok(Err(bad));
                }
                Some(example)
            }
            None if !line.describes => {
                let found = "a user and nothing else".to_owned();
                return Ok(Err((
                    "user",
                    found,
                    "`prompt` and `target`, `messages`, `profile` or `history`",
                )));
            }
            None => None,
        };
        if !sink.user(&user)? && describes {
            sink.note("descriptions after a user's first line passed over")?;
        }
        if let Some(mut example) = example {
            if !self.options.candidates {
                example.candidates.clear();
            }
            sink.example(placement, &example)?;
        }
        Ok(Ok(()))
    }

    fn user(&self, line: &Line) -> std::result::Result<UserRecord, BadField> {
        let Some(user) = &line.user else {
            return Err(("user", "nothing".into(), "a user id"));
        };
        if user.trim().is_empty() || user.contains(['\n', '\r']) {
            return Err(("user", excerpt(user), "an id on one line"));
        }
        let mut profile = line.profile.clone();
        profile.retain(|text| !text.trim().is_empty());
        if self.options.profile_items > 0 {
            profile.truncate(self.options.profile_items);
        }
        Ok(UserRecord {
            user: user.clone(),
            profile,
            history: line.history.clone(),
            ..UserRecord::default()
        })
    }
}
