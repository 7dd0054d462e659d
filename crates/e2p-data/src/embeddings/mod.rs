//! User embeddings by id, from the formats that people have.
//!
//! safetensors and npy files are mapped: opening reads the header and the ids, and a lookup touches
//! one row. Parquet and JSON Lines are read into memory.
//!
//! Ids and dimensions are checked when a file is opened. Whether the numbers are finite is checked
//! row by row at [`UserEmbeddings::get`] and over the whole file by [`UserEmbeddings::validate`],
//! because looking at every number of a mapped file would read all of it.

mod align;
mod index;
mod mapped;
mod read;
mod statistics;
mod table;
mod write;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use crate::error::{DataError, Result};
use index::IdIndex;
use mapped::Bytes;

pub use align::{
    AlignMethod, AlignReport, Aligner, alignment_error, held_out_users, users_in_common,
};
pub use statistics::EmbeddingStatistics;

/// Name of the tensor in a safetensors file.
pub const TENSOR_NAME: &str = "embeddings";

/// How a row's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// 64-bit IEEE numbers, read as 32-bit ones.
    F64,
    /// 32-bit IEEE numbers.
    F32,
    /// 16-bit IEEE numbers.
    F16,
    /// The upper half of 32-bit IEEE numbers.
    Bf16,
}

impl ElementType {
    const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// One row of numbers per user.
#[derive(Debug)]
pub struct UserEmbeddings {
    path: PathBuf,
    index: IdIndex,
    bytes: Bytes,
    /// Where the first row begins in `bytes`.
    start: usize,
    dim: usize,
    element: ElementType,
    space: String,
}

impl UserEmbeddings {
    /// Opens `path`; its extension says what it is.
    ///
    /// `.safetensors` (tensor `embeddings`, `[n, dim]`) and `.npy` need their ids beside them in
    /// `<stem>.ids.txt`, one a line in row order. `.parquet` has columns `user` and `embedding`;
    /// `.jsonl` lines are `{"user": …, "embedding": […]}`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        read::open(path.as_ref())
    }

    /// Writes a safetensors file of 32-bit numbers and its `<stem>.ids.txt`, taking the rows one by
    /// one.
    ///
    /// Neither file appears unless every row has the same dimension, is finite and belongs to a new
    /// id. `metadata` goes into the file's header.
    pub fn write<I: AsRef<str>, R: AsRef<[f32]>>(
        path: impl AsRef<Path>,
        ids: &[I],
        rows: impl IntoIterator<Item = R>,
        metadata: &[(&str, &str)],
    ) -> Result<()> {
        write::write(path.as_ref(), ids, rows, metadata)
    }

    /// The file with the ids of `path`: `<stem>.ids.txt` beside it.
    pub fn ids_path(path: &Path) -> PathBuf {
        path.with_extension("ids.txt")
    }

    /// The file this was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the space that the embeddings are of: what the header of a safetensors file says
    /// under `space`, or the file's stem.
    ///
    /// Numbers of two spaces mean different things even where there are equally many.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// Numbers per user.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the numbers are stored.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// The ids in row order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|row| self.index.id(row))
    }

    /// Whether `user` has an embedding.
    pub fn contains(&self, user: &str) -> bool {
        self.index.row(user).is_some()
    }

    /// The embedding of `user`.
    ///
    /// For many users in any order; [`row`](Self::row) is the better way through all of them.
    pub fn get(&self, user: &str) -> Result<Cow<'_, [f32]>> {
        let Some(row) = self.index.row(user) else {
            return Err(DataError::UnknownUser {
                user: user.to_owned(),
                known: self.len(),
                file: self.path.clone(),
            });
        };
        let size = self.dim * self.element.size();
        let values = match &self.bytes {
            Bytes::Owned(_) => self.unchecked_row(row),
            Bytes::Mapped(..) => {
                let bytes = self.bytes.copy_range(self.start + row * size, size);
                let bytes = bytes.map_err(|source| DataError::io(&self.path, "read", source))?;
                Cow::Owned(self.element.decode(&bytes))
            }
        };
        self.finite(row, values)
    }

    /// The embedding in a row, counted from zero; borrowed from the mapped file where it holds
    /// 32-bit numbers.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> Result<Cow<'_, [f32]>> {
        self.finite(row, self.unchecked_row(row))
    }

    fn finite<'a>(&self, row: usize, values: Cow<'a, [f32]>) -> Result<Cow<'a, [f32]>> {
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(DataError::Embeddings {
                file: self.path.clone(),
                row: Some(row as u64 + 1),
                found: format!(
                    "{} at position {} of user `{}`",
                    values[at],
                    at + 1,
                    self.index.id(row)
                ),
                expected: "finite numbers".to_owned(),
            }),
        }
    }

    /// Looks at every number and returns the first error.
    pub fn validate(&self) -> Result<()> {
        (0..self.len()).try_for_each(|row| self.row(row).map(drop))
    }

    /// Mean and standard deviation of every dimension over all users.
    pub fn statistics(&self) -> Result<EmbeddingStatistics> {
        statistics::over_rows(self, 0..self.len())
    }

    /// Mean and standard deviation of every dimension over `users`, such as those of the training
    /// split.
    pub fn statistics_of<'a>(
        &self,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Result<EmbeddingStatistics> {
        let mut rows = Vec::new();
        for user in users {
            match self.index.row(user) {
                Some(row) => rows.push(row),
                None => {
                    return Err(self
                        .get(user)
                        .expect_err("the id was just looked for in vain"));
                }
            }
        }
        statistics::over_rows(self, rows)
    }

    fn unchecked_row(&self, row: usize) -> Cow<'_, [f32]> {
        assert!(row < self.len(), "row {row} of {}", self.len());
        let size = self.dim * self.element.size();
        let bytes = &self.bytes[self.start + row * size..][..size];
        // Borrowing needs the machine's own byte order and an aligned row; a file that offers
        // neither is still read.
        let native = self.element == ElementType::F32 && cfg!(target_endian = "little");
        if native && let Ok(values) = bytemuck::try_cast_slice(bytes) {
            return Cow::Borrowed(values);
        }
        Cow::Owned(self.element.decode(bytes))
    }
}

impl ElementType {
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| f64::from_le_bytes(b) as f32)
                .collect(),
            Self::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect(),
            Self::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| f16::from_le_bytes(b).to_f32())
                .collect(),
            Self::Bf16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| bf16::from_le_bytes(b).to_f32())
                .collect(),
        }
    }
}
