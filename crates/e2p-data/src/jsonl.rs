//! The generic task: JSON Lines of one's own, from question answering over candidates to a company's chat logs.
//!
//! # Lines
//! Every line is an object; fields not named here are passed over.
//!
//! | field | | meaning |
//! |---|---|---|
//! | `user` | needed | the user's id, text or number |
//! | `prompt` | | what the model reads: a text, or messages `{"role", "content"}` |
//! | `target` | | what it should write |
//! | `messages` | | instead of `prompt` and `target`: a conversation whose last message is the target and is the assistant's |
//! | `candidates` | optional | texts to rank, the target among them |
//! | `item` | optional | id of the item that the target names |
//! | `profile` | optional | what is known of the user: a text or a list of texts |
//! | `history` | optional | ids of the items the user chose, oldest first |
//! | `split` | optional | `train`, `valid` or `test`; otherwise the file's name says it, otherwise the user's id |
//! | `time` | optional | a whole number or a date, for splits by time |
//!
//! A line without prompt, target and messages describes a user (`user`, `profile`, `history`), and one with `item` and `text` alone an item. The first
//! line of a user decides what `users.jsonl` says of them, so users are best described first.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Result, excerpt};
use crate::example::{Example, ItemRecord, Message, Prompt, Split, UserRecord};
use crate::hash::hash_bytes;
use crate::id::Id;
use crate::json_lines::{Fault, field_problem, parse};
use crate::lines::{Encoding, Problems};
use crate::prepare::Sink;
use crate::seen::Seen;
use crate::source::{Input, Source, SourceInfo, recorded};
use crate::split::Placement;
use crate::time;

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
        let paths = self.inputs.iter().map(|input| input.path.clone());
        paths.collect()
    }

    fn options(&self) -> serde_json::Map<String, Value> {
        recorded(&self.options)
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let mut items = Seen::new();
        for input in &self.inputs {
            self.read_file(input, &mut items, sink)?;
        }
        Ok(())
    }
}

/// What a line may say.
#[derive(Deserialize)]
struct Line {
    user: Option<Id>,
    prompt: Option<Prompt>,
    target: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(default)]
    candidates: Vec<String>,
    item: Option<Id>,
    text: Option<String>,
    profile: Option<Texts>,
    history: Option<Vec<Id>>,
    split: Option<String>,
    time: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
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
            let line = match parse::<Line>(text, number, lines.is_cut_off()) {
                Ok(line) => line,
                Err(problem) => {
                    problems.push(problem)?;
                    continue;
                }
            };
            if let Err((field, found, expected)) = self.take(line, input.split, items, sink)? {
                problems.push(field_problem(text, number, field, &found, expected))?;
            }
        }
        problems.finish()
    }

    fn take(
        &self,
        line: Line,
        split: Option<Split>,
        items: &mut Seen,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), Fault>> {
        if line.user.is_none()
            && let (Some(item), Some(text)) = (&line.item, &line.text)
        {
            let (item, text) = (item.to_text(), text.clone());
            if item.trim().is_empty() || text.trim().is_empty() {
                return Ok(Err(("item", "an empty item".into(), "an id and a text")));
            }
            if !items.insert(hash_bytes(item.as_bytes())) {
                let found = format!("item {} again", excerpt(&item));
                return Ok(Err(("item", found, "every item once")));
            }
            return sink.item(&ItemRecord { item, text }).map(Ok);
        }
        let (placement, user) = match (placement(&line, split), self.user(&line)) {
            (Err(fault), _) | (_, Err(fault)) => return Ok(Err(fault)),
            (Ok(placement), Ok(user)) => (placement, user),
        };
        let says_something =
            line.prompt.is_some() || line.target.is_some() || line.messages.is_some();
        let example = if says_something {
            let (prompt, target) = match prompt_and_target(line.prompt, line.target, line.messages)
            {
                Ok(both) => both,
                Err(fault) => return Ok(Err(fault)),
            };
            let example = Example {
                user: user.user.clone(),
                prompt,
                target,
                candidates: line.candidates,
                item: line.item.as_ref().map(Id::to_text),
            };
            if let Some(fault) = example.fault() {
                return Ok(Err(fault));
            }
            Some(example)
        } else if line.profile.is_none() && line.history.is_none() {
            let found = "a user and nothing else".to_owned();
            return Ok(Err((
                "user",
                found,
                "`prompt` and `target`, `messages`, `profile` or `history`",
            )));
        } else {
            None
        };
        let describes = !user.profile.is_empty() || !user.history.is_empty();
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

    fn user(&self, line: &Line) -> std::result::Result<UserRecord, Fault> {
        let user = match &line.user {
            None => return Err(("user", "nothing".into(), "a user id")),
            Some(id) => id.to_text(),
        };
        if user.trim().is_empty() || user.contains(['\n', '\r']) {
            return Err(("user", excerpt(&user), "an id on one line"));
        }
        let mut profile = match &line.profile {
            None => Vec::new(),
            Some(Texts::One(text)) => vec![text.clone()],
            Some(Texts::Many(texts)) => texts.clone(),
        };
        profile.retain(|text| !text.trim().is_empty());
        if self.options.profile_items > 0 {
            profile.truncate(self.options.profile_items);
        }
        Ok(UserRecord {
            user,
            profile,
            history: line.history.iter().flatten().map(Id::to_text).collect(),
            ..UserRecord::default()
        })
    }
}

fn placement(line: &Line, of_file: Option<Split>) -> std::result::Result<Placement, Fault> {
    let split = match &line.split {
        None => of_file,
        Some(name) => match Split::from_name(name) {
            Some(split) => Some(split),
            None => return Err(("split", excerpt(name), "`train`, `valid` or `test`")),
        },
    };
    let text = match &line.time {
        None | Some(Value::Null) => return Ok(Placement { split, time: None }),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match time::parse(&text) {
        Some(time) => Ok(Placement {
            split,
            time: Some(time),
        }),
        None => Err(("time", excerpt(&text), "a whole number or a date")),
    }
}

fn prompt_and_target(
    prompt: Option<Prompt>,
    target: Option<String>,
    messages: Option<Vec<Message>>,
) -> std::result::Result<(Prompt, String), Fault> {
    match (prompt, target, messages) {
        (Some(prompt), Some(target), None) => Ok((prompt, target)),
        (None, None, Some(mut messages)) => match messages.pop() {
            Some(last) if last.role == "assistant" => {
                if messages.is_empty() {
                    let found = "an answer to nothing".to_owned();
                    return Err(("messages", found, "messages before the last"));
                }
                Ok((Prompt::Chat(messages), last.content))
            }
            Some(last) => {
                let found = format!("a last message of `{}`", last.role);
                Err(("messages", found, "one of `assistant`, which is the target"))
            }
            None => Err(("messages", "no messages".into(), "at least two")),
        },
        (_, _, Some(_)) => Err((
            "messages",
            "`messages` beside `prompt` or `target`".into(),
            "one or the other",
        )),
        (None, Some(_), None) => Err(("prompt", "nothing".into(), "a text or messages")),
        (_, None, None) => Err((
            "target",
            "nothing".into(),
            "the text that the model should write",
        )),
    }
}
