//! Attention with grouped query heads: heads out of the stacked projection, their mixtures of
//! values, heads side by side again.
//!
//! The heads of a group share keys and values. Their queries are folded into rows
//! (`[n_kv_heads, group * n_queries, head_dim]`), so keys and values are never repeated. burn's own
//! `module::attention` is not used: on autodiff tensors it is silently wrong for grouped heads
//! (0.22.1), and it has no backward pass to share.

use burn::tensor::{DType, Tensor, activation, s};

use super::rotary::{rotate, rotate_backward};
use super::slots::{LayerCache, SlotsOfPass};
use crate::kernels::{self, Segment};
use crate::mask::Visible;
use crate::rotary::Rotation;

/// What [`attend_backward`] needs of [`attend_recorded`].
#[derive(Debug, Clone)]
pub(crate) struct AttendRecord {
    /// Rotated queries `[batch_size, n_heads, n_queries, head_dim]`.
    q: Tensor<4>,
    /// Rotated keys and values of all slots, `[batch_size, n_kv_heads, n_keys, head_dim]`.
    k: Tensor<4>,
    v: Tensor<4>,
    /// `[batch_size, n_heads, n_queries, n_keys]`, in the compute data type.
    probabilities: Tensor<4>,
}

/// Heads `first_head .. first_head + n_heads` of rows `[batch_size, seq_len, width]` as
/// `[batch_size, n_heads, seq_len, head_dim]`, rotated on the way where there is a rotation.
pub(crate) fn split_heads(
    rows: &Tensor<3>,
    first_head: usize,
    n_heads: usize,
    head_dim: usize,
    rotation: Option<&Rotation>,
) -> Tensor<4> {
    if kernels::serves(rows) {
        return kernels::split(rows, first_head, n_heads, head_dim, rotation);
    }
    let [batch_size, seq_len, _] = rows.dims();
    let heads = rows
        .clone()
        .narrow(2, first_head * head_dim, n_heads * head_dim)
        .reshape([batch_size, seq_len, n_heads, head_dim])
        .swap_dims(1, 2);
    match rotation {
        Some(rotation) => rotate(heads, rotation),
        None => heads,
    }
}

/// Heads side by side: `[batch_size, heads, seq_len, head_dim]` each to
/// `[batch_size, seq_len, all heads * head_dim]`; the first `n_rotated` are rotated back first.
pub(crate) fn merge_heads<const N: usize>(
    parts: [Tensor<4>; N],
    rotation: Option<&Rotation>,
    n_rotated: usize,
) -> Tensor<3> {
    if parts.iter().all(kernels::serves) {
        return kernels::merge(parts, rotation, n_rotated);
    }
    let parts = parts.into_iter().enumerate().map(|(index, heads)| {
        let heads = match rotation {
            Some(rotation) if index < n_rotated => rotate_backward(heads, rotation),
            _ => heads,
        };
        let [batch_size, n_heads, seq_len, head_dim] = heads.dims();
        heads
            .swap_dims(1, 2)
            .reshape([batch_size, seq_len, n_heads * head_dim])
    });
    Tensor::cat(parts.collect(), 2)
}

/// Whether [`attend`] reads slots like these where they lie, so that rows can share them.
pub(crate) fn shares_slots(k: &Tensor<4>) -> bool {
    kernels::serves(k)
}

/// Mixtures of values, `[batch_size, n_heads, n_queries, head_dim]`, of queries of that shape.
pub(crate) fn attend(
    q: Tensor<4>,
    n_kv_heads: usize,
    slots: SlotsOfPass<'_>,
    visible: &Visible,
) -> Tensor<4> {
    if !kernels::serves(&q) {
        return attend_recorded(q, n_kv_heads, slots, visible).0;
    }
    let [_, n_heads, n_queries, head_dim] = q.dims();
    // Never few in a prompt: the keys and values that it leaves are kept, and must not depend on
    // the longest row that was computed with it.
    let queries = if slots.is_first {
        kernels::Queries::Many
    } else {
        kernels::Queries::fastest(n_queries * n_heads / n_kv_heads, head_dim)
    };
    let mut segments = Vec::with_capacity(3);
    if let Some(cached) = slots.cached {
        if let Some(shared) = cached.shared {
            let LayerCache { k, v } = shared.layer.clone();
            segments.push(Segment::new(k, v, shared.len, Some(shared.rows)));
        }
        let LayerCache { k, v } = cached.own.clone();
        segments.push(Segment::new(k, v, cached.filled, None));
    }
    if let Some([k, v]) = slots.own {
        segments.push(Segment::new(k, v, n_queries, None));
    }
    let scale = scale(head_dim) as f32;
    kernels::attend(queries, q, n_kv_heads, &segments, visible, scale)
}

