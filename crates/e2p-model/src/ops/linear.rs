//! Products with a frozen matrix.

use burn::tensor::Tensor;

use crate::kernels;
use crate::precision::MatmulPrecision;

/// `x W + b`, weights as burn's `Linear` holds them.
///
/// # Shapes
/// - `x`: `[rows, d_in]`
/// - `weight`: `[d_in, d_out]`
/// - `bias`: `[d_out]`
/// - output: `[rows, d_out]`
///
/// # Panics
/// Where the shapes do not fit.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    assert_eq!(
        x.dims()[1],
        weight.dims()[0],
        "columns of x and rows of weight"
    );
    matmul(x, &weight, bias.as_ref(), MatmulPrecision::Highest)
}

/// `x W + b`: `[rows, n]` times `[n, m]` to `[rows, m]`.
pub(crate) fn matmul(
    x: Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    if is_kernel(&x, weight, bias) {
        return kernels::matmul(x, weight, bias, precision);
    }
    let weight = weight.clone().cast(x.dtype());
    add_bias(x.matmul(weight), bias)
}

/// `x W^T + b`: `[rows, d_in]` times `[d_out, d_in]` to `[rows, d_out]`.
pub(crate) fn matmul_transposed(
    x: Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<2> {
    if is_kernel(&x, weight, bias) {
        return kernels::matmul_transposed(x, weight, bias, precision);
    }
    // A transposed view: for one row (decoding) that reads the weights in order, for many the
    // layout makes no difference.
    let weight = weight.clone().cast(x.dtype()).transpose();
    add_bias(x.matmul(weight), bias)
}

fn is_kernel(x: &Tensor<2>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> bool {
    kernels::serves(x) && kernels::serves_weights(weight) && bias.is_none_or(kernels::serves)
}

fn add_bias(y: Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => y + bias.clone().unsqueeze(),
        None => y,
    }
}
