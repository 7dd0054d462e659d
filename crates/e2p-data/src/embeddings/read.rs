//! Opens the mapped formats, safetensors and npy, and dispatches to the others.

use std::io::Cursor;
use std::path::Path;

use npyz::{DType, NpyHeader, Order};
use safetensors::{Dtype, SafeTensors};

use super::index::IdIndex;
use super::mapped::{Bytes, stem};
use super::{ElementType, TENSOR_NAME, UserEmbeddings, table};
use crate::error::{DataError, Result};
use crate::unpack::extension;

pub(super) fn open(path: &Path) -> Result<UserEmbeddings> {
    let is_packed = path
        .extension()
        .is_some_and(|end| end == "gz" || end == "zst");
    match extension(path).as_deref() {
        // Mapped files are read where they lie, so they cannot be packed.
        Some("safetensors") if !is_packed => mapped(path, safetensors_layout),
        Some("npy") if !is_packed => mapped(path, npy_layout),
        Some("parquet") if !is_packed => table::open_parquet(path),
        Some("jsonl" | "ndjson") => table::open_json_lines(path),
        _ => Err(DataError::UnknownInput {
            path: path.to_owned(),
            task: "user embeddings",
            expected: "a `.safetensors`, `.npy`, `.parquet` or `.jsonl` file (of these only `.jsonl` can be packed, as `.gz` or `.zst`)",
        }),
    }
}

/// Where the rows are in the bytes of a file.
struct Layout {
    start: usize,
    rows: usize,
    dim: usize,
    element: ElementType,
    /// What the header says.
    space: Option<String>,
}

/// What was found and what was expected.
type Refusal = (String, String);

fn mapped(
    path: &Path,
    layout: fn(&[u8]) -> std::result::Result<Layout, Refusal>,
) -> Result<UserEmbeddings> {
    let refuse = |found: String, expected: String| DataError::Embeddings {
        file: path.to_owned(),
        row: None,
        found,
        expected,
    };
    let bytes = Bytes::map(path)?;
    let Layout {
        start,
        rows,
        dim,
        element,
        space,
    } = layout(&bytes).map_err(|(found, expected)| refuse(found, expected))?;
    if dim == 0 {
        return Err(refuse(
            "rows of no numbers".into(),
            "at least one number a row".into(),
        ));
    }
    let needed = dim
        .checked_mul(element.size())
        .and_then(|row| row.checked_mul(rows))
        .and_then(|size| size.checked_add(start));
    if needed.is_none_or(|needed| needed > bytes.len()) {
        let found = format!("{} bytes", bytes.len());
        return Err(refuse(
            found,
            format!("{rows} rows of {dim} numbers (the file seems to be cut off)"),
        ));
    }

    let ids_path = UserEmbeddings::ids_path(path);
    let index = IdIndex::new(Bytes::map(&ids_path)?).map_err(|bad| bad.of(&ids_path))?;
    if index.len() != rows {
        return Err(DataError::Embeddings {
            file: ids_path,
            row: None,
            found: format!("{} ids", index.len()),
            expected: format!("{rows}, one for each row of `{}`", path.display()),
        });
    }
    Ok(UserEmbeddings {
        path: path.to_owned(),
        index,
        bytes,
        start,
        dim,
        element,
        space: space.unwrap_or_else(|| stem(path)),
    })
}

fn safetensors_layout(bytes: &[u8]) -> std::result::Result<Layout, Refusal> {
    let file = SafeTensors::deserialize(bytes).map_err(|_| {
        let found = "a header that does not fit the file".to_owned();
        (found, "a complete safetensors file".to_owned())
    })?;
    let expected = format!("a tensor `{TENSOR_NAME}` of shape [users, dim]");
    let tensor = file.tensor(TENSOR_NAME).map_err(|_| {
        let mut names: Vec<String> = file
            .names()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        names.sort();
        (format!("tensors {}", names.join(", ")), expected.clone())
    })?;
    let &[rows, dim] = tensor.shape() else {
        return Err((format!("shape {:?}", tensor.shape()), expected));
    };
    let element = match tensor.dtype() {
        Dtype::F64 => ElementType::F64,
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        other => {
            return Err((
                format!("{other:?} numbers"),
                "F32, F16, BF16 or F64 numbers".to_owned(),
            ));
        }
    };
    let start = tensor.data().as_ptr() as usize - bytes.as_ptr() as usize;
    let (_, header) = SafeTensors::read_metadata(bytes).expect("the same header as above");
    let space = header
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get("space"));
    Ok(Layout {
        start,
        rows,
        dim,
        element,
        space: space.filter(|name| !name.is_empty()).cloned(),
    })
}

fn npy_layout(bytes: &[u8]) -> std::result::Result<Layout, Refusal> {
    let expected = || "a two-dimensional array in C order of `<f4`, `<f2` or `<f8`".to_owned();
    // An array of Python objects has no numbers to map, only what Python would run to make them.
    let header = &bytes[..bytes.len().min(256)];
    let objects = ["'|O'", "'O'", "\"|O\""];
    if let Ok(text) = std::str::from_utf8(&header[header.len().min(10)..])
        .or_else(|error| std::str::from_utf8(&header[10..10 + error.valid_up_to()]))
        && objects.iter().any(|object| text.contains(object))
    {
        let found = "an array of Python objects".to_owned();
        let hint = "(`numpy.stack(array).astype(\"float32\")` makes one of a list of rows)";
        return Err((found, format!("{} {hint}", expected())));
    }
    let mut cursor = Cursor::new(bytes);
    let header = NpyHeader::from_reader(&mut cursor).map_err(|_| {
        let found = "a header that cannot be read".to_owned();
        (found, "a complete npy file".to_owned())
    })?;
    let &[rows, dim] = header.shape() else {
        return Err((format!("shape {:?}", header.shape()), expected()));
    };
    if header.order() != Order::C {
        return Err(("an array in Fortran order".to_owned(), expected()));
    }
    let DType::Plain(kind) = header.dtype() else {
        return Err(("an array of records".to_owned(), expected()));
    };
    let element = match kind.to_string().as_str() {
        "<f8" => ElementType::F64,
        "<f4" => ElementType::F32,
        "<f2" => ElementType::F16,
        other => return Err((format!("numbers of type `{other}`"), expected())),
    };
    Ok(Layout {
        start: cursor.position() as usize,
        rows: rows as usize,
        dim: dim as usize,
        element,
        space: None,
    })
}
