//! Products with a frozen matrix `[d_out, d_in]`, whatever the data type that it is stored in.

use burn::tensor::Tensor;

use super::few_rows::{FEW, few_rows};
use super::flex::{Weights, make, read, read_weights};
use super::product::{Matrix, Side, product};
use super::rows::for_rows;
use super::stored::{Code, Stored, are_words};
use crate::matrix::Int8;

/// `x W^T + b`: `[rows, d_in]` to `[rows, d_out]`.
pub(crate) fn times_transposed(
    x: Tensor<2>,
    weights: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> Tensor<2> {
    let (n_rows, [d_out, d_in]) = (x.dims()[0], weights.dims());
    let (x, weights) = (read(x), read_weights(weights.clone()));
    let bias = bias.cloned().map(read);
    make([n_rows, d_out], |y| match weights.values() {
        Weights::F32(values) => forward(&x, plain(values, d_in), y, bias.as_deref()),
        Weights::F16(values) => forward(&x, plain(values, d_in), y, bias.as_deref()),
        Weights::BF16(values) => forward(&x, plain(values, d_in), y, bias.as_deref()),
    })
}

/// [`times_transposed`] for a matrix in 8 bits.
pub(crate) fn times_int8_transposed(
    x: Tensor<2>,
    weights: &Int8,
    bias: Option<&Tensor<1>>,
) -> Tensor<2> {
    let n_rows = x.dims()[0];
    let x = read(x);
    let bias = bias.cloned().map(read);
    make([n_rows, weights.scales.len()], |y| {
        forward(&x, codes(weights), y, bias.as_deref());
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

fn forward<T: Stored>(x: &[f32], matrix: Matrix<'_, T>, y: &mut [f32], bias: Option<&[f32]>) {
    let n_rows = x.len() / matrix.d_in;
    if n_rows <= FEW && are_words(matrix.values, matrix.d_in) {
        few_rows(x, matrix, y);
    } else {
        product(x, matrix, y, false);
    }
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

/// `x W + b`: `[rows, d_out]` to `[rows, d_in]`.
pub(crate) fn times(x: Tensor<2>, weights: &Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<2> {
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
            Weights::F32(values) => product(&x, untransposed(plain(values, d_in)), y, adds),
            Weights::F16(values) => product(&x, untransposed(plain(values, d_in)), y, adds),
            Weights::BF16(values) => product(&x, untransposed(plain(values, d_in)), y, adds),
        }
    })
}

/// `x W` for a matrix in 8 bits.
pub(crate) fn times_int8(x: Tensor<2>, weights: &Int8) -> Tensor<2> {
    let n_rows = x.dims()[0];
    let x = read(x);
    make([n_rows, weights.d_in], |y| {
        product(&x, untransposed(codes(weights)), y, false);
    })
}

fn untransposed<T>(matrix: Matrix<'_, T>) -> Matrix<'_, T> {
    Matrix {
        side: Side::Plain,
        ..matrix
    }
}
