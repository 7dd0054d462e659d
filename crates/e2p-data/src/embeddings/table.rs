//! Embeddings from the formats with one record per user, which are read into memory.

use std::path::Path;

use super::index::IdIndex;
use super::mapped::{Bytes, stem};
use super::{ElementType, UserEmbeddings};
use crate::cell::Cell;
use crate::error::{DataError, Result};
use crate::json;
use crate::json_lines::{field_problem, members};
use crate::lines::{Encoding, LineReader, MAX_LINE_BYTES, Problems};
use crate::parquet_table::{ParquetTable, Reading, TableFault, parts};

/// Gathers rows of one dimension.
struct Table<'a> {
    path: &'a Path,
    ids: Vec<u8>,
    rows: u64,
    dim: usize,
    values: Vec<u8>,
}

impl<'a> Table<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            ids: Vec::new(),
            rows: 0,
            dim: 0,
            values: Vec::new(),
        }
    }

    fn refuse(&self, row: u64, found: String, expected: impl Into<String>) -> DataError {
        DataError::Embeddings {
            file: self.path.to_owned(),
            row: Some(row),
            found,
            expected: expected.into(),
        }
    }

    fn push(&mut self, user: &str, values: &[f32]) -> Result<()> {
        self.rows += 1;
        if user.contains(['\n', '\r']) {
            return Err(self.refuse(self.rows, "a line break in an id".into(), "ids on one line"));
        }
        if self.rows == 1 {
            self.dim = values.len();
        }
        if values.len() != self.dim || self.dim == 0 {
            let expected = if self.dim == 0 {
                "at least one".to_owned()
            } else {
                format!("{} as in row 1", self.dim)
            };
            return Err(self.refuse(self.rows, format!("{} numbers", values.len()), expected));
        }
        self.ids.extend_from_slice(user.as_bytes());
        self.ids.push(b'\n');
        for (at, value) in values.iter().enumerate() {
            if !value.is_finite() {
                let found = format!("{value} at position {} of user `{user}`", at + 1);
                return Err(self.refuse(self.rows, found, "finite numbers"));
            }
            self.values.extend_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn finish(self) -> Result<UserEmbeddings> {
        let index = IdIndex::new(Bytes::Owned(self.ids)).map_err(|bad| bad.of(self.path))?;
        Ok(UserEmbeddings {
            path: self.path.to_owned(),
            index,
            bytes: Bytes::Owned(self.values),
            start: 0,
            dim: self.dim,
            element: ElementType::F32,
            space: stem(self.path),
        })
    }
}

pub(super) fn open_json_lines(path: &Path) -> Result<UserEmbeddings> {
    let mut table = Table::new(path);
    let mut lines = LineReader::open(path, Encoding::Utf8, MAX_LINE_BYTES)?;
    let mut problems = Problems::new(path);
    while lines.advance(&mut problems)? {
        let (text, number) = (lines.text(), lines.number());
        if text.trim().is_empty() {
            continue;
        }
        let members = match members(text, number, lines.is_cut_off()) {
            Ok(members) => members,
            Err(problem) => return Err(problems.fatal(problem)),
        };
        let bad =
            |field, found: &str, expected| field_problem(text, number, field, found, expected);
        let user = members.cell("user");
        let user = match user.id() {
            Ok(Some(user)) => user,
            Ok(None) => return Err(problems.fatal(bad("user", "nothing", USER_ID))),
            Err(found) => return Err(problems.fatal(bad("user", &found, USER_ID))),
        };
        let written = members.get("embedding").unwrap_or("null");
        // The usual list of numbers; what is wrong with any other is looked for below.
        let values = match serde_json::from_str::<Vec<f32>>(written) {
            Ok(values) => values,
            Err(_) => match vector(json::cell(written)) {
                Ok(values) => values,
                Err(found) => return Err(problems.fatal(bad("embedding", &found, NUMBERS))),
            },
        };
        table.push(user, &values)?;
    }
    problems.finish()?;
    table.finish()
}

const USER_ID: &str = "a user id, a text or a whole number";
const NUMBERS: &str = "a list of numbers";

/// The numbers of a list, or what is found instead.
fn vector(cell: Cell) -> std::result::Result<Vec<f32>, String> {
    let cells = match cell {
        Cell::Numbers(numbers) => return Ok(numbers),
        Cell::List(cells) => cells,
        Cell::Text(_) => return Err(format!("{}, not a list", cell.found())),
        other => return Err(other.found()),
    };
    let numbers = cells.iter().enumerate().map(|(at, cell)| match cell {
        // A number beyond 32 bits becomes infinite, and is refused with those that were.
        Cell::Number { digits, .. } => digits.parse().map_err(|_| cell.found()),
        other => Err(format!("{} at position {}", other.found(), at + 1)),
    });
    numbers.collect()
}

/// A file, or a directory of several as Spark writes one.
pub(super) fn open_parquet(path: &Path) -> Result<UserEmbeddings> {
    let mut table = Table::new(path);
    for part in parts(path)? {
        read_parquet(&part, &mut table)?;
    }
    table.finish()
}

fn read_parquet(path: &Path, vectors: &mut Table<'_>) -> Result<()> {
    let refuse = |fault: TableFault| DataError::Embeddings {
        file: path.to_owned(),
        row: fault.row,
        found: match fault.column {
            Some(column) => format!("{} in `{column}`", fault.found),
            None => fault.found,
        },
        expected: fault.expected,
    };
    let reading = Reading {
        max_bytes: MAX_LINE_BYTES,
        vectors: true,
    };
    let table = ParquetTable::open(path, reading)?.map_err(refuse)?;
    let column = |name: &str| {
        let found = table.names().iter().position(|other| other == name);
        found.ok_or_else(|| DataError::Embeddings {
            file: path.to_owned(),
            row: None,
            found: format!("columns `{}`", table.names().join("`, `")),
            expected: "columns `user` and `embedding`".to_owned(),
        })
    };
    let wanted = [column("user")?, column("embedding")?];
    let outcome = table.rows(&wanted, |row, cells| {
        let bad = |field: &str, found: String, expected: &str| DataError::Embeddings {
            file: path.to_owned(),
            row: Some(row),
            found: format!("{found} in `{field}`"),
            expected: expected.to_owned(),
        };
        let mut cells = cells.into_iter();
        let (user, embedding) = (cells.next(), cells.next());
        let user = user.unwrap_or(Cell::Missing);
        let id = match user.id() {
            Ok(Some(id)) => id,
            Ok(None) => return Err(bad("user", "nothing".to_owned(), USER_ID)),
            Err(found) => return Err(bad("user", found, USER_ID)),
        };
        let values = vector(embedding.unwrap_or(Cell::Missing));
        let values = values.map_err(|found| bad("embedding", found, NUMBERS))?;
        vectors.push(id, &values)
    })?;
    outcome.map_err(refuse)
}
