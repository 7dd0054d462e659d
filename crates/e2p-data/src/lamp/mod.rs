//! LaMP: seven tasks whose questions come with what their user wrote before.
//!
//! Salemi, Mysore, Bendersky, Zamani 2023, <https://arxiv.org/abs/2304.11406>. A task is pairs of
//! `*_questions.json`, a list of `{"id", "input", "profile"}`, and `*_outputs.json`,
//! `{"task", "golds": [{"id", "output"}]}`. The input is the prompt and the output the target; the
//! tasks that choose a label (LaMP-1, 2 and 3) have their labels as candidates, so that they can be
//! ranked.
//!
//! # Users and splits
//! In the user-based files every question has a profile of its own, and its user is the question's
//! id; where a question has a `user_id` (time-based files), that is its user, and `users.jsonl` has
//! the profile of the user's first question. Files are named by their split. A split by time goes
//! by the question's `date`, and where it has none by the latest `date` of its profile, before
//! which it cannot have been asked.

mod profile;
mod task;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cell::Cell;
use crate::error::{DataError, Result, excerpt};
use crate::example::{Example, Message, Prompt, UserRecord};
use crate::hash::hash_bytes;
use crate::json::Members;
use crate::json_stream::{self, Piece};
use crate::lines::Problems;
use crate::seen::Seen;
use crate::sink::Sink;
use crate::source::{Input, Source, SourceInfo, recorded};
use crate::split::Placement;

pub use task::{LAMP, MOVIE_TAGS};

const QUESTIONS: &str = "questions";
const OUTPUTS: &str = "outputs";

/// How LaMP is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LampOptions {
    /// How many entries of a profile are kept at most: the latest, or without dates the first. Zero
    /// keeps all.
    pub profile_items: usize,
    /// Whether labels become candidates.
    pub candidates: bool,
    /// Longest output that is read; [`PrepareOptions`](crate::PrepareOptions) bounds the questions.
    pub max_output_bytes: usize,
}

impl Default for LampOptions {
    fn default() -> Self {
        Self {
            profile_items: 50,
            candidates: true,
            max_output_bytes: crate::lines::MAX_LINE_BYTES,
        }
    }
}

/// The loader of one of the seven tasks.
#[derive(Debug, Clone)]
pub struct Lamp {
    files: Vec<Pair>,
    /// Questions files of a directory that have no outputs: the official test questions.
    unanswered: Vec<PathBuf>,
    task: usize,
    labels: Vec<String>,
    options: LampOptions,
}

#[derive(Debug, Clone)]
struct Pair {
    questions: Input,
    outputs: PathBuf,
    golds: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Gold {
    id: String,
    output: String,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    input: String,
    profile: Vec<serde_json::Map<String, Value>>,
    date: Option<Value>,
}

impl Lamp {
    /// Finds the pairs of `inputs` (questions files, or directories of them) and reads their
    /// outputs, which say what task it is.
    pub fn new(inputs: &[Input], options: LampOptions) -> Result<Self> {
        let mut lamp = Self {
            files: Vec::new(),
            unanswered: Vec::new(),
            task: 0,
            labels: Vec::new(),
            options,
        };
        for input in inputs {
            if input.path.is_dir() {
                let before = lamp.files.len();
                for path in questions_in(&input.path)? {
                    if outputs_of(&path).is_some_and(|outputs| outputs.is_file()) {
                        lamp.add(Input {
                            split: input.split.or(Input::new(&path).split),
                            path,
                        })?;
                    } else {
                        lamp.unanswered.push(path);
                    }
                }
                if lamp.files.len() == before {
                    return Err(unknown(&input.path));
                }
            } else {
                lamp.add(input.clone())?;
            }
        }
        lamp.labels = if lamp.options.candidates {
            let golds = lamp.files.iter().flat_map(|pair| pair.golds.values());
            task::labels(lamp.task, golds)
        } else {
            Vec::new()
        };
        Ok(lamp)
    }

