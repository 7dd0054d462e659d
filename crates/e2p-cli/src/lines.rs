//! Reads JSON lines and names the line of everything that is wrong.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
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

/// Parses every line of `path` (`-` is stdin); blank lines are skipped.
///
/// # Errors
/// An unreadable file, or [`LineErrors`] for all lines that are not UTF-8 or not the JSON that is expected.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<Line<T>>> {
    let bytes = if is_stdin(path) {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read stdin")?;
        bytes
    } else {
        fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?
    };
    let bytes = bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&bytes);
    let mut errors = LineErrors::new(path);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match parse(line) {
            Ok(Some(value)) => lines.push(Line { number, value }),
            Ok(None) => {}
            Err(error) => errors.push(number, error),
        }
    }
    errors.into_result()?;
    Ok(lines)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<Option<T>, String> {
    let text = str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to() + 1))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| {
        // serde_json counts lines inside this one line; the column is what helps.
        let reason = error.to_string();
        let reason = reason
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_string();
        if error.column() > 0 {
            format!("{reason} at column {}", error.column())
        } else {
            reason
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> anyhow::Result<Vec<Line<Vec<u32>>>> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("in.jsonl");
        fs::write(&path, bytes).expect("writes");
        read(&path)
    }

    #[test]
    fn numbers_count_blank_lines_and_windows_line_ends_are_fine() {
        let lines = read_bytes("\u{FEFF}[1]\r\n\n[2, 3]".as_bytes()).expect("valid");
        assert_eq!(
            lines
                .iter()
                .map(|line| (line.number, line.value.len()))
                .collect::<Vec<_>>(),
            [(1, 1), (3, 2)]
        );
    }

    #[test]
    fn every_bad_line_is_named() {
        let message = read_bytes(b"[1]\n{}\n[\xff]\n[-1]\n")
            .expect_err("three are bad")
            .to_string();
        assert!(message.contains("3 bad lines"), "{message}");
        for part in [
            "line 2: invalid type",
            "line 3: not UTF-8 at byte 2",
            "line 4: invalid value",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
