//! One JSON text: its values with all their digits, and what is wrong with it in plain words.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error, IgnoredAny};
use serde_json::error::Category;

use crate::cell::Cell;
use crate::error::excerpt;

/// Lists and objects within each other that are followed.
const DEEPEST: usize = 16;

/// The members of an object in their order, each value as it is written: a number keeps the digits
/// that a floating-point number would lose.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Takes `text` apart; `cut_off` says that more may have followed.
    pub(crate) fn read(text: &'a str, cut_off: bool) -> Result<Self, Fault> {
        read::<IgnoredAny>(text, cut_off)?;
        let text = text.trim();
        if text.starts_with('{') {
            return Ok(Self(members(text)));
        }
        refuse_list(text)?;
        Err(Fault {
            line: 1,
            column: 1,
            found: cell(text).found(),
            expected: OBJECT.to_owned(),
        })
    }

    /// The value of a name; the last one where it is there twice, as everywhere in JSON.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| *value)
    }

    /// The value of a name, [`Cell::Missing`] where there is none.
    pub(crate) fn cell(&self, name: &str) -> Cell {
        self.get(name).map_or(Cell::Missing, cell)
    }
}

/// The text of an object with the ids of these names as texts, so that a number keeps its digits.
pub(crate) fn ids_as_texts<'a>(text: &'a str, names: &[&str]) -> Cow<'a, str> {
    let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-');
    let mut out = Cow::Borrowed(text);
    if names.is_empty() {
        return out;
    }
    if let Ok(members) = Members::read(text, false) {
        let ids = members.0.iter().filter(|(name, value)| {
            names.contains(&name.as_ref()) && value.as_bytes().first().is_some_and(is_number)
        });
        for (_, id) in ids.rev() {
            let at = id.as_ptr() as usize - text.as_ptr() as usize;
            out.to_mut()
                .replace_range(at..at + id.len(), &format!("\"{id}\""));
        }
    }
    out
}

/// The value of a piece of JSON that was read as such.
pub(crate) fn cell(text: &str) -> Cell {
    cell_at(text.trim(), 0)
}

fn cell_at(text: &str, depth: usize) -> Cell {
    if depth > DEEPEST {
        return Cell::Other("lists or objects nested too deeply".to_owned());
    }
    match text.as_bytes().first() {
        Some(b'n') => Cell::Missing,
        Some(b't' | b'f') => Cell::Bool(text.starts_with('t')),
        // What was found to be JSON can still hold a text that is none, such as half a character.
        Some(b'"') => serde_json::from_str(text).map_or_else(
            |_| Cell::Other(format!("{}, which is no text", excerpt(text))),
            Cell::Text,
        ),
        Some(b'[') => Cell::List(
            pieces(text)
                .map(|piece| cell_at(piece, depth + 1))
                .collect(),
        ),
        Some(b'{') => {
            let members = members(text).into_iter();
            let members =
                members.map(|(name, value)| (name.into_owned(), cell_at(value, depth + 1)));
            Cell::Object(members.collect())
        }
        _ => Cell::Number {
            digits: text.to_owned(),
            exact: true,
        },
    }
}

/// Names and values of an object that was read as such.
fn members(text: &str) -> Vec<(Cow<'_, str>, &str)> {
    let members = pieces(text).map(|piece| {
        let name = &piece[..string_end(piece)];
        let value = piece[name.len()..].trim_start().trim_start_matches(':');
        let plain = &name[1..name.len() - 1];
        let name = if plain.contains('\\') {
            Cow::Owned(serde_json::from_str(name).unwrap_or_default())
        } else {
            Cow::Borrowed(plain)
        };
        (name, value.trim())
    });
    members.collect()
}

/// What stands between the commas of a list or an object that was read as such.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let inner = text[1..text.len() - 1].trim();
    let mut rest = Some(inner).filter(|inner| !inner.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let (mut at, mut depth) = (0, 0_usize);
        while at < bytes.len() {
            match bytes[at] {
                b'"' => at += string_end(&text[at..]) - 1,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                b',' if depth == 0 => break,
                _ => {}
            }
            at += 1;
        }
        rest = text.get(at + 1..);
        Some(text[..at].trim())
    })
}

