//! Parquet, row by row: the columns that are asked for, each value with its type.
//!
//! The reader below is another project's. What a file says of its own sizes is checked before
//! memory is asked for, and a panic of the reader becomes an error of this crate, in one place.

mod boundary;
mod column;
mod fault;
mod file;
mod kind;
mod shape;

use std::fs;
use std::path::{Path, PathBuf};

use parquet::basic::Compression;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::cell::Cell;
use crate::error::{DataError, Result};
use column::{Column, ROWS};
use fault::{COMPLETE, Outcome};
use file::CheckedFile;
use shape::Shape;

pub use boundary::is_catching_panics;
pub(crate) use column::Reading;
pub(crate) use fault::TableFault;

const CODECS: &str = "Snappy, gzip, zstd, LZ4 or no compression (write the file again, in pandas \
                      with `to_parquet(path, compression=\"zstd\")`)";

/// An open file.
pub(crate) struct ParquetTable {
    reader: SerializedFileReader<CheckedFile>,
    names: Vec<String>,
    reading: Reading,
}

impl ParquetTable {
    /// Reads the description at the end of the file.
    pub(crate) fn open(path: &Path, reading: Reading) -> Result<Outcome<Self>> {
        let file = CheckedFile::open(path)?;
        Ok(boundary::catch(|| {
            let reader = SerializedFileReader::new(file).map_err(|error| TableFault::of(&error))?;
            let schema = reader.metadata().file_metadata().schema();
            let fields = schema.get_fields().iter();
            Ok(Self {
                names: fields.map(|field| field.name().to_owned()).collect(),
                reader,
                reading,
            })
        }))
    }

    /// Names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Gives the number of each row, counted from one, and its cells of the columns `wanted`, by
    /// their positions in [`names`](Self::names), to `take`.
    ///
    /// The outer error is that of `take`.
    pub(crate) fn rows<E>(
        &self,
        wanted: &[usize],
        mut take: impl FnMut(u64, Vec<Cell>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Outcome<()>, E> {
        let mut row = 0;
        for group in 0..self.reader.metadata().num_row_groups() {
            let mut columns = match boundary::catch(|| self.columns(group, wanted)) {
                Ok(columns) => columns,
                Err(fault) => return Ok(Err(fault)),
            };
            loop {
                let rows = match boundary::catch(|| next_rows(&mut columns)) {
                    Ok(rows) if rows.is_empty() => break,
                    Ok(rows) => rows,
                    Err(fault) => {
                        let row = fault.row.map(|within| row + within);
                        return Ok(Err(TableFault { row, ..fault }));
                    }
                };
                for cells in rows {
                    row += 1;
                    take(row, cells)?;
                }
            }
        }
        Ok(Ok(()))
    }

    fn columns(&self, group: usize, wanted: &[usize]) -> Outcome<Vec<Column>> {
        let rows = self
            .reader
            .get_row_group(group)
            .map_err(|error| TableFault::of(&error))?;
        let columns = wanted.iter().map(|&field| {
            let name = &self.names[field];
            self.column(&*rows, field)
                .map_err(|fault| fault.in_column(name))
        });
        columns.collect()
    }

    fn column(&self, group: &dyn RowGroupReader, field: usize) -> Outcome<Column> {
        let metadata = group.metadata();
        let shape = Shape::of(metadata.schema_descr(), field)?;
        for &leaf in shape.leaves() {
            let chunk = metadata.column(leaf);
            let codec = match chunk.compression() {
                Compression::BROTLI(_) => "Brotli",
                Compression::LZO => "LZO",
                _ => continue,
            };
            return Err(TableFault::new(format!("compression with {codec}"), CODECS));
        }
        Column::open(group, shape, &self.names[field], self.reading)
    }
}

/// The next rows of all columns; none at the end.
fn next_rows(columns: &mut [Column]) -> Outcome<Vec<Vec<Cell>>> {
    let together = columns.iter().map(Column::rows_together).min();
    let count = together.unwrap_or(ROWS).min(ROWS);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (at, column) in columns.iter_mut().enumerate() {
        let name = column.name().to_owned();
        let cells = column.next(count).map_err(|fault| fault.in_column(&name))?;
        if at == 0 {
            rows.resize_with(cells.len(), Vec::new);
        } else if rows.len() != cells.len() {
            let fault = TableFault::new("fewer values than in the columns before", COMPLETE);
            return Err(fault.in_column(&name));
        }
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }
    Ok(rows)
}

/// The files of a table: the file itself, or those of a directory as Spark and others write one.
pub(crate) fn parts(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io_error = |source| DataError::io(path, "read", source);
    let mut parts = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error)? {
        let part = entry.map_err(io_error)?.path();
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        let is_part = !name.starts_with(['_', '.']);
        if is_part && (part.is_dir() || name.ends_with(".parquet")) {
            parts.push(part);
        }
    }
    parts.sort();
    let bad = |path: &Path, expected| DataError::UnknownInput {
        path: path.to_owned(),
        task: "Parquet",
        expected,
    };
    if let Some(directory) = parts.iter().find(|part| part.is_dir()) {
        let expected = "a directory of `.parquet` files alone (one that is split by the values of \
                        a column has to be written as one table first)";
        return Err(bad(directory, expected));
    }
    if parts.is_empty() {
        return Err(bad(path, "a directory with `.parquet` files"));
    }
    Ok(parts)
}

/// The same for a list of inputs, where a directory that is no table is refused when it is read.
pub(crate) fn files_of(path: &Path) -> Vec<PathBuf> {
    parts(path).unwrap_or_else(|_| vec![path.to_owned()])
}
