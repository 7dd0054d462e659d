//! What one line says, each field taken for what it is or refused.

use crate::cell::Cell;
use crate::error::excerpt;
use crate::example::{Message, Prompt, Split};
use crate::json_lines::BadField;

/// The fields that a line may have.
pub(super) const FIELDS: [&str; 14] = [
    "user",
    "prompt",
    "target",
    "completion",
    "messages",
    "conversations",
    "candidates",
    "item",
    "text",
    "profile",
    "history",
    "split",
    "time",
    "chosen",
];

/// A line.
pub(super) struct Line {
    pub(super) user: Option<String>,
    pub(super) item: Option<String>,
    pub(super) text: Option<String>,
    pub(super) prompt_and_target: Option<(Prompt, String)>,
    pub(super) candidates: Vec<String>,
    pub(super) profile: Vec<String>,
    pub(super) history: Vec<String>,
    /// Whether there is a profile or a history, be it empty.
    pub(super) describes: bool,
    pub(super) split: Option<Split>,
    pub(super) time: Option<i64>,
}

type Read<T> = Result<T, BadField>;

const ID: &str = "an id, a text or a number";

impl Line {
    /// Reads the fields that `cell` gives by name.
    pub(super) fn read(cell: impl Fn(&str) -> Cell) -> Read<Self> {
        let id = |name: &'static str| {
            let cell = cell(name);
            let id = cell.id().map_err(|found| (name, found, ID))?;
            Ok(id.map(str::to_owned))
        };
        let text = |name: &'static str| {
            let cell = cell(name);
            let text = cell.only_text().map_err(|found| (name, found, "a text"))?;
            Ok::<_, BadField>(text.map(str::to_owned))
        };
        let (profile, history) = (cell("profile"), cell("history"));
        let split = match text("split")? {
            None => None,
            Some(name) => match Split::from_name(&name) {
                Some(split) => Some(split),
                None => return Err(("split", excerpt(&name), "`train`, `valid` or `test`")),
            },
        };
        let time = cell("time").time();
        let time = time.map_err(|found| ("time", found, "a whole number or a date"))?;
        Ok(Self {
            user: id("user")?,
            item: id("item")?,
            text: text("text")?,
            prompt_and_target: prompt_and_target(&cell)?,
            candidates: texts("candidates", &cell("candidates"))?,
            describes: profile != Cell::Missing || history != Cell::Missing,
            profile: match &profile {
                Cell::Text(text) => vec![text.clone()],
                list => texts("profile", list)
                    .map_err(|(name, found, _)| (name, found, "a text or a list of texts"))?,
            },
            history: ids("history", &history)?,
            split,
            time: time.map(|time| time.seconds),
        })
    }
}

/// A list of texts; nothing is an empty one.
fn texts(name: &'static str, cell: &Cell) -> Read<Vec<String>> {
    each(name, cell, "a list of texts", |cell| {
        cell.only_text().map(|text| text.map(str::to_owned))
    })
}

fn ids(name: &'static str, cell: &Cell) -> Read<Vec<String>> {
    each(name, cell, "a list of ids, texts or numbers", |cell| {
        cell.id().map(|id| id.map(str::to_owned))
    })
}

fn each(
    name: &'static str,
    cell: &Cell,
    expected: &'static str,
    read: impl Fn(&Cell) -> Result<Option<String>, String>,
) -> Read<Vec<String>> {
    let cells = match cell {
        Cell::Missing => return Ok(Vec::new()),
        Cell::List(cells) => cells,
        other => return Err((name, other.found(), expected)),
    };
    let read = cells.iter().enumerate().map(|(at, cell)| {
        let place = |found: String| (name, format!("{found} at position {}", at + 1), expected);
        match read(cell) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(place("nothing".to_owned())),
            Err(found) => Err(place(found)),
        }
    });
    read.collect()
}

