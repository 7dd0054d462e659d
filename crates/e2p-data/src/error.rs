//! What can go wrong between a file and a run, each with the file, the place, what was found and
//! what was expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything fallible here.
pub type Result<T> = std::result::Result<T, DataError>;

/// Bad lines are collected up to this many before a file is given up.
pub const MAX_PROBLEMS: usize = 20;

/// Where on its line a problem stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// The line as a whole.
    Line,
    /// A field of a delimited file, counted from one, with the header's name for it where there is
    /// one.
    Field {
        /// Position, from one.
        number: usize,
        /// Name in the header or in the documented format.
        name: String,
    },
    /// A byte of the line, counted from one.
    Byte(usize),
    /// A named column of a table without lines; the problem's line is a row, or zero where the
    /// file as a whole is at fault. Empty where no single column is.
    Cell {
        /// The column.
        name: String,
    },
}

/// One bad line of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line (or row, in a file without lines), counted from one.
    pub line: u64,
    /// Place on the line.
    pub column: Column,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
}

impl Problem {
    /// A problem with a whole line.
    pub fn line(line: u64, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            line,
            column: Column::Line,
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// A problem at a byte of a line, both counted from one.
    pub fn byte(
        line: u64,
        byte: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            line,
            column: Column::Byte(byte),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// A problem with a column of a row, counted from one; of the whole file where `row` is zero.
    pub fn cell(
        row: u64,
        column: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            line: row,
            column: Column::Cell {
                name: column.to_owned(),
            },
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// A problem with a named field, counted from one.
    pub fn field(
        line: u64,
        number: usize,
        name: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        let column = Column::Field {
            number,
            name: name.to_owned(),
        };
        Self {
            line,
            column,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Column::Cell { name } = &self.column {
            let row = (self.line > 0).then(|| format!("row {}", self.line));
            let column = (!name.is_empty()).then(|| format!("column `{name}`"));
            let place: Vec<String> = row.into_iter().chain(column).collect();
            if !place.is_empty() {
                write!(f, "{}: ", place.join(", "))?;
            }
            return write!(f, "found {}, expected {}", self.found, self.expected);
        }
        write!(f, "line {}", self.line)?;
        match &self.column {
            Column::Line | Column::Cell { .. } => {}
            Column::Field { number, name } if name.is_empty() => write!(f, ", column {number}")?,
            Column::Field { number, name } => write!(f, ", column {number} (`{name}`)")?,
            Column::Byte(byte) => write!(f, ", column {byte}")?,
        }
        write!(f, ": found {}, expected {}", self.found, self.expected)
    }
}

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted: "open", "read", "write", ...
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An input file has bad lines; all of them up to [`MAX_PROBLEMS`] are listed.
    #[error("`{}` cannot be used:{}", file.display(), ProblemList { problems, more: *more })]
    BadInput {
        /// The file.
        file: PathBuf,
        /// Its problems in file order, never empty.
        problems: Vec<Problem>,
        /// Reading stopped at [`MAX_PROBLEMS`]; there may be more.
        more: bool,
    },
    /// An embedding file is not what it should be.
    #[error("`{}`{}: found {found}, expected {expected}", file.display(), RowPlace(*row))]
    Embeddings {
        /// The file.
        file: PathBuf,
        /// The row, counted from one, where a single row is at fault.
        row: Option<u64>,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// No embedding is known for a user.
    #[error("user `{user}` has no embedding in `{}` ({known} users known)", file.display())]
    UnknownUser {
        /// The id that was asked for.
        user: String,
        /// How many ids the file has.
        known: usize,
        /// The embedding file.
        file: PathBuf,
    },
    /// A directory was expected to be a data directory.
    #[error("`{}` is not a data directory: it has no `{missing}`", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// The file it lacks.
        missing: &'static str,
    },
    /// The data directory was written by another version of the format.
    #[error("`{}` has format version {found}, expected {expected}", path.display())]
    FormatVersion {
        /// `dataset.json`.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version this crate reads and writes.
        expected: u32,
    },
    /// A data directory's file has another number of lines than `dataset.json` says.
    #[error("`{}` has {found} lines, expected {expected} by `dataset.json`", file.display())]
    Count {
        /// The file.
        file: PathBuf,
        /// Lines in the file.
        found: u64,
        /// Lines by `dataset.json`.
        expected: u64,
    },
    /// The output exists already.
    #[error("`{}` exists and is not empty", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// An input that no loader of the task reads.
    #[error("`{}` is not an input of `{task}`, expected {expected}", path.display())]
    UnknownInput {
        /// The input.
        path: PathBuf,
        /// The task or format.
        task: &'static str,
        /// The inputs that would do.
        expected: &'static str,
    },
    /// An option has a value that cannot be used.
    #[error("option `{option}` is {found}, expected {expected}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// The values that would do.
        expected: &'static str,
    },
    /// After reading, nothing was left to write.
    #[error("the input of `{task}` gives no {what}, expected at least one")]
    NothingLeft {
        /// The task.
        task: &'static str,
        /// What is missing: "example", "interaction", ...
        what: &'static str,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

struct ProblemList<'a> {
    problems: &'a [Problem],
    more: bool,
}

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([only], false) = (self.problems, self.more) {
            return write!(f, " {only}");
        }
        for problem in self.problems {
            write!(f, "\n  {problem}")?;
        }
        if self.more {
            write!(
                f,
                "\n  … reading stopped after {} problems",
                self.problems.len()
            )?;
        }
        Ok(())
    }
}

struct RowPlace(Option<u64>);

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(row) => write!(f, ", row {row}"),
            None => Ok(()),
        }
    }
}

/// Shortens a piece of someone else's file for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut short: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}
