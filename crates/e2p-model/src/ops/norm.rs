//! RMS norm and layer norm over the last dimension.
//!
//! Both compute in f32 whatever the weights' data type, as transformers does.

use burn::tensor::{DType, Tensor};

use crate::kernels;

/// What a norm scales with: an RMS norm where there is no bias, a layer norm where there is one.
#[derive(Debug, Clone)]
pub(crate) struct NormWeights {
    /// `[width]`
    pub(crate) weight: Tensor<1>,
    /// `[width]`
    pub(crate) bias: Option<Tensor<1>>,
    pub(crate) eps: f64,
}

/// Same shape in and out, last dimension normalised.
pub(crate) fn norm<const D: usize>(x: Tensor<D>, weights: &NormWeights) -> Tensor<D> {
    if kernels::serves(&x) && kernels::serves(&weights.weight) {
        return kernels::norm(x, &weights.weight, weights.bias.as_ref(), weights.eps);
    }
    norm_composed(x, weights)
}

pub(crate) fn norm_composed<const D: usize>(x: Tensor<D>, weights: &NormWeights) -> Tensor<D> {
    let dtype = x.dtype();
    let (normalised, _) = normalise(x.cast(DType::F32), weights);
    // Hugging Face casts back before scaling; with f32 weights the order makes no difference.
    let y = normalised.cast(dtype) * weights.weight.clone().unsqueeze();
    match &weights.bias {
        Some(bias) => y + bias.clone().unsqueeze(),
        None => y,
    }
}

/// Gradient with respect to the input `x` of [`norm`].
///
/// With `z = x / rms(x)` (or `(x - mean) / std`) and `g = weight * dy`:
/// `dx = (g - z mean(g z)) / rms`, and for layer norm also `- mean(g)` inside the bracket.
pub(crate) fn norm_backward<const D: usize>(
    x: Tensor<D>,
    dy: Tensor<D>,
    weights: &NormWeights,
) -> Tensor<D> {
    if kernels::serves(&x) && kernels::serves(&dy) && kernels::serves(&weights.weight) {
        let NormWeights { weight, bias, eps } = weights;
        return kernels::norm_backward(x, dy, weight, bias.as_ref(), *eps);
    }
    norm_backward_composed(x, dy, weights)
}

pub(crate) fn norm_backward_composed<const D: usize>(
    x: Tensor<D>,
    dy: Tensor<D>,
    weights: &NormWeights,
) -> Tensor<D> {
    let dtype = x.dtype();
    let (normalised, inverse) = normalise(x.cast(DType::F32), weights);
    let g = (dy * weights.weight.clone().unsqueeze()).cast(DType::F32);
    let along = (g.clone() * normalised.clone()).mean_dim(D - 1);
    let g = if weights.bias.is_some() {
        let mean = g.clone().mean_dim(D - 1);
        g - mean
    } else {
        g
    };
    ((g - normalised * along) * inverse).cast(dtype)
}

/// The input over its root mean square (or centred, over its standard deviation), and the factor
/// `1 / rms` of each row.
fn normalise<const D: usize>(x: Tensor<D>, weights: &NormWeights) -> (Tensor<D>, Tensor<D>) {
    let x = if weights.bias.is_some() {
        let mean = x.clone().mean_dim(D - 1);
        x - mean
    } else {
        x
    };
    let inverse = x
        .clone()
        .square()
        .mean_dim(D - 1)
        .add_scalar(weights.eps)
        .sqrt()
        .recip();
    (x * inverse.clone(), inverse)
}

/// RMS norm over the last dimension: `weight x / sqrt(mean(x^2) + eps)`.
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - `weight`: `[width]`
/// - output: `[rows, width]`
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    if kernels::serves(&x) && kernels::serves(&weight) {
        return kernels::norm(x, &weight, None, eps);
    }
    // Divided, not multiplied by the inverse as in the stack: trained projectors keep their bits.
    let rms = x.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    x / rms * weight.unsqueeze()
}
