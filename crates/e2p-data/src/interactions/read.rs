//! Event and item files: which format a file has, JSON Lines, and Parquet.

use std::path::Path;

use super::delimited;
use super::events::Events;
use super::options::{Columns, TASK};
use super::row::{ITEM, Row, TEXT, USER, names};
use crate::cell::Cell;
use crate::error::{DataError, Problem, Result};
use crate::json_lines::{field_problem, members};
use crate::lines::{Encoding, Problems};
use crate::parquet_table::{ParquetTable, Reading, parts};
use crate::sink::Sink;
use crate::unpack::extension;

pub(super) fn read(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    match extension(path).as_deref() {
        Some("csv") => delimited::read(path, b',', columns, events, sink),
        Some("dat") if delimited::has_double_colons(path)? => {
            delimited::read_movielens(path, events, sink)
        }
        Some("tsv" | "dat" | "txt" | "inter" | "item") => {
            delimited::read(path, b'\t', columns, events, sink)
        }
        Some("jsonl" | "ndjson") => read_json_lines(path, columns, events, sink),
        Some("parquet") => read_parquet(path, columns, events, sink),
        _ => Err(DataError::UnknownInput {
            path: path.to_owned(),
            task: TASK,
            expected: "a `.csv`, `.tsv`, `.jsonl` or `.parquet` file of events (text also packed as `.gz` or `.zst`), or the directory of Last.fm HetRec 2011",
        }),
    }
}

fn read_json_lines(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let mut lines = sink.lines(path, Encoding::Utf8)?;
    let names = names(columns);
    while lines.advance(&mut problems)? {
        if lines.text().trim().is_empty() {
            continue;
        }
        let (text, number) = (lines.text(), lines.number());
        let (cells, describes) = match members(text, number, lines.is_cut_off()) {
            Ok(object) => (
                names.map(|name| object.cell(name)),
                object.get(names[USER]).is_none(),
            ),
            Err(problem) => {
                problems.push(problem)?;
                continue;
            }
        };
        let outcome = match Row::of_cells(&cells, describes) {
            Ok(row) => row.add(events, sink)?,
            Err(bad) => Err(bad),
        };
        if let Err((column, found, expected)) = outcome {
            problems.push(field_problem(text, number, names[column], &found, expected))?;
        }
    }
    problems.finish()
}

/// A file, or a directory of several as Spark writes one.
fn read_parquet(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    for part in parts(path)? {
        read_parquet_file(&part, columns, events, sink)?;
    }
    Ok(())
}

fn read_parquet_file(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let names = names(columns);
    let reading = Reading {
        max_bytes: sink.max_line_bytes(),
        vectors: false,
    };
    sink.begin(path);
    let table = match ParquetTable::open(path, reading)? {
        Ok(table) => table,
        Err(fault) => return Err(problems.fatal(fault.problem())),
    };
    let at = names.map(|name| table.names().iter().position(|found| found == name));
    // A file of items has names; one without either is an event file whose column is called
    // otherwise.
    let describes = at[USER].is_none() && at[TEXT].is_some();
    let needed = if describes { TEXT } else { USER };
    for needed in [ITEM, needed] {
        if at[needed].is_none() {
            let found = format!("columns `{}`", table.names().join("`, `"));
            let expected = format!("a column `{}`", names[needed]);
            return Err(problems.fatal(Problem::cell(0, "", found, expected)));
        }
    }
    // Only the columns that are used are decoded.
    let wanted: Vec<usize> = at.iter().flatten().copied().collect();
    let outcome = table.rows(&wanted, |row, found| {
        let mut cells = [const { Cell::Missing }; 6];
        let mut found = found.into_iter();
        for (cell, _) in cells.iter_mut().zip(at).filter(|(_, at)| at.is_some()) {
            *cell = found.next().unwrap_or(Cell::Missing);
        }
        let outcome = match Row::of_cells(&cells, describes) {
            Ok(row) => row.add(events, sink)?,
            Err(bad) => Err(bad),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err((column, found, expected)) => {
                problems.push(Problem::cell(row, names[column], found, expected))
            }
        }
    })?;
    if let Err(fault) = outcome {
        return Err(problems.fatal(fault.problem()));
    }
    problems.finish()
}