/// The prompt and the target in any of their forms; `None` where the line has neither.
fn prompt_and_target(cell: &impl Fn(&str) -> Cell) -> Read<Option<(Prompt, String)>> {
    let one_of = |names: [&'static str; 2], what| {
        let cells = names.map(|name| (name, cell(name)));
        match cells {
            [(_, Cell::Missing), (_, Cell::Missing)] => Ok(None),
            [found, (_, Cell::Missing)] | [(_, Cell::Missing), found] => Ok(Some(found)),
            [(first, _), (second, _)] => {
                let found = format!("`{first}` beside `{second}`");
                Err((first, found, what))
            }
        }
    };
    let conversation = one_of(["messages", "conversations"], "one conversation")?;
    let target = one_of(["target", "completion"], "one answer")?;
    let prompt = match cell("prompt") {
        Cell::Missing => None,
        Cell::Text(text) => Some(Prompt::Text(text)),
        list @ Cell::List(_) => Some(Prompt::Chat(messages("prompt", &list)?)),
        other => return Err(("prompt", other.found(), "a text or a list of messages")),
    };
    if let Some((name, list)) = conversation {
        if prompt.is_some() || target.is_some() {
            let found = format!("`{name}` beside `prompt` or an answer");
            return Err((name, found, "one or the other"));
        }
        let mut messages = messages(name, &list)?;
        return match messages.pop() {
            Some(last) if last.role == "assistant" && messages.is_empty() => {
                let found = "an answer to nothing".to_owned();
                Err((name, found, "messages before the last"))
            }
            Some(last) if last.role == "assistant" => {
                Ok(Some((Prompt::Chat(messages), last.content)))
            }
            Some(last) => {
                let found = format!("a last message of `{}`", last.role);
                Err((name, found, "one of `assistant`, which is the target"))
            }
            None => Err((name, "no messages".into(), "at least two")),
        };
    }
    let target = match target {
        None => None,
        Some((_, Cell::Text(text))) => Some(text),
        Some((name @ "completion", list @ Cell::List(_))) => {
            match <[Message; 1]>::try_from(messages(name, &list)?) {
                Ok([only]) if only.role == "assistant" => Some(only.content),
                _ => {
                    let found = "messages other than one of `assistant`".to_owned();
                    return Err((name, found, "a text, or one message of `assistant`"));
                }
            }
        }
        Some((name, other)) => return Err((name, other.found(), "a text")),
    };
    match (prompt, target) {
        (Some(prompt), Some(target)) => Ok(Some((prompt, target))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(("prompt", "nothing".into(), "a text or messages")),
        (Some(_), None) => {
            let other = ["chosen"].iter().find(|name| cell(name) != Cell::Missing);
            let found = other.map_or("nothing".to_owned(), |name| {
                format!("nothing (but there is `{name}`)")
            });
            let expected = "the text that the model should write, called `target` or `completion`";
            Err(("target", found, expected))
        }
    }
}

/// Messages `{"role", "content"}`, or `{"from", "value"}` as ShareGPT has them.
fn messages(name: &'static str, cell: &Cell) -> Read<Vec<Message>> {
    const EXPECTED: &str = "a list of messages `{\"role\": …, \"content\": …}`";
    let Cell::List(cells) = cell else {
        return Err((name, cell.found(), EXPECTED));
    };
    let read = cells.iter().enumerate().map(|(at, cell)| {
        let bad = |found: String, expected| {
            let found = format!("{found} in message {}", at + 1);
            Err((name, found, expected))
        };
        let Cell::Object(members) = cell else {
            return bad(cell.found(), EXPECTED);
        };
        let member = |wanted: &str| {
            let found = members.iter().rev().find(|(name, _)| name == wanted);
            found.map_or(&Cell::Missing, |(_, cell)| cell)
        };
        let role = match (member("role"), member("from")) {
            (Cell::Text(role), Cell::Missing) => role.as_str(),
            (Cell::Missing, Cell::Text(from)) => match from.as_str() {
                "human" => "user",
                "gpt" => "assistant",
                other => other,
            },
            (Cell::Missing, other) | (other, _) => {
                return bad(format!("{} as `role`", other.found()), EXPECTED);
            }
        };
        let content = match (member("content"), member("value")) {
            (Cell::Missing, value) => value,
            (content, _) => content,
        };
        match content_text(content) {
            Ok(content) => Ok(Message {
                role: role.to_owned(),
                content,
            }),
            Err(found) => bad(
                format!("{found} as `content`"),
                "a text, or a list of parts of which all are texts",
            ),
        }
    });
    read.collect()
}

/// The text of a message's content: itself, or its parts one after the other.
fn content_text(cell: &Cell) -> Result<String, String> {
    let parts = match cell {
        Cell::Text(text) => return Ok(text.clone()),
        Cell::List(parts) => parts,
        other => return Err(other.found()),
    };
    let texts = parts.iter().map(|part| match part {
        Cell::Text(text) => Ok(text.as_str()),
        Cell::Object(members) => {
            let member = |wanted: &str| members.iter().find(|(name, _)| name == wanted);
            match (member("type"), member("text")) {
                (Some((_, Cell::Text(kind))), _) if kind != "text" => {
                    Err(format!("a part of type {}", excerpt(kind)))
                }
                (_, Some((_, Cell::Text(text)))) => Ok(text.as_str()),
                _ => Err("a part without `text`".to_owned()),
            }
        }
        other => Err(other.found()),
    });
    texts.collect()
}
