//! Event and item files of cells: CSV, TSV, RecBole's files with typed columns, MovieLens' `::`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::events::Events;
use super::options::Columns;
use super::row::{BadField, Row, names};
use crate::cell;
use crate::delimited::{Delimited, Quoting, Record};
use crate::error::{DataError, Problem, Result};
use crate::lines::{Encoding, LineReader, Problems};
use crate::sink::Sink;

/// RecBole's types, which its columns have behind a colon.
const TYPES: [&str; 4] = ["token", "token_seq", "float", "float_seq"];
/// RecBole's names of the fields, in the order of [`Columns`].
const RECBOLE: [&str; 6] = ["user_id", "item_id", "rating", "timestamp", "name", "tags"];

/// Where the fields are, in the order of [`Columns`].
struct Places {
    at: [Option<usize>; 6],
    /// Tags that are separated by spaces.
    spaced_tags: bool,
}

impl Places {
    fn find(columns: &[String], wanted: &Columns) -> Self {
        let parts = columns.iter().map(|column| column.rsplit_once(':'));
        let typed: Option<Vec<(&str, &str)>> = parts.collect();
        let typed = typed.filter(|all| all.iter().all(|(_, kind)| TYPES.contains(kind)));
        let mut fields = 0..;
        let default = Columns::default();
        let at = names(wanted).map(|name| {
            let field = fields.next().unwrap_or_default();
            let whole = columns.iter().position(|column| column == name);
            whole.or_else(|| {
                let columns = typed.as_ref()?;
                let find = |name| columns.iter().position(|(column, _)| *column == name);
                // A name that was not given is that of the format.
                let is_default = names(&default)[field] == name;
                find(name).or_else(|| find(RECBOLE[field]).filter(|_| is_default))
            })
        });
        let kind_of = |at: usize| typed.as_ref().map(|columns| columns[at].1);
        Self {
            at,
            spaced_tags: at[5].and_then(kind_of) == Some("token_seq"),
        }
    }

    fn row<'a>(&self, record: &'a Record) -> std::result::Result<Row<'a>, BadField> {
        let cell = |field: usize| self.at[field].map(|at| &record[at]);
        let tags = cell(5).unwrap_or_default();
        let tags = if self.spaced_tags {
            tags.split_whitespace().map(Into::into).collect()
        } else {
            cell::tags(tags)
        };
        let texts = [1, 2, 3, 4].map(|field| cell(field).unwrap_or_default());
        Row::of_texts(cell(0), texts, tags)
    }
}

/// Reads a file with a header.
pub(super) fn read(
    path: &Path,
    delimiter: u8,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let lines = sink.lines(path, Encoding::Utf8)?;
    // Catalogues separated by tabs have quotes as plain characters, at the beginning of names too.
    let quoting = if delimiter == b'\t' {
        Quoting::WholeCell
    } else {
        Quoting::Rfc4180
    };
    let mut table = Delimited::with_header(lines, delimiter, quoting, &mut problems)?;
    let places = Places::find(table.columns(), columns);
    // A file of items has names; one without either is an event file whose column is called
    // otherwise.
    let needed = match places.at {
        [_, None, ..] => Some(&columns.item),
        [None, _, _, _, None, _] => Some(&columns.user),
        _ => None,
    };
    if let Some(needed) = needed {
        table.column(needed, &mut problems)?;
    }
    while let Some(record) = table.next(&mut problems)? {
        let outcome = match places.row(record) {
            Ok(row) => row.add(events, sink)?,
            Err(bad) => Err(bad),
        };
        if let Err((field, found, expected)) = outcome {
            let at = places.at[field].unwrap_or_default();
            let problem = table.problem(at, found, expected);
            problems.push(problem)?;
        }
    }
    problems.finish()
}

/// Whether the first line separates its cells by `::`, as MovieLens does.
pub(super) fn has_double_colons(path: &Path) -> Result<bool> {
    let mut lines = LineReader::open(path, Encoding::Latin1, 1 << 16)?;
    let mut problems = Problems::new(path);
    Ok(lines.advance(&mut problems)? && lines.text().contains("::"))
}

/// Reads `ratings.dat` (user, item, rating, time) or `movies.dat` (item, title, genres) of
/// MovieLens, which have no header. The older files are in ISO-8859-1.
pub(super) fn read_movielens(path: &Path, events: &mut Events, sink: &mut Sink<'_>) -> Result<()> {
    let encoding = if is_utf8(path)? {
        Encoding::Utf8
    } else {
        Encoding::Latin1
    };
    let mut problems = Problems::new(path);
    let mut lines = sink.lines(path, encoding)?;
    while lines.advance(&mut problems)? {
        if lines.text().is_empty() {
            continue;
        }
        let cells: Vec<&str> = lines.text().split("::").collect();
        let row = match cells.as_slice() {
            [user, item, rating, time] => {
                Row::of_texts(Some(user), [item, rating, time, ""], Vec::new())
            }
            [item, title, genres] => Row::of_texts(None, [item, "", "", title], cell::tags(genres)),
            _ => {
                let found = format!("{} cells separated by `::`", cells.len());
                let expected = "four (user, item, rating, time) or three (item, title, genres)";
                problems.push(Problem::byte(lines.number(), 1, found, expected))?;
                continue;
            }
        };
        let outcome = match row {
            Ok(row) => row.add(events, sink)?,
            Err(bad) => Err(bad),
        };
        if let Err((field, found, expected)) = outcome {
            let cell = if cells.len() == 3 {
                [0, 0, 0, 0, 1, 2]
            } else {
                [0, 1, 2, 3, 0, 0]
            }[field];
            let problem = Problem::field(lines.number(), cell + 1, "", found, expected);
            problems.push(problem)?;
        }
    }
    problems.finish()
}

fn is_utf8(path: &Path) -> Result<bool> {
    let io_error = |source| DataError::io(path, "read", source);
    let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
    let mut reader = BufReader::new(crate::unpack::Unpacked::new(file));
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = reader.read(&mut buffer).map_err(io_error)?;
        bytes.extend_from_slice(&buffer[..read]);
        match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.clear(),
            Err(error) if error.error_len().is_some() => return Ok(false),
            // A character that the next bytes complete.
            Err(error) => drop(bytes.drain(..error.valid_up_to())),
        }
        if read == 0 {
            return Ok(bytes.is_empty());
        }
    }
}
