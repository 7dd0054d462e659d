//! Reads JSON lines and names the line of everything that is wrong.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use e2p_data::{Column, Encoding, LineReader, MAX_LINE_BYTES, Problem};
use serde::de::DeserializeOwned;

/// Errors listed in full; a file with more is wrong altogether.
const LISTED: usize = 20;

/// One parsed line and its number, counted from 1.
#[derive(Debug)]
pub(crate) struct Line<T> {
    pub(crate) number: usize,
    pub(crate) value: T,
}

/// Everything wrong in one file. Preferred variable name: `errors`.
#[derive(Debug)]
pub(crate) struct LineErrors {
    file: String,
    errors: Vec<(usize, String)>,
}

impl LineErrors {
    /// No errors yet.
    pub(crate) fn new(path: &Path) -> Self {
        let file = if is_stdin(path) {
            "stdin".into()
        } else {
            format!("`{}`", path.display())
        };
        Self {
            file,
            errors: Vec::new(),
        }
    }

    /// Line `number` is wrong.
    pub(crate) fn push(&mut self, number: usize, error: impl fmt::Display) {
        self.errors.push((number, error.to_string()));
    }

    /// Fails if there were any.
    pub(crate) fn into_result(self) -> anyhow::Result<()> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.into())
        }
    }
}

impl fmt::Display for LineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(number, error)] = self.errors.as_slice() {
            return write!(f, "{}, line {number}: {error}", self.file);
        }
        write!(f, "{} has {} bad lines", self.file, self.errors.len())?;
        for (number, error) in self.errors.iter().take(LISTED) {
            write!(f, "\n  line {number}: {error}")?;
        }
        if self.errors.len() > LISTED {
            write!(f, "\n  and {} more", self.errors.len() - LISTED)
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for LineErrors {}

/// Parses every line of `path` (`-` is stdin); blank lines are skipped. `ids` names the fields
/// whose numbers keep their digits and are texts.
///
/// # Errors
/// An unreadable file, or [`LineErrors`] for all lines that are not UTF-8 or not the JSON that is
/// expected.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, ids: &[&str]) -> anyhow::Result<Vec<Line<T>>> {
    let input: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin())
    } else {
        let file = File::open(path);
        Box::new(file.with_context(|| format!("cannot read `{}`", path.display()))?)
    };
    let mut reader = LineReader::new(path, input, Encoding::Utf8, MAX_LINE_BYTES);
    let mut errors = LineErrors::new(path);
    let mut lines = Vec::new();
    while let Some(line) = reader.next_json(ids)? {
        match line {
            Ok((number, value)) => lines.push(Line {
                number: number as usize,
                value,
            }),
            Err(problem) => errors.push(problem.line as usize, place_last(&problem)),
        }
    }
    errors.into_result()?;
    Ok(lines)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// What is wrong with a line, and the column, without the line.
fn place_last(problem: &Problem) -> String {
    let said = format!("found {}, expected {}", problem.found, problem.expected);
    match problem.column {
        Column::Byte(column) => format!("{said} at column {column}"),
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Asked {
        n: u32,
        #[serde(default)]
        user: Option<String>,
    }

    fn read_bytes(bytes: &[u8]) -> anyhow::Result<Vec<Line<Asked>>> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, bytes).expect("writes");
        read(&path, &["user"])
    }

    #[test]
    fn numbers_count_blank_lines_and_windows_line_ends_are_fine() {
        let text = "\u{FEFF}{\"n\": 1}\r\n\n{\"n\": 2, \"user\": 123456789012345678901234567890}";
        let lines = read_bytes(text.as_bytes()).expect("valid");
        let found = lines.iter().map(|line| (line.number, line.value.n));
        assert_eq!(found.collect::<Vec<_>>(), [(1, 1), (3, 2)]);
        assert_eq!(
            lines[1].value.user.as_deref(),
            Some("123456789012345678901234567890")
        );
    }

    #[test]
    fn every_bad_line_is_named() {
        let message = read_bytes(b"{\"n\": 1}\n{}\n{\"n\": \xff}\n{\"n\": -1}\n[1]\n")
            .expect_err("four are bad")
            .to_string();
        assert!(message.contains("4 bad lines"), "{message}");
        for part in [
            "line 2: found no `n`",
            "line 3: found byte 0xFF, expected UTF-8 text at column 7",
            "line 4: found the number `-1`, expected a whole number that is not negative",
            "line 5: found a JSON list, expected one object a line",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
