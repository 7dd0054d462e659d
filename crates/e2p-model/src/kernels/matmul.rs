//! Products with a frozen matrix `[d_out, d_in]`, whatever the data type that it is stored in.

use burn::tensor::Tensor;

#[cfg(target_arch = "x86_64")]
use super::arithmetic::InPairs;
use super::arithmetic::{Arithmetic, InF32};
use super::few_rows::{FEW, few_rows};
use super::flex::{Weights, make, read, read_weights};
#[cfg(target_arch = "x86_64")]
use super::int8::Vnni;
use super::matrix::{Matrix, Side};
use super::product::product;
use super::rows::for_rows;
use super::stored::{Code, Stored, are_words};
use crate::int8::Int8;
use crate::precision::MatmulPrecision;

/// `x W^T + b`: `[rows, d_in]` to `[rows, d_out]`.
pub(crate) fn matmul_transposed(
    x: Tensor<2>,
    weights: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    let (n_rows, [d_out, d_in]) = (x.dims()[0], weights.dims());
    let (x, weights) = (read(x), read_weights(weights.clone()));
    let bias = bias.cloned().map(read);
    make([n_rows, d_out], |y| match weights.values() {
        Weights::F32(values) => forward(&x, plain(values, d_in), y, bias.as_deref(), precision),
        Weights::F16(values) => forward(&x, plain(values, d_in), y, bias.as_deref(), precision),
        Weights::BF16(values) => forward(&x, plain(values, d_in), y, bias.as_deref(), precision),
    })
}

/// [`matmul_transposed`] for a matrix in 8 bits.
pub(crate) fn matmul_int8_transposed(
    x: Tensor<2>,
    weights: &Int8,
    bias: Option<&Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    let n_rows = x.dims()[0];
    let x = read(x);
    let bias = bias.cloned().map(read);
    make([n_rows, weights.scales.len()], |y| {
        #[cfg(target_arch = "x86_64")]
        if n_rows <= FEW
            && let Some(vnni) = Vnni::try_new(weights.d_in)
        {
            super::int8::few_rows(vnni, &x, weights, y);
            return add(bias.as_deref(), y);
        }
        forward(&x, codes(weights), y, bias.as_deref(), precision);
    })
}

/// A matrix without factors.
fn plain<T>(values: &[T], d_in: usize) -> Matrix<'_, T> {
    Matrix {
        values,
        scales: None,
        d_in,
        side: Side::Transposed,
    }
}

fn codes(weights: &Int8) -> Matrix<'_, Code> {
    Matrix {
        scales: Some(&weights.scales),
        ..plain(bytemuck::cast_slice(&weights.codes), weights.d_in)
    }
}

fn forward<T: Stored>(
    x: &[f32],
    matrix: Matrix<'_, T>,
    y: &mut [f32],
    bias: Option<&[f32]>,
    precision: MatmulPrecision,
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(in_pairs) = pairs(precision) {
        forward_in(in_pairs, x, matrix, y);
    } else {
        forward_in(InF32::new(), x, matrix, y);
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = precision; // Other processors have no pairs here.
        forward_in(InF32::new(), x, matrix, y);
    }
    add(bias, y);
}

/// Adds `bias` to every row.
fn add(bias: Option<&[f32]>, y: &mut [f32]) {
    if let Some(bias) = bias {
        for_rows(y, bias.len(), |_, rows| {
            for y in rows.chunks_exact_mut(bias.len()) {
                for (y, bias) in y.iter_mut().zip(bias) {
                    *y += bias;
                }
            }
        });
    }
}

fn forward_in<A: Arithmetic, T: Stored>(
    arithmetic: A,
    x: &[f32],
    matrix: Matrix<'_, T>,
    y: &mut [f32],
) {
    let n_rows = x.len() / matrix.d_in;
    if n_rows <= FEW && are_words(matrix.values, matrix.d_in) {
        few_rows(arithmetic, x, matrix, y);
    } else {
        product(arithmetic, x, matrix, y, false);
    }
}

/// `x W + b`: `[rows, d_out]` to `[rows, d_in]`.
pub(crate) fn matmul(
    x: Tensor<2>,
    weights: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    let (n_rows, [_, d_in]) = (x.dims()[0], weights.dims());
    let (x, weights) = (read(x), read_weights(weights.clone()));
    let bias = bias.cloned().map(read);
    make([n_rows, d_in], |y| {
        if let Some(bias) = &bias {
            for_rows(y, d_in, |_, rows| {
                for row in rows.chunks_exact_mut(d_in) {
                    row.copy_from_slice(bias);
                }
            });
        }
        let adds = bias.is_some();
        match weights.values() {
            Weights::F32(values) => backward(&x, plain(values, d_in), y, adds, precision),
            Weights::F16(values) => backward(&x, plain(values, d_in), y, adds, precision),
            Weights::BF16(values) => backward(&x, plain(values, d_in), y, adds, precision),
        }
    })
}

/// `x W` for a matrix in 8 bits.
pub(crate) fn matmul_int8(x: Tensor<2>, weights: &Int8, precision: MatmulPrecision) -> Tensor<2> {
    let n_rows = x.dims()[0];
    let x = read(x);
    make([n_rows, weights.d_in], |y| {
        backward(&x, codes(weights), y, false, precision);
    })
}

fn backward<T: Stored>(
    x: &[f32],
    matrix: Matrix<'_, T>,
    y: &mut [f32],
    adds: bool,
    precision: MatmulPrecision,
) {
    let matrix = Matrix {
        side: Side::Plain,
        ..matrix
    };
    #[cfg(target_arch = "x86_64")]
    if let Some(in_pairs) = pairs(precision) {
        return product(in_pairs, x, matrix, y, adds);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = precision;
    product(InF32::new(), x, matrix, y, adds);
}

/// Products of pairs, where they are allowed and the CPU has them.
#[cfg(target_arch = "x86_64")]
fn pairs(precision: MatmulPrecision) -> Option<InPairs> {
    match precision {
        MatmulPrecision::Highest => None,
        MatmulPrecision::Medium => InPairs::try_new(),
    }
}

/// Whether a few rows are multiplied with 8-bit weights in whole numbers, whatever the precision.
#[cfg(test)]
pub(crate) fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Vnni::try_new(1).is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether [`MatmulPrecision::Medium`] changes anything on this CPU.
pub(crate) fn has_pairs() -> bool {
    #[cfg(target_arch = "x86_64")]
    return InPairs::try_new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}
