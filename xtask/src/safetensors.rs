//! A safetensors file as plain values, just enough to compare two of them.
//!
//! The format: eight bytes of header length, little endian; a JSON object of `{"name": {dtype,
//! shape, data_offsets}}`; the data. The crate of that name would be one more dependency before
//! anything is checked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One tensor: element type, shape and raw little-endian bytes.
#[derive(PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// The values of an f32 tensor.
    pub(crate) fn to_f32(&self) -> Vec<f32> {
        self.bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }
}

/// All tensors of a file by name.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is not a safetensors file", path.display()))
}

/// All tensors of a file's bytes by name.
pub(crate) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .context("shorter than its length field")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    ensure!(
        length <= rest.len(),
        "header of {length} bytes in {} bytes",
        rest.len()
    );
    let (header, data) = rest.split_at(length);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
    {
        let numbers = |key: &str| -> Option<Vec<u64>> {
            entry[key].as_array()?.iter().map(Value::as_u64).collect()
        };
        let shape = numbers("shape").with_context(|| format!("`{name}` has no shape"))?;
        let range = numbers("data_offsets")
            .filter(|r| r.len() == 2)
            .with_context(|| format!("`{name}` has no range"))?;
        let range = usize::try_from(range[0])?..usize::try_from(range[1])?;
        let bytes = data
            .get(range)
            .with_context(|| format!("`{name}` lies outside the file"))?
            .to_vec();
        let dtype = entry["dtype"].as_str().unwrap_or_default().to_owned();
        tensors.insert(
            name,
            Tensor {
                dtype,
                shape,
                bytes,
            },
        );
    }
    Ok(tensors)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Tensor, parse};

    pub(crate) fn file_with(name: &str, values: &[f32]) -> Vec<u8> {
        let header = format!(
            r#"{{"{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
            values.len(),
            4 * values.len()
        );
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        file
    }

    #[test]
    fn values_and_shape_are_read() {
        let tensors = parse(&file_with("a", &[1.5, -2.0])).unwrap();
        let Tensor { shape, dtype, .. } = &tensors["a"];
        assert_eq!((dtype.as_str(), shape.as_slice()), ("F32", &[2][..]));
        assert_eq!(tensors["a"].to_f32(), [1.5, -2.0]);
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let file = file_with("a", &[1.0]);
        for length in 0..file.len() {
            assert!(
                parse(&file[..length]).is_err(),
                "{length} of {} bytes were accepted",
                file.len()
            );
        }
    }
}
