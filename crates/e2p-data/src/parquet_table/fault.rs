//! Why a table cannot be read.

use parquet::errors::ParquetError;

use crate::error::Problem;

/// What reading gives.
pub(super) type Outcome<T> = Result<T, TableFault>;

/// Why a table cannot be read, or a row of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableFault {
    /// The row, counted from one, where a single row is at fault.
    pub(crate) row: Option<u64>,
    /// The column, where a single one is at fault.
    pub(crate) column: Option<String>,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl TableFault {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            row: None,
            column: None,
            found: found.into(),
            expected: expected.into(),
        }
    }

    pub(super) fn of(error: &ParquetError) -> Self {
        let message = error.to_string();
        let message = message.strip_prefix("Parquet error: ").unwrap_or(&message);
        let message = message.strip_prefix("External: ").unwrap_or(message);
        Self::new(format!("damaged data ({message})"), COMPLETE)
    }

    pub(super) fn in_column(self, name: &str) -> Self {
        Self {
            column: self.column.or_else(|| Some(name.to_owned())),
            ..self
        }
    }

    /// As a problem of an input file.
    pub(crate) fn problem(self) -> Problem {
        let Self {
            row,
            column,
            found,
            expected,
        } = self;
        Problem::cell(
            row.unwrap_or_default(),
            column.as_deref().unwrap_or_default(),
            found,
            expected,
        )
    }
}

pub(super) const COMPLETE: &str = "a complete Parquet file";