/// Behind the quote that ends the string at the beginning of `text`.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Refuses a list, where an object is expected.
pub(crate) fn refuse_list(text: &str) -> Result<(), Fault> {
    if text.trim_start().starts_with('[') {
        return Err(Fault {
            line: 1,
            column: 1,
            found: A_LIST.to_owned(),
            expected: NO_LIST.to_owned(),
        });
    }
    Ok(())
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line and column within the text, from one.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// Reads `text` as a `T`; `cut_off` says that more may have followed.
pub(crate) fn read<'de, T: Deserialize<'de>>(text: &'de str, cut_off: bool) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| fault(&error, text, cut_off))
}

/// The error of the parser in plain words.
fn fault(error: &serde_json::Error, text: &str, cut_off: bool) -> Fault {
    let message = error.to_string();
    let (found, expected) = match error.classify() {
        Category::Eof if cut_off => (
            "the end of the file".to_owned(),
            "a complete JSON object (the file seems to be cut off here)".to_owned(),
        ),
        Category::Eof => ("an end too soon".to_owned(), OBJECT.to_owned()),
        Category::Data => data(&message, text),
        Category::Syntax | Category::Io => syntax(error, &message, text),
    };
    Fault {
        line: error.line().max(1),
        column: error.column().max(1),
        found,
        expected,
    }
}

const OBJECT: &str = "a JSON object of the documented form";
const A_LIST: &str = "a JSON list";
const NO_LIST: &str = "one object a line, without brackets and commas around them";

fn syntax(error: &serde_json::Error, message: &str, text: &str) -> (String, String) {
    let line = text.lines().nth(error.line().saturating_sub(1));
    let word = word_at(line.unwrap_or_default(), error.column());
    let own = OBJECT.to_owned();
    match word {
        _ if message.starts_with("recursion limit") => {
            ("lists or objects nested too deeply".to_owned(), own)
        }
        _ if message.starts_with("trailing characters") => (
            format!("{} after the object", excerpt(word)),
            "one object a line".to_owned(),
        ),
        "NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf" | "None" | "True" | "False"
        | "undefined" => (
            format!("`{word}`, which JSON does not have"),
            "numbers, `null`, `true` and `false` as JSON writes them".to_owned(),
        ),
        _ if word.chars().all(char::is_control) => {
            let byte = word.bytes().next().unwrap_or_default();
            (format!("byte 0x{byte:02X}"), own)
        }
        _ => (excerpt(word), own),
    }
}

/// The word, or else the character, around a byte of `line`, counted from one.
fn word_at(line: &str, column: usize) -> &str {
    let at = line.floor_char_boundary(column.saturating_sub(1).min(line.len()));
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
    let start = line[..at].rfind(|c| !part(c)).map_or(0, |before| {
        before + line[before..].chars().next().map_or(0, char::len_utf8)
    });
    let length = line[start..].find(|c| !part(c));
    let word = &line[start..start + length.unwrap_or(line.len() - start)];
    if word.is_empty() {
        let end = line[at..].chars().next().map_or(0, char::len_utf8);
        &line[at..at + end]
    } else {
        word
    }
}

/// What the parser says of a value of another type than was asked for.
fn data(message: &str, text: &str) -> (String, String) {
    let message = message.split(" at line ").next().unwrap_or(message);
    let both = |rest: &str| {
        let (found, expected) = rest.split_once(", expected ")?;
        Some((thing(found), thing(expected)))
    };
    if text.trim_start().starts_with('[') {
        return (A_LIST.to_owned(), NO_LIST.to_owned());
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return (format!("no {field}"), OBJECT.to_owned());
    }
    if let Some(field) = message.strip_prefix("duplicate field ") {
        return (format!("{field} twice"), OBJECT.to_owned());
    }
    let unknown = ["unknown field ", "unknown variant "];
    if let Some(rest) = unknown.iter().find_map(|start| message.strip_prefix(start)) {
        let (found, expected) = rest.split_once(", expected ").unwrap_or((rest, OBJECT));
        return (found.to_owned(), expected.to_owned());
    }
    [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "found ",
    ]
    .iter()
    .find_map(|start| message.strip_prefix(start).and_then(both))
    .unwrap_or_else(|| ("a value of another kind".to_owned(), OBJECT.to_owned()))
}

/// The parser's name of a type in this crate's words.
fn thing(name: &str) -> String {
    let quoted = |rest: &str| rest.trim_matches(['`', '"']).to_owned();
    for (start, word) in [
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
    ] {
        if let Some(rest) = name.strip_prefix(start) {
            return format!("{word}`{}`", quoted(rest));
        }
    }
    if let Some(rest) = name.strip_prefix("string ") {
        return format!("the text {}", excerpt(&quoted(rest)));
    }
    match name {
        "null" | "unit value" | "unit" => "nothing",
        "sequence" | "a sequence" => "a list",
        "a string" | "a borrowed string" => "a text",
        "map" | "a map" => "an object",
        "a boolean" => "`true` or `false`",
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number that is not negative",
        "isize" | "i64" | "i32" => "a whole number",
        "f32" | "f64" => "a number",
        _ if name.starts_with("struct ") => "an object",
        _ => name,
    }
    .to_owned()
}

/// The error that a hand-written reader gives, in the form that [`read`] understands.
pub(crate) fn custom<E: Error>(found: impl fmt::Display, expected: &str) -> E {
    E::custom(format_args!("found {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn said<'de, T: Deserialize<'de>>(text: &'de str) -> String {
        let fault = match read::<T>(text, false) {
            Err(fault) => fault,
            Ok(_) => panic!("{text} is read"),
        };
        let words = format!("{} / {}", fault.found, fault.expected);
        for word in [
            "enum", "variant", "untagged", "sequence", "struct", "f32", "i64", "invalid",
        ] {
            assert!(!words.contains(word), "{words}");
        }
        words
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#" {"a": 123456789012345678901234567890, "b" : [1.50,null, "x,]\n\"", {"c": true}, []] }"#;
        let members = Members::read(text, false).unwrap();
        let digits = |text: &str| Cell::Number {
            digits: text.to_owned(),
            exact: true,
        };
        let list = Cell::List(vec![
            digits("1.50"),
            Cell::Missing,
            Cell::Text("x,]\n\"".into()),
            Cell::Object(vec![("c".into(), Cell::Bool(true))]),
            Cell::List(Vec::new()),
        ]);
        assert_eq!(members.cell("a"), digits("123456789012345678901234567890"));
        assert_eq!(members.cell("b"), list);
        assert_eq!(members.cell("d"), Cell::Missing);
        let twice = Members::read(r#"{"\u0061": 1, "a": 2}"#, false).unwrap();
        assert_eq!(twice.cell("a"), digits("2"));
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100), "]".repeat(100));
        let deep = Members::read(&deep, false).unwrap().cell("a");
        assert!(matches!(deep, Cell::List(_)));
        let half = Members::read(r#"{"a": "\ud83d"}"#, false);
        assert!(half.is_err() || matches!(half.unwrap().cell("a"), Cell::Other(_)));
        let text = r#"{"user": 12345678901234567890123, "n": 5, "item":-7}"#;
        assert_eq!(
            ids_as_texts(text, &["user", "item"]),
            r#"{"user": "12345678901234567890123", "n": 5, "item":"-7"}"#
        );
    }

    #[test]
    fn what_is_no_json_is_shown() {
        for (text, expected) in [
            (r#"{"a": NaN}"#, "`NaN`, which JSON does not have"),
            (r#"{"a": nan}"#, "`nan`, which JSON does not have"),
            (
                r#"{"a": -Infinity}"#,
                "`-Infinity`, which JSON does not have",
            ),
            (r#"{"a": None}"#, "`None`, which JSON does not have"),
            (r#"{'a': 1}"#, "`'`"),
            (
                r#"{"a": 1} {"b": 2}"#,
                "`{` after the object / one object a line",
            ),
            (r#"{"a": 1"#, "an end too soon"),
            ("{\"a\": \"\tb\"}", "byte 0x09"),
            (r#"{"a": 1,}"#, "`}`"),
        ] {
            let said = said::<Value>(text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Typed {
        a: String,
        #[serde(default)]
        b: Vec<f32>,
        #[serde(default)]
        n: u32,
    }

    #[test]
    fn types_have_plain_names() {
        for (text, expected) in [
            (r#"[{"a": "x"}]"#, "a JSON list / one object a line"),
            (r#"{"a": 1}"#, "the number `1` / a text"),
            (r#"{"a": ["x"]}"#, "a list / a text"),
            (r#"{"a": "x", "b": {}}"#, "an object / a list"),
            (r#"{"a": "x", "b": ["y"]}"#, "the text `y` / a number"),
            (r#"{"a": "x", "n": -1}"#, "the number `-1` / a whole number"),
            (r#"{"b": []}"#, "no `a` /"),
            (r#"{"a": null}"#, "nothing / a text"),
            (r#"{"a": true}"#, "`true` / a text"),
            ("5", "the number `5` / an object"),
        ] {
            let said = said::<Typed>(text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn taking_apart_agrees_with_the_parser(text in r#"[\[\]{}",: 1ae\\-]{0,24}"#) {
            let text = format!("{{\"k\": {text}}}");
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                fn same(cell: &Cell, value: &Value) -> bool {
                    match (cell, value) {
                        (Cell::Missing, Value::Null) => true,
                        (Cell::Text(a), Value::String(b)) => a == b,
                        (Cell::Number { digits, .. }, Value::Number(n)) => {
                            digits.parse::<f64>().ok() == n.as_f64()
                        }
                        (Cell::List(a), Value::Array(b)) => {
                            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
                        }
                        (Cell::Object(_), Value::Object(b)) => {
                            let Cell::Object(a) = cell else { return false };
                            b.iter().all(|(k, b)| {
                                a.iter().rev().find(|(n, _)| n == k).is_some_and(|(_, a)| same(a, b))
                            })
                        }
                        _ => false,
                    }
                }
                let cells = cell(&text);
                proptest::prop_assert!(same(&cells, &value), "{cells:?} {value}");
            } else {
                proptest::prop_assert!(Members::read(&text, false).is_err());
            }
        }
    }
}
