//! Writes embeddings as safetensors with their ids beside them, both or neither.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::index::IdIndex;
use super::{TENSOR_NAME, UserEmbeddings};
use crate::error::{DataError, Result};

pub(super) fn write<I: AsRef<str>, R: AsRef<[f32]>>(
    path: &Path,
    ids: &[I],
    rows: impl IntoIterator<Item = R>,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let bad = |row: Option<usize>, found: String, expected: &str| DataError::Embeddings {
        file: path.to_owned(),
        row: row.map(|row| row as u64 + 1),
        found,
        expected: expected.to_owned(),
    };
    IdIndex::from_ids(ids.iter().map(AsRef::as_ref)).map_err(|ids| DataError::Embeddings {
        file: path.to_owned(),
        row: ids.row,
        found: ids.found,
        expected: ids.expected.to_owned(),
    })?;
    let mut rows = rows.into_iter().peekable();
    let dim = rows.peek().map_or(0, |row| row.as_ref().len());
    if dim == 0 {
        return Err(bad(
            None,
            "no numbers".into(),
            "at least one row of at least one number",
        ));
    }
    let write_error = |source: io::Error| DataError::io(path, "write", source);

    let mut out = temporary(path)?;
    {
        let mut buffer = BufWriter::with_capacity(1 << 18, out.as_file_mut());
        buffer
            .write_all(&header(ids.len(), dim, metadata))
            .map_err(write_error)?;
        let mut written = 0;
        for row in rows {
            let row = row.as_ref();
            if row.len() != dim {
                return Err(bad(
                    Some(written),
                    format!("{} numbers", row.len()),
                    &format!("{dim} as in row 1"),
                ));
            }
            if let Some(value) = row.iter().find(|value| !value.is_finite()) {
                return Err(bad(Some(written), value.to_string(), "finite numbers"));
            }
            if cfg!(target_endian = "little") {
                buffer
                    .write_all(bytemuck::cast_slice(row))
                    .map_err(write_error)?;
            } else {
                for value in row {
                    buffer
                        .write_all(&value.to_le_bytes())
                        .map_err(write_error)?;
                }
            }
            written += 1;
        }
        if written != ids.len() {
            return Err(bad(
                None,
                format!("{written} rows"),
                &format!("{} as there are ids", ids.len()),
            ));
        }
        buffer.flush().map_err(write_error)?;
    }

    let ids_path = UserEmbeddings::ids_path(path);
    let mut ids_out = temporary(&ids_path)?;
    {
        let mut buffer = BufWriter::new(ids_out.as_file_mut());
        for id in ids {
            writeln!(buffer, "{}", id.as_ref())
                .map_err(|source| DataError::io(&ids_path, "write", source))?;
        }
        buffer
            .flush()
            .map_err(|source| DataError::io(&ids_path, "write", source))?;
    }
    // The ids come first: an embedding file without ids would be the more confusing half.
    persist(ids_out, &ids_path)?;
    persist(out, path)
}

fn header(rows: usize, dim: usize, metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut json = serde_json::json!({
        TENSOR_NAME: { "dtype": "F32", "shape": [rows, dim], "data_offsets": [0, rows * dim * 4] }
    });
    if !metadata.is_empty() {
        let metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        json["__metadata__"] = serde_json::Value::Object(metadata);
    }
    let mut json = json.to_string().into_bytes();
    // Rows then start at a multiple of eight bytes, so that readers can borrow them.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

fn temporary(path: &Path) -> Result<NamedTempFile> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(|source| DataError::io(&parent, "create", source))?;
    NamedTempFile::new_in(&parent).map_err(|source| DataError::io(&parent, "write into", source))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    make_readable(file.as_file());
    file.persist(path)
        .map(drop)
        .map_err(|error| DataError::io(path, "create", error.error))
}

/// Temporary files are private to their owner; the result should have the usual permissions.
#[cfg(unix)]
fn make_readable(file: &File) {
    use std::os::unix::fs::PermissionsExt;
    // Failing here leaves a private file, which is no reason to lose the work.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn make_readable(_file: &File) {}
