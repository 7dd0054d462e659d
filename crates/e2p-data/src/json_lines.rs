//! JSON Lines as an iterator of records, each error with its line and column.

use std::fs::File;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{DataError, Problem, Result};
use crate::lines::{Encoding, LineReader, MAX_LINE_BYTES, Problems, Step};

/// The records of a JSON Lines file, one at a time; it ends after the first error.
pub struct JsonLines<T> {
    lines: Option<LineReader<File>>,
    check: fn(&T) -> Option<Fault>,
    expected: Option<u64>,
    seen: u64,
    record: PhantomData<fn() -> T>,
}

/// Field, what was found in it, what was expected.
pub(crate) type Fault = (&'static str, String, &'static str);

impl<T: DeserializeOwned> JsonLines<T> {
    /// Opens `path`, which must have `expected` records if that is known.
    pub(crate) fn open(
        path: &Path,
        expected: Option<u64>,
        check: fn(&T) -> Option<Fault>,
    ) -> Result<Self> {
        let lines = LineReader::open(path, Encoding::Utf8, MAX_LINE_BYTES)?;
        Ok(Self {
            lines: Some(lines),
            check,
            expected,
            seen: 0,
            record: PhantomData,
        })
    }

    /// No records.
    pub(crate) fn empty() -> Self {
        Self {
            lines: None,
            check: |_| None,
            expected: None,
            seen: 0,
            record: PhantomData,
        }
    }

    fn read(&mut self) -> Result<Option<T>> {
        let Some(lines) = &mut self.lines else {
            return Ok(None);
        };
        let bad = |lines: &LineReader, problem| Problems::new(lines.path()).fatal(problem);
        loop {
            match lines.step()? {
                Step::Bad(problem) => return Err(bad(lines, problem)),
                Step::Line if lines.text().trim().is_empty() => {}
                Step::Line => {
                    let record = parse::<T>(lines.text(), lines.number(), lines.is_cut_off())
                        .map_err(|problem| bad(lines, problem))?;
                    if let Some((field, found, expected)) = (self.check)(&record) {
                        let problem =
                            field_problem(lines.text(), lines.number(), field, &found, expected);
                        return Err(bad(lines, problem));
                    }
                    self.seen += 1;
                    return Ok(Some(record));
                }
                Step::End => {
                    return match self.expected {
                        Some(expected) if expected != self.seen => Err(DataError::Count {
                            file: lines.path().to_owned(),
                            found: self.seen,
                            expected,
                        }),
                        _ => Ok(None),
                    };
                }
            }
        }
    }
}

impl<T: DeserializeOwned> Iterator for JsonLines<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.lines = None;
        }
        next
    }
}

/// A problem of a field of the JSON object in `text`, at the column of its key; at the line's first column where the field is missing.
pub(crate) fn field_problem(
    text: &str,
    line: u64,
    field: &str,
    found: &str,
    expected: &str,
) -> Problem {
    let column = text.find(&format!("\"{field}\"")).map_or(1, |at| at + 1);
    Problem::byte(line, column, format!("{found} in `{field}`"), expected)
}

/// Parses one line; `cut_off` says that it lacks its line break.
pub(crate) fn parse<'de, T: serde::Deserialize<'de>>(
    text: &'de str,
    line: u64,
    cut_off: bool,
) -> std::result::Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        let expected = if cut_off && error.is_eof() {
            "a complete JSON object (the file seems to be cut off here)"
        } else {
            "a JSON object of the documented form"
        };
        // serde_json ends its message with its own line number, which is always 1 here.
        let message = error.to_string();
        let found = message
            .split(" at line ")
            .next()
            .unwrap_or(&message)
            .to_owned();
        Problem::byte(line, error.column().max(1), found, expected)
    })
}
