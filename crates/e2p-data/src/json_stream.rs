//! Large JSON documents, element by element: an array, or an object of arrays and single values.
//!
//! Only the outer brackets are followed here; an element is cut out as text with its place and
//! parsed on its own, so one bad element does not hide the next, and every error has its line and
//! column in the file.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{DataError, Problem, Result};
use crate::json;
use crate::lines::Problems;

/// A place in a file, both counted from one; columns are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: usize,
}

impl Place {
    /// A problem of what stands here.
    pub(crate) fn problem(self, found: impl Into<String>, expected: impl Into<String>) -> Problem {
        Problem::byte(self.line, self.column, found, expected)
    }
}

/// A piece of the document.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// The key it stands under; empty in a bare array.
    pub(crate) key: &'a str,
    /// Its place in its array, from zero; `None` for a value that is no array.
    pub(crate) position: Option<u64>,
    /// Where its text begins.
    pub(crate) place: Place,
    text: &'a str,
}

impl Piece<'_> {
    /// The piece as a value, or what is wrong with it.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> std::result::Result<T, Problem> {
        json::read(self.text, false).map_err(|fault| {
            // The fault's place is within the piece.
            let column = if fault.line == 1 {
                self.place.column + fault.column - 1
            } else {
                fault.column
            };
            let line = self.place.line + fault.line as u64 - 1;
            Problem::byte(line, column, fault.found, fault.expected)
        })
    }

    /// The piece as it is written.
    pub(crate) fn text(&self) -> &str {
        self.text
    }
}

/// Takes one piece; problems that do not end the reading go to the collection.
type Take<'f> = &'f mut dyn FnMut(&Piece<'_>, &mut Problems) -> Result<()>;

/// Gives every piece of the document in `reader` to `take`. A piece longer than `max_bytes` is a
/// problem and is passed over without being held.
pub(crate) fn for_each(
    path: &Path,
    reader: impl Read,
    max_bytes: usize,
    problems: &mut Problems,
    take: Take<'_>,
) -> Result<()> {
    let mut scanner = Scanner {
        path,
        reader: BufReader::with_capacity(1 << 18, reader),
        at: Place { line: 1, column: 1 },
        max_bytes,
        text: Vec::new(),
    };
    scanner.skip_mark()?;
    match scanner.next_byte(problems, "a JSON list or object")? {
        b'[' => scanner.array("", problems, take)?,
        b'{' => scanner.object(problems, take)?,
        other => return Err(scanner.unexpected_before(other, problems, "a JSON list or object")),
    }
    match scanner.peek_past_space()? {
        None => Ok(()),
        Some(other) => Err(scanner.unexpected(other, problems, "the end of the file")),
    }
}

struct Scanner<'p, R> {
    path: &'p Path,
    reader: BufReader<R>,
    at: Place,
    max_bytes: usize,
    text: Vec<u8>,
}

