//! Bytes on disk to values in the compute data type, checked for finiteness on the way.

use burn::tensor::{DType, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::checkpoint::Checkpoint;

/// Values converted at a time: small enough to stay in the first-level cache.
const BLOCK: usize = 4096;

/// Data types on disk that are read.
pub(super) fn is_supported(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// One stacked tensor in `dtype`: the parts one after the other, each given back to the system once
/// copied.
///
/// With `transpose = Some((rows, cols))` the stack is turned from `[rows, cols]` to `[cols, rows]`.
/// `Err` when a value is not finite on disk or not in `dtype`.
pub(super) fn stack(
    checkpoint: &Checkpoint,
    parts: &[(Dtype, &[u8])],
    shape: Vec<usize>,
    transpose: Option<(usize, usize)>,
    dtype: DType,
) -> Result<TensorData, NotFinite> {
    match dtype {
        DType::F16 => stack_as::<f16>(checkpoint, parts, transpose)
            .map(|values| TensorData::new(values, shape)),
        DType::BF16 => stack_as::<bf16>(checkpoint, parts, transpose)
            .map(|values| TensorData::new(values, shape)),
        _ => stack_as::<f32>(checkpoint, parts, transpose)
            .map(|values| TensorData::new(values, shape)),
    }
}

/// A NaN or an infinity where a weight should be.
#[derive(Debug)]
pub(super) struct NotFinite;

/// A data type that weights are kept in.
trait Value: Copy + Default {
    /// The largest finite value: an f32 weight may overflow f16.
    const LIMIT: f32;

    fn extend(out: &mut Vec<Self>, block: &[f32]);
}

impl Value for f32 {
    const LIMIT: f32 = Self::MAX;

    fn extend(out: &mut Vec<Self>, block: &[f32]) {
        out.extend_from_slice(block);
    }
}

impl Value for f16 {
    const LIMIT: f32 = Self::MAX.to_f32_const();

    fn extend(out: &mut Vec<Self>, block: &[f32]) {
        let start = out.len();
        out.resize(start + block.len(), Self::ZERO);
        out[start..].convert_from_f32_slice(block);
    }
}

impl Value for bf16 {
    const LIMIT: f32 = Self::MAX.to_f32_const();

    fn extend(out: &mut Vec<Self>, block: &[f32]) {
        let start = out.len();
        out.resize(start + block.len(), Self::ZERO);
        out[start..].convert_from_f32_slice(block);
    }
}

fn stack_as<T: Value>(
    checkpoint: &Checkpoint,
    parts: &[(Dtype, &[u8])],
    transpose: Option<(usize, usize)>,
) -> Result<Vec<T>, NotFinite> {
    let n_values =
        |dtype: Dtype, bytes: &[u8]| bytes.len() / if dtype == Dtype::F32 { 4 } else { 2 };
    let mut out = Vec::with_capacity(
        parts
            .iter()
            .map(|(dtype, bytes)| n_values(*dtype, bytes))
            .sum(),
    );
    let mut finite = true;
    for (dtype, bytes) in parts {
        for_each_block(*dtype, bytes, |block| {
            // NaN fails the comparison, and `&=` over a block has no branches.
            finite &= block
                .iter()
                .fold(true, |finite, value| finite & (value.abs() <= T::LIMIT));
            T::extend(&mut out, block);
        });
        checkpoint.release(bytes);
    }
    if !finite {
        return Err(NotFinite);
    }
    Ok(match transpose {
        None => out,
        Some((rows, cols)) => transposed(&out, rows, cols),
    })
}

/// Calls `f` with the values of `bytes`, a block at a time, as f32.
///
/// Tensor data need not be aligned in the file, so values are read as little-endian bytes.
fn for_each_block(dtype: Dtype, bytes: &[u8], mut f: impl FnMut(&[f32])) {
    let mut values = vec![0.0; BLOCK];
    match dtype {
        Dtype::F32 => {
            for chunk in bytes.chunks(4 * BLOCK) {
                for (value, bytes) in values.iter_mut().zip(chunk.as_chunks().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                f(&values[..chunk.len() / 4]);
            }
        }
        Dtype::F16 | Dtype::BF16 => {
            let mut bits = vec![0u16; BLOCK];
            for chunk in bytes.chunks(2 * BLOCK) {
                let n = chunk.len() / 2;
                for (bits, bytes) in bits.iter_mut().zip(chunk.as_chunks().0) {
                    *bits = u16::from_le_bytes(*bytes);
                }
                if dtype == Dtype::F16 {
                    bytemuck::cast_slice::<u16, f16>(&bits[..n])
                        .convert_to_f32_slice(&mut values[..n]);
                } else {
                    bytemuck::cast_slice::<u16, bf16>(&bits[..n])
                        .convert_to_f32_slice(&mut values[..n]);
                }
                f(&values[..n]);
            }
        }
        other => unreachable!("data type {other:?} is refused before conversion"),
    }
}

/// `[rows, cols]` to `[cols, rows]`, in tiles so that both sides stay in the cache.
fn transposed<T: Copy + Default>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    const TILE: usize = 32;
    let mut out = vec![T::default(); values.len()];
    for row_tile in (0..rows).step_by(TILE) {
        for col_tile in (0..cols).step_by(TILE) {
            for row in row_tile..(row_tile + TILE).min(rows) {
                for col in col_tile..(col_tile + TILE).min(cols) {
                    out[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        for_each_block(dtype, bytes, |block| out.extend_from_slice(block));
        out
    }

    #[test]
    fn halves_convert_exactly_across_block_borders() {
        let source: Vec<f32> = (0..2 * BLOCK + 7).map(|i| i as f32 / 4.0).collect();
        let f32_bytes: Vec<u8> = source.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read(Dtype::F32, &f32_bytes), source);
        let f16_bytes: Vec<u8> = source
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect();
        assert_eq!(
            read(Dtype::F16, &f16_bytes),
            source
                .iter()
                .map(|v| f16::from_f32(*v).to_f32())
                .collect::<Vec<_>>()
        );
        let bf16_bytes: Vec<u8> = source
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect();
        assert_eq!(
            read(Dtype::BF16, &bf16_bytes),
            source
                .iter()
                .map(|v| bf16::from_f32(*v).to_f32())
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn transposing_swaps_rows_and_columns() {
        assert_eq!(
            transposed(&[1., 2., 3., 4., 5., 6.], 2, 3),
            [1., 4., 2., 5., 3., 6.]
        );
        let large: Vec<usize> = (0..70 * 45).collect();
        assert_eq!(transposed(&transposed(&large, 70, 45), 45, 70), large);
    }
}
