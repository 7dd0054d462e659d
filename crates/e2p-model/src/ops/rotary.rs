//! Rotation of queries and keys by their positions.

use burn::tensor::{Tensor, s};

use crate::kernels;
use crate::rotary::Rotation;

/// Rotates `[batch_size, n_heads, seq_len, head_dim]`.
pub(crate) fn rotate(heads: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    if kernels::serves(&heads) {
        return kernels::rotate(heads, rotation, false);
    }
    rotate_composed(heads, rotation)
}

pub(crate) fn rotate_composed(heads: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    let (cos, sin) = rotation.tables();
    let rotated = rotate_half(heads.clone());
    heads * cos + rotated * sin
}

/// Gradient of [`rotate`] with respect to its input: the rotation by the opposite angle.
pub(crate) fn rotate_backward(d_heads: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    if kernels::serves(&d_heads) {
        return kernels::rotate(d_heads, rotation, true);
    }
    rotate_backward_composed(d_heads, rotation)
}

pub(crate) fn rotate_backward_composed(d_heads: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    let (cos, sin) = rotation.tables();
    let rotated = rotate_half(d_heads.clone());
    d_heads * cos - rotated * sin
}

/// `(a, b)` to `(-b, a)` over the halves of the last dimension.
fn rotate_half(x: Tensor<4>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let a = x.clone().slice(s![.., .., .., ..half]);
    let b = x.slice(s![.., .., .., half..]);
    Tensor::cat(vec![b.neg(), a], 3)
}
