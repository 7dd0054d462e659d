//! What `e2p_model::ops` offers, composed of burn's operations: for a projector without that crate.

use burn::tensor::{Tensor, activation};

pub(crate) use activation::gelu;

/// `x W + b`: `[rows, d_in]` to `[rows, d_out]`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight);
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// `weight x / sqrt(mean(x^2) + eps)` over the last dimension.
pub(crate) fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    let rms = x.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    x / rms * weight.unsqueeze()
}
