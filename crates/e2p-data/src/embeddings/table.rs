//! Embeddings from the formats with one record per user, which are read into memory.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde::Deserialize;

use super::index::IdIndex;
use super::mapped::Bytes;
use super::read::{bad_ids, stem};
use super::{ElementType, UserEmbeddings};
use crate::error::{DataError, Result};
use crate::json_lines::JsonLines;

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

    fn push(&mut self, user: &str, values: impl ExactSizeIterator<Item = f32>) -> Result<()> {
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
        for (at, value) in values.enumerate() {
            if !value.is_finite() {
                let found = format!("{value} at position {} of user `{user}`", at + 1);
                return Err(self.refuse(self.rows, found, "finite numbers"));
            }
            self.values.extend_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn finish(self) -> Result<UserEmbeddings> {
        let index = IdIndex::new(Bytes::Owned(self.ids)).map_err(|bad| bad_ids(self.path, bad))?;
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

#[derive(Deserialize)]
struct Record {
    #[serde(deserialize_with = "crate::id::id_text")]
    user: String,
    /// JSON has no NaN; those who write one anyway write `null` or a bare `NaN`, and the latter is no JSON.
    embedding: Vec<Option<f32>>,
}

pub(super) fn open_json_lines(path: &Path) -> Result<UserEmbeddings> {
    let mut table = Table::new(path);
    for record in JsonLines::<Record>::open(path, None, |_| None)? {
        let record = record?;
        table.push(
            &record.user,
            record
                .embedding
                .into_iter()
                .map(|value| value.unwrap_or(f32::NAN)),
        )?;
    }
    table.finish()
}

pub(super) fn open_parquet(path: &Path) -> Result<UserEmbeddings> {
    let mut table = Table::new(path);
    let refuse = |row: Option<u64>, found: String, expected: &str| DataError::Embeddings {
        file: path.to_owned(),
        row,
        found,
        expected: expected.to_owned(),
    };
    let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
    let not_parquet = |error: parquet::errors::ParquetError| {
        refuse(None, error.to_string(), "a complete parquet file")
    };
    let reader = SerializedFileReader::new(file).map_err(not_parquet)?;
    let fields = reader.metadata().file_metadata().schema().get_fields();
    let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let column = |name: &str| {
        names.iter().position(|other| other == name).ok_or_else(|| {
            refuse(
                None,
                format!("columns `{}`", names.join("`, `")),
                "columns `user` and `embedding`",
            )
        })
    };
    let (user, embedding) = (column("user")?, column("embedding")?);
    for row in reader.get_row_iter(None).map_err(not_parquet)? {
        let row = row.map_err(not_parquet)?;
        let number = table.rows + 1;
        let id = user_id(&row, user).ok_or_else(|| {
            refuse(
                Some(number),
                "no text or whole number in `user`".into(),
                "a user id",
            )
        })?;
        let values = numbers(&row, embedding).ok_or_else(|| {
            refuse(
                Some(number),
                "no list of numbers in `embedding`".into(),
                "a list of numbers",
            )
        })?;
        table.push(&id, values.into_iter())?;
    }
    table.finish()
}

fn user_id(row: &Row, column: usize) -> Option<String> {
    match row.get_column_iter().nth(column)?.1 {
        Field::Str(id) => Some(id.clone()),
        Field::Bytes(id) => id.as_utf8().ok().map(str::to_owned),
        Field::Int(id) => Some(id.to_string()),
        Field::Long(id) => Some(id.to_string()),
        _ => None,
    }
}

fn numbers(row: &Row, column: usize) -> Option<Vec<f32>> {
    let Field::ListInternal(list) = row.get_column_iter().nth(column)?.1 else {
        return None;
    };
    list.elements()
        .iter()
        .map(|element| match element {
            Field::Float(value) => Some(*value),
            Field::Double(value) => Some(*value as f32),
            Field::Float16(value) => Some(value.to_f32()),
            Field::Null => Some(f32::NAN),
            _ => None,
        })
        .collect()
}