    fn add(&mut self, input: Input) -> Result<()> {
        let outputs = match outputs_of(&input.path) {
            Some(outputs) => outputs,
            // Outputs are read with their questions.
            None if name_of(&input.path).contains(OUTPUTS) => return Ok(()),
            None => return Err(unknown(&input.path)),
        };
        let (task, golds) = read_golds(&outputs, self.options.max_output_bytes)?;
        if self.task != 0 && self.task != task {
            return Err(DataError::UnknownInput {
                path: outputs,
                task: LAMP[self.task - 1].task,
                expected: "files of one task of LaMP at a time",
            });
        }
        self.task = task;
        self.files.push(Pair {
            questions: input,
            outputs,
            golds,
        });
        Ok(())
    }
}

/// The question's user, with all digits of a number.
fn user_id(piece: &Piece<'_>) -> Cell {
    Members::read(piece.text(), false).map_or(Cell::Missing, |members| members.cell("user_id"))
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.unwrap_or_default().into_owned()
}

fn outputs_of(questions: &Path) -> Option<PathBuf> {
    let name = name_of(questions);
    name.contains(QUESTIONS)
        .then(|| questions.with_file_name(name.replace(QUESTIONS, OUTPUTS)))
}

fn unknown(path: &Path) -> DataError {
    DataError::UnknownInput {
        path: path.to_owned(),
        task: "lamp",
        expected: "a `*_questions.json` with its `*_outputs.json` beside it, or a directory of both",
    }
}

/// The questions files of a directory, train before dev, so that a user's earliest profile is read
/// first.
fn questions_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let io_error = |source| DataError::io(directory, "read", source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        let name = name_of(&path);
        if name.contains(QUESTIONS)
            && path
                .extension()
                .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
    found.sort_by_key(|path| (Input::new(path).split, path.clone()));
    Ok(found)
}

fn read_golds(path: &Path, max_bytes: usize) -> Result<(usize, HashMap<String, String>)> {
    let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
    let mut problems = Problems::new(path);
    let (mut task, mut golds) = (None, HashMap::new());
    json_stream::for_each(
        path,
        file,
        max_bytes,
        &mut problems,
        &mut |piece, problems| {
            match (piece.key, piece.position) {
                ("task", None) => match piece.parse::<String>() {
                    Ok(name) => {
                        task = task::number(&name);
                        if task.is_none() {
                            let expected = "`LaMP_1` to `LaMP_7`";
                            return problems.push(piece.place.problem(excerpt(&name), expected));
                        }
                    }
                    Err(problem) => return problems.push(problem),
                },
                ("golds", Some(_)) => match piece.parse::<Gold>() {
                    Ok(gold) if gold.output.trim().is_empty() => {
                        let found = format!("an empty output of question {}", excerpt(&gold.id));
                        return problems.push(piece.place.problem(found, "an output"));
                    }
                    Ok(gold) => {
                        let id = excerpt(&gold.id);
                        if golds.insert(gold.id, gold.output).is_some() {
                            let found = format!("question {id} again");
                            return problems.push(piece.place.problem(found, "every id once"));
                        }
                    }
                    Err(problem) => return problems.push(problem),
                },
                _ => {}
            }
            Ok(())
        },
    )?;
    if task.is_none() && problems.is_empty() {
        let place = json_stream::Place { line: 1, column: 1 };
        problems.push(place.problem("no `task`", "`\"task\": \"LaMP_1\"` to `LaMP_7`"))?;
    }
    problems.finish()?;
    Ok((task.expect("without a task there was a problem"), golds))
}

impl Source for Lamp {
    fn info(&self) -> SourceInfo {
        LAMP[self.task.max(1) - 1]
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let pairs = self.files.iter();
        pairs
            .flat_map(|pair| [pair.questions.path.clone(), pair.outputs.clone()])
            .collect()
    }

    fn options(&self) -> serde_json::Map<String, Value> {
        let mut options = recorded(&self.options);
        if !self.labels.is_empty() {
            options.insert("labels".into(), self.labels.clone().into());
        }
        options
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        for pair in &self.files {
            self.read_pair(pair, sink)?;
        }
        let unanswered = self.unanswered.len() as u64;
        sink.note_many("questions files without outputs left out", unanswered);
        Ok(())
    }
}

impl Lamp {
    fn read_pair(&self, pair: &Pair, sink: &mut Sink<'_>) -> Result<()> {
        let path = &pair.questions.path;
        let mut problems = Problems::new(path);
        let (file, max_bytes) = (sink.open(path)?, sink.max_line_bytes());
        let mut asked = Seen::new();
        let mut met = 0;
        json_stream::for_each(
            path,
            file,
            max_bytes,
            &mut problems,
            &mut |piece, problems| match piece.parse::<Question>() {
                Ok(question) if !asked.insert(hash_bytes(question.id.as_bytes())) => {
                    let found = format!("question {} again", excerpt(&question.id));
                    problems.push(piece.place.problem(found, "every id once"))
                }
                Ok(question) => {
                    met += 1;
                    self.question(pair, piece, question, problems, sink)
                }
                Err(problem) => problems.push(problem),
            },
        )?;
        sink.note_many(
            "outputs without a question",
            (pair.golds.len() as u64).saturating_sub(met),
        );
        problems.finish()
    }

    fn question(
        &self,
        pair: &Pair,
        piece: &Piece<'_>,
        question: Question,
        problems: &mut Problems,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let id = excerpt(&question.id);
        let mut bad = |found: String, expected: &str| {
            problems.push(
                piece
                    .place
                    .problem(format!("{found} in question {id}"), expected),
            )
        };
        let Some(target) = pair.golds.get(&question.id) else {
            let name = name_of(&pair.outputs);
            return bad("no output".into(), &format!("its id in `{name}`"));
        };
        if question.profile.is_empty() {
            return bad("an empty profile".into(), "at least one entry");
        }
        let user = match user_id(piece).id() {
            Ok(user) => user.unwrap_or(&question.id).to_owned(),
            Err(found) => return bad(format!("{found} as `user_id`"), "an id"),
        };
        let (entries, latest) = match profile::read(self.task, &question.profile) {
            Ok(read) => read,
            Err((entry, found, expected)) => {
                let found = format!("{found} in entry {} of the profile", entry + 1);
                return bad(found, expected);
            }
        };
        let asked = match profile::date(question.date.as_ref()) {
            Ok(date) => date.or(latest),
            Err(found) => return bad(format!("date {found}"), "a date"),
        };
        let example = Example {
            user: user.clone(),
            prompt: Prompt::Chat(vec![Message::user(question.input)]),
            target: target.clone(),
            candidates: self.labels.clone(),
            item: None,
        };
        if let Some((field, found, expected)) = example.fault() {
            return bad(format!("{found} as `{field}`"), expected);
        }
        let mut profile = entries;
        if self.options.profile_items > 0 {
            profile.truncate(self.options.profile_items);
        }
        let user = UserRecord {
            user,
            profile,
            ..UserRecord::default()
        };
        if !sink.user(&user)? {
            sink.note("questions of a user whose profile was read before")?;
        }
        let placement = Placement {
            split: pair.questions.split,
            time: asked,
        };
        sink.example(placement, &example)
    }
}