impl<R: Read> Scanner<'_, R> {
    fn object(&mut self, problems: &mut Problems, take: Take<'_>) -> Result<()> {
        if self.peek(problems, "a key or `}`")? == b'}' {
            self.bump();
            return Ok(());
        }
        loop {
            let start = self.at_after_space()?;
            if self.peek(problems, "a key in quotes")? != b'"' {
                let byte = self.peek(problems, "a key in quotes")?;
                return Err(self.unexpected(byte, problems, "a key in quotes"));
            }
            self.value(problems)?;
            let key: String = serde_json::from_slice(&self.text)
                .map_err(|_| problems.fatal(start.problem("what is no text", "a key in quotes")))?;
            match self.next_byte(problems, "`:`")? {
                b':' => {}
                other => return Err(self.unexpected_before(other, problems, "`:`")),
            }
            if self.peek(problems, "a value")? == b'[' {
                self.bump();
                self.array(&key, problems, take)?;
            } else {
                self.piece(&key, None, problems, take)?;
            }
            match self.next_byte(problems, "`,` or `}`")? {
                b',' => {}
                b'}' => return Ok(()),
                other => return Err(self.unexpected_before(other, problems, "`,` or `}`")),
            }
        }
    }

    /// The opening bracket has been read.
    fn array(&mut self, key: &str, problems: &mut Problems, take: Take<'_>) -> Result<()> {
        if self.peek(problems, "an element or `]`")? == b']' {
            self.bump();
            return Ok(());
        }
        let mut position = 0;
        loop {
            self.piece(key, Some(position), problems, take)?;
            position += 1;
            match self.next_byte(problems, "`,` or `]`")? {
                b',' => {}
                b']' => return Ok(()),
                other => return Err(self.unexpected_before(other, problems, "`,` or `]`")),
            }
        }
    }

    fn piece(
        &mut self,
        key: &str,
        position: Option<u64>,
        problems: &mut Problems,
        take: Take<'_>,
    ) -> Result<()> {
        let place = self.at_after_space()?;
        let length = self.value(problems)?;
        if length > self.max_bytes {
            let expected = format!("at most {} (`--max-line-bytes`)", self.max_bytes);
            return problems.push(place.problem(format!("{length} bytes"), expected));
        }
        let text = std::mem::take(&mut self.text);
        let outcome = match std::str::from_utf8(&text) {
            Ok(text) => {
                let piece = Piece {
                    key,
                    position,
                    place,
                    text,
                };
                take(&piece, problems)
            }
            Err(error) => {
                let found = format!("a byte that is not UTF-8, {} bytes on", error.valid_up_to());
                problems.push(place.problem(found, "UTF-8 text"))
            }
        };
        self.text = text;
        outcome
    }

    /// Reads one value into `text`, as long as it fits, and returns its length. It ends before the
    /// `,`, `]`, `}` or `:` that follows it.
    fn value(&mut self, problems: &mut Problems) -> Result<usize> {
        self.text.clear();
        let mut length = 0;
        let (mut depth, mut in_string, mut escaped, mut done) = (0_usize, false, false, false);
        while !done {
            let (path, buffer) = (self.path, self.reader.fill_buf());
            let buffer = buffer.map_err(|source| DataError::io(path, "read", source))?;
            if buffer.is_empty() {
                return Err(self.cut_off(problems, "the rest of a value"));
            }
            let mut used = 0;
            for &byte in buffer {
                let outside = depth == 0 && !in_string;
                if outside && matches!(byte, b',' | b']' | b'}' | b':') {
                    done = true;
                    break;
                }
                used += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    b'[' | b'{' if !in_string => depth += 1,
                    b']' | b'}' if !in_string => depth -= 1,
                    _ => {}
                }
                if byte == b'\n' {
                    self.at = Place {
                        line: self.at.line + 1,
                        column: 1,
                    };
                } else {
                    self.at.column += 1;
                }
            }
            length += used;
            if length <= self.max_bytes {
                self.text.extend_from_slice(&buffer[..used]);
            }
            self.reader.consume(used);
        }
        Ok(length)
    }

    /// The next byte that is no white space, consumed.
    fn next_byte(&mut self, problems: &mut Problems, expected: &str) -> Result<u8> {
        let byte = self.peek(problems, expected)?;
        self.bump();
        Ok(byte)
    }

    fn peek(&mut self, problems: &mut Problems, expected: &str) -> Result<u8> {
        match self.peek_past_space()? {
            Some(byte) => Ok(byte),
            None => Err(self.cut_off(problems, expected)),
        }
    }

    fn peek_past_space(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = self.reader.fill_buf();
            let buffer = buffer.map_err(|source| DataError::io(self.path, "read", source))?;
            match buffer.first() {
                None => return Ok(None),
                Some(b'\n') => {
                    self.at = Place {
                        line: self.at.line + 1,
                        column: 1,
                    };
                    self.reader.consume(1);
                }
                Some(b' ' | b'\t' | b'\r') => self.bump(),
                Some(&byte) => return Ok(Some(byte)),
            }
        }
    }

    fn at_after_space(&mut self) -> Result<Place> {
        self.peek_past_space()?;
        Ok(self.at)
    }

    /// Passes over one byte that is no line break.
    fn bump(&mut self) {
        self.at.column += 1;
        self.reader.consume(1);
    }

    /// A byte order mark is no part of the document.
    fn skip_mark(&mut self) -> Result<()> {
        let buffer = self.reader.fill_buf();
        let buffer: io::Result<bool> = buffer.map(|bytes| bytes.starts_with(b"\xEF\xBB\xBF"));
        if buffer.map_err(|source| DataError::io(self.path, "read", source))? {
            self.reader.consume(3);
        }
        Ok(())
    }

    fn cut_off(&self, problems: &mut Problems, expected: &str) -> DataError {
        let expected = format!("{expected} (the file seems to be cut off)");
        problems.fatal(self.at.problem("the end of the file", expected))
    }

    fn unexpected(&self, byte: u8, problems: &mut Problems, expected: &str) -> DataError {
        problems.fatal(self.at.problem(shown(byte), expected))
    }

    /// The same for a byte that was consumed.
    fn unexpected_before(&self, byte: u8, problems: &mut Problems, expected: &str) -> DataError {
        let place = Place {
            column: self.at.column.saturating_sub(1).max(1),
            ..self.at
        };
        problems.fatal(place.problem(shown(byte), expected))
    }
}

fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("`{}`", char::from(byte))
    } else {
        format!("byte 0x{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    type Found = Vec<(String, Option<u64>, (u64, usize), Value)>;

    fn read(text: &[u8], max_bytes: usize) -> (Found, Result<()>) {
        let path = Path::new("some.json");
        let mut problems = Problems::new(path);
        let mut found = Vec::new();
        let outcome = for_each(
            path,
            text,
            max_bytes,
            &mut problems,
            &mut |piece, problems| match piece.parse() {
                Ok(value) => {
                    let place = (piece.place.line, piece.place.column);
                    found.push((piece.key.to_owned(), piece.position, place, value));
                    Ok(())
                }
                Err(problem) => problems.push(problem),
            },
        );
        (found, outcome.and_then(|()| problems.finish()))
    }

    fn message(text: &str) -> String {
        read(text.as_bytes(), 100).1.unwrap_err().to_string()
    }

    #[test]
    fn pieces_have_keys_positions_and_places() {
        let text = "\u{feff}{ \"task\" : \"a]b\",\n \"golds\": [1,\n  {\"x\": \"\\\"}\"}], \"none\": [] }\n";
        let (found, verdict) = read(text.as_bytes(), 100);
        verdict.unwrap();
        let golds = "golds".to_owned();
        assert_eq!(
            found,
            [
                ("task".into(), None, (1, 12), "a]b".into()),
                (golds.clone(), Some(0), (2, 12), 1.into()),
                (golds, Some(1), (3, 3), serde_json::json!({"x": "\"}"})),
            ]
        );
    }

    #[test]
    fn a_bad_element_does_not_hide_the_next() {
        let (found, verdict) = read(b"[{\"a\": 1 2},\n {\"a\"\n : x}, 3]", 100);
        assert_eq!(found.len(), 1);
        let message = verdict.unwrap_err().to_string();
        assert!(message.contains("line 1, column 10: found"), "{message}");
        assert!(message.contains("line 3, column 4: found"), "{message}");
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        assert!(message("[1,\n").contains("line 2, column 1: found the end of the file"));
        assert!(message("[\"abc").contains("column 6: found the end of the file"));
        assert!(
            message("7").contains("column 1: found `7`, expected a JSON list or object"),
            "{}",
            message("7")
        );
        assert!(message("").contains("found the end of the file"));
        assert!(message("[1]]").contains("column 4: found `]`, expected the end of the file"));
        assert!(message("{\"a\" 1}").contains("expected"));
        assert!(message("[1}").contains("column 3: found `}`, expected `,` or `]`"));
        assert!(message("{a: 1}").contains("column 2: found `a`, expected a key in quotes"));
        assert!(message("[\"\u{e9}\", 1, ]").contains("column 11: found an end too soon"));
    }

    #[test]
    fn a_long_piece_is_passed_over() {
        let (found, verdict) = read(b"[1, \"0123456789\", 2]", 5);
        assert_eq!(found.len(), 2);
        let message = verdict.unwrap_err().to_string();
        assert!(
            message.contains("line 1, column 5: found 12 bytes, expected at most 5"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(values in proptest::collection::vec("\\PC{0,12}", 0..6), pretty: bool) {
            let document = serde_json::json!({"list": values, "one": {"a": values}});
            let text = if pretty { format!("{document:#}") } else { document.to_string() };
            let (found, verdict) = read(text.as_bytes(), 1 << 20);
            verdict.unwrap();
            let list: Vec<Value> = found.iter().filter(|(key, ..)| key == "list").map(|(.., value)| value.clone()).collect();
            prop_assert_eq!(Value::Array(list), document["list"].clone());
            prop_assert_eq!(&found.last().unwrap().3, &document["one"]);
        }

        #[test]
        fn whatever_is_accepted_is_json(text in "[\\[\\]{},:\"a1 \n]{0,24}") {
            let (_, verdict) = read(text.as_bytes(), 100);
            if verdict.is_ok() {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