/// [`attend`], and what [`attend_backward`] needs.
pub(crate) fn attend_recorded(
    q: Tensor<4>,
    n_kv_heads: usize,
    slots: SlotsOfPass<'_>,
    visible: &Visible,
) -> (Tensor<4>, AttendRecord) {
    let [batch_size, n_heads, n_queries, head_dim] = q.dims();
    let [k, v] = slots.tensors();
    // [batch_size, n_kv_heads, group * n_queries, n_keys]
    let scores = fold(q.clone(), n_kv_heads).matmul(k.clone().swap_dims(2, 3));
    let scores = scores.reshape([batch_size, n_heads, n_queries, k.dims()[2]]);
    let probabilities = softmax(scores, visible, scale(head_dim));
    // [batch_size, n_kv_heads, group * n_queries, head_dim]
    let mixed = fold(probabilities.clone(), n_kv_heads).matmul(v.clone());
    let mixed = mixed.reshape(q.dims());
    let record = AttendRecord {
        q,
        k,
        v,
        probabilities,
    };
    (mixed, record)
}

/// Gradients of [`attend`] with respect to queries, keys and values of its pass; earlier slots are
/// constants. `d_mixed` has the shape of the queries.
pub(crate) fn attend_backward(
    record: AttendRecord,
    d_mixed: Tensor<4>,
    visible: &Visible,
) -> [Tensor<4>; 3] {
    let AttendRecord {
        q,
        k,
        v,
        probabilities,
    } = record;
    let [_, _, n_queries, head_dim] = q.dims();
    let [_, n_kv_heads, n_keys, _] = k.dims();
    let (q_shape, p_shape) = (q.dims(), probabilities.dims());
    let d_mixed = fold(d_mixed, n_kv_heads);
    let dp = d_mixed.clone().matmul(v.swap_dims(2, 3));
    let p = fold(probabilities, n_kv_heads);
    let dv = p.clone().swap_dims(2, 3).matmul(d_mixed);
    let ds = softmax_backward(
        p.reshape(p_shape),
        dp.reshape(p_shape),
        visible,
        scale(head_dim),
    );
    let ds = fold(ds, n_kv_heads);
    let dq = ds.clone().matmul(k).reshape(q_shape);
    // The sum over a group happens in this product.
    let dk = ds.swap_dims(2, 3).matmul(fold(q, n_kv_heads));
    // Only the keys and values of this pass depend on its input.
    let own = n_keys - n_queries;
    let [dk, dv] = [dk, dv].map(|gradient| gradient.slice(s![.., .., own.., ..]));
    [dq, dk, dv]
}

/// `[batch_size, n_heads, n, m]` to `[batch_size, n_kv_heads, group * n, m]`: the heads of a group
/// become rows.
fn fold(heads: Tensor<4>, n_kv_heads: usize) -> Tensor<4> {
    let [batch_size, n_heads, n, m] = heads.dims();
    heads.reshape([batch_size, n_kv_heads, n_heads / n_kv_heads * n, m])
}

/// What scores are multiplied with.
fn scale(head_dim: usize) -> f64 {
    1.0 / (head_dim as f64).sqrt()
}

/// Probabilities from unscaled scores, `[batch_size, n_heads, n_queries, n_keys]`; 0 where a query
/// does not look.
fn softmax(scores: Tensor<4>, visible: &Visible, scale: f64) -> Tensor<4> {
    if kernels::serves(&scores) {
        return kernels::softmax(scores, visible, scale as f32);
    }
    softmax_composed(scores, visible, scale)
}

pub(crate) fn softmax_composed(scores: Tensor<4>, visible: &Visible, scale: f64) -> Tensor<4> {
    let (dtype, shape) = (scores.dtype(), scores.dims());
    let hidden = visible.hidden(shape[2], &scores.device().inner());
    let scores = scores.cast(DType::F32).mul_scalar(scale);
    let scores = match hidden {
        // Finite, so that a row with nothing to see gives numbers, not NaN.
        Some(hidden) => scores.mask_fill(hidden.expand(shape), -1e30),
        None => scores,
    };
    activation::softmax(scores, 3).cast(dtype)
}

/// Gradient of [`softmax`] with respect to the unscaled scores, from the probabilities and their
/// gradient.
fn softmax_backward(p: Tensor<4>, dp: Tensor<4>, visible: &Visible, scale: f64) -> Tensor<4> {
    if kernels::serves(&dp) {
        return kernels::softmax_backward(p, dp, visible, scale as f32);
    }
    softmax_backward_composed(p, dp, scale)
}

pub(crate) fn softmax_backward_composed(p: Tensor<4>, dp: Tensor<4>, scale: f64) -> Tensor<4> {
    // ds = p (dp - sum(p dp)); the scale of the scores is folded in here.
    let p_dp = p.clone() * dp;
    (p_dp.clone() - p * p_dp.sum_dim(3)).mul_scalar(scale)
}
