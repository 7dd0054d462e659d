//! Products with a frozen matrix `[d_out, d_in]`, whatever the data type that it is stored in.

use burn::tensor::Tensor;

use super::few_rows::{FEW, few_rows};
use super::flex::{Weights, make, read, read_weights};
use super::product::{Matrix, Side, product};
use super::rows::for_rows;
use super::stored::{Stored, are_words};

/// `x W^T + b`: `[rows, d_in]` to `[rows, d_out]`.
pub(crate) fn times_transposed(
    x: Tensor<2>,
    weights: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> Tensor<2> {
    let (n_rows, [d_out, _]) = (x.dims()[0], weights.dims());
    let (x, weights) = (read(x), read_weights(weights.clone()));
    let bias = bias.cloned().map(read);
    make([n_rows, d_out], |y| match weights.values() {
        Weights::F32(weights) => forward(&x, weights, y, n_rows, bias.as_deref()),
        Weights::F16(weights) => forward(&x, weights, y, n_rows, bias.as_deref()),
        Weights::BF16(weights) => forward(&x, weights, y, n_rows, bias.as_deref()),
    })
}

fn forward<T: Stored>(
    x: &[f32],
    weights: &[T],
    y: &mut [f32],
    n_rows: usize,
    bias: Option<&[f32]>,
) {
    if n_rows == 0 {
        return;
    }
    let d_in = x.len() / n_rows;
    if n_rows <= FEW && are_words(weights, d_in) {
        few_rows(x, weights, d_in, y);
    } else {
        let side = Side::Transposed;
        let matrix = Matrix {
            values: weights,
            d_in,
            side,
        };
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
    let side = Side::Plain;
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
            Weights::F32(values) => product(&x, Matrix { values, d_in, side }, y, adds),
            Weights::F16(values) => product(&x, Matrix { values, d_in, side }, y, adds),
            Weights::BF16(values) => product(&x, Matrix { values, d_in, side }, y, adds),
        }
    })
}
