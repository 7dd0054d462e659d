//! JSON Lines as an iterator of records, each error with its line and column.

use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{DataError, Problem, Result};
use crate::json::{self, Fault, Members};
use crate::lines::{Encoding, LineReader, MAX_LINE_BYTES, Problems, Step};

/// The records of a JSON Lines file, one at a time; it ends after the first error.
pub struct JsonLines<T> {
    lines: Option<LineReader<File>>,
    check: fn(&T) -> Option<BadField>,
    expected: Option<u64>,
    seen: u64,
    record: PhantomData<fn() -> T>,
}

/// Field, what was found in it, what was expected.
pub(crate) type BadField = (&'static str, String, &'static str);

impl<T: DeserializeOwned> JsonLines<T> {
    /// Opens `path`, which must have `expected` records if that is known.
    pub(crate) fn open(
        path: &Path,
        expected: Option<u64>,
        check: fn(&T) -> Option<BadField>,
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
        match lines.next_json::<T>(&[])? {
            Some(Err(problem)) => Err(bad(lines, problem)),
            Some(Ok((number, record))) => {
                if let Some((field, found, expected)) = (self.check)(&record) {
                    let problem = field_problem(lines.text(), number, field, &found, expected);
                    return Err(bad(lines, problem));
                }
                self.seen += 1;
                Ok(Some(record))
            }
            None => match self.expected {
                Some(expected) if expected != self.seen => Err(DataError::Count {
                    file: lines.path().to_owned(),
                    found: self.seen,
                    expected,
                }),
                _ => Ok(None),
            },
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

/// A problem of a field of the JSON object in `text`, at the column of its key; at the line's first
/// column where the field is missing.
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
    // A list would be read as the members of an object in their order.
    let read = match json::refuse_list(text) {
        Ok(()) => json::read(text, cut_off),
        Err(fault) => Err(fault),
    };
    read.map_err(|fault| of_line(fault, line))
}

/// Takes one line apart into its members.
pub(crate) fn members(
    text: &str,
    line: u64,
    cut_off: bool,
) -> std::result::Result<Members<'_>, Problem> {
    Members::read(text, cut_off).map_err(|fault| of_line(fault, line))
}

fn of_line(fault: Fault, line: u64) -> Problem {
    Problem::byte(line, fault.column, fault.found, fault.expected)
}

impl<R: Read> LineReader<R> {
    /// The next line that is not blank, as a `T`, with its number; `None` at the end of the file.
    /// Ids under the names `ids` become texts before they are read, so that numbers keep their
    /// digits. The inner error is a line that cannot be used.
    pub fn next_json<T: DeserializeOwned>(
        &mut self,
        ids: &[&str],
    ) -> Result<Option<std::result::Result<(u64, T), Problem>>> {
        loop {
            match self.step()? {
                Step::End => return Ok(None),
                Step::Bad(problem) => return Ok(Some(Err(problem))),
                Step::Line if self.text().trim().is_empty() => {}
                Step::Line => {
                    let (line, cut_off) = (self.number(), self.is_cut_off());
                    let text = json::ids_as_texts(self.text(), ids);
                    return Ok(Some(parse(&text, line, cut_off).map(|value| (line, value))));
                }
            }
        }
    }
}
