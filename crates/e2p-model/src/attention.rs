//! Causal self-attention with grouped query heads: whole sequence, cached, and backward.
//!
//! The heads of a group share keys and values. Their queries are folded into rows (`[n_kv_heads, group * seq_len, head_dim]`), so keys
//! and values are never repeated. burn's own `module::attention` is not used: on autodiff tensors it is silently wrong for grouped heads
//! (0.22.1), and it has no backward pass to share.

use burn::tensor::{Bool, DType, Tensor, activation, s};

use crate::config::{DecoderConfig, NormKind};
use crate::families::Names;
use crate::kernels;
use crate::kernels::Segment;
use crate::kv_cache::{KvCache, LayerCache, Slots};
use crate::linear::Linear;
use crate::load::WeightSource;
use crate::mask::Visible;
use crate::norm::Norm;
use crate::rotary::Rotation;

/// What all layers of one pass share.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// `None` for families with learned positions.
    pub(crate) rotation: Option<Rotation>,
    pub(crate) visible: Visible,
}

/// Where the keys and values of earlier slots come from: one layer of a cache.
pub(crate) enum Earlier<'a> {
    /// There are none.
    None,
    /// A cache that also receives those of this pass.
    Append(&'a mut KvCache, usize),
    /// A cache that is only read: its slots are constants.
    Constant(Slots<'a>),
}

impl Earlier<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Append(cache, _) => cache.is_empty(),
            Self::Constant(_) => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    /// Query, key and value projections stacked: one product instead of three.
    qkv_proj: Linear,
    o_proj: Linear,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

/// What the backward pass needs of a forward pass.
#[derive(Debug, Clone)]
pub(crate) struct AttentionRecord {
    /// Queries and keys before their norm and rotation; only where there is a norm.
    raw: Option<(Tensor<4>, Tensor<4>)>,
    /// Rotated queries `[batch_size, n_heads, n_queries, head_dim]`.
    q: Tensor<4>,
    /// Rotated keys and values of all slots, `[batch_size, n_kv_heads, n_keys, head_dim]`.
    k: Tensor<4>,
    v: Tensor<4>,
    /// `[batch_size, n_heads, n_queries, n_keys]`, in the compute data type.
    probabilities: Tensor<4>,
}

impl SelfAttention {
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        config: &DecoderConfig,
        names: &Names,
        layer: &str,
    ) -> Self {
        let DecoderConfig {
            d_model,
            n_heads,
            n_kv_heads,
            head_dim,
            ..
        } = *config;
        let (q_width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
        let widths: &[usize] = if names.qkv_proj.len() == 3 {
            &[q_width, kv_width, kv_width]
        } else {
            &[q_width + 2 * kv_width]
        };
        let qkv: Vec<_> = names
            .qkv_proj
            .iter()
            .zip(widths)
            .map(|(name, width)| (format!("{layer}{name}"), *width))
            .collect();
        let o = [(format!("{layer}{}", names.o_proj), d_model)];
        let mut head_norm = |name: &str| {
            config.qk_norm.then(|| {
                Norm::load(
                    source,
                    &format!("{layer}{name}"),
                    head_dim,
                    NormKind::RmsNorm,
                    config.norm_eps,
                )
            })
        };
        let (q_norm, k_norm) = (head_norm(names.q_norm), head_norm(names.k_norm));
        Self {
            qkv_proj: Linear::load(source, &qkv, d_model, config.qkv_bias, names.transposed),
            o_proj: Linear::load(source, &o, q_width, config.o_bias, names.transposed),
            q_norm,
            k_norm,
            n_heads,
            n_kv_heads,
            head_dim,
        }
    }

    /// # Shapes
    /// - `x`: `[batch_size, n_queries, d_model]`, already normalised
    /// - output: the same; the record only when `keep` is set
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        pass: &Pass,
        earlier: Earlier<'_>,
        keep: bool,
    ) -> (Tensor<3>, Option<AttentionRecord>) {
        let [batch_size, n_queries, _] = x.dims();
        let x_device = x.device().inner();
        let qkv = self.qkv_proj.forward(x);
        let is_kernel = kernels::serves(&qkv);
        let (q, k, v, raw) = if is_kernel && self.q_norm.is_none() {
            // Rotated while it is split: one pass over memory.
            let heads = |first_head, n_heads, rotation: Option<&Rotation>| {
                kernels::split(&qkv, first_head, n_heads, self.head_dim, rotation)
            };
            let rotation = pass.rotation.as_ref();
            let (n_q, n_kv) = (self.n_heads, self.n_kv_heads);
            (
                heads(0, n_q, rotation),
                heads(n_q, n_kv, rotation),
                heads(n_q + n_kv, n_kv, None),
                None,
            )
        } else {
            let (raw_q, raw_k, v) = self.split(qkv);
            let q = place(raw_q.clone(), self.q_norm.as_ref(), pass);
            let k = place(raw_k.clone(), self.k_norm.as_ref(), pass);
            (q, k, v, self.q_norm.is_some().then_some((raw_q, raw_k)))
        };
        if is_kernel && !keep {
            // Never few in a prompt: the keys and values that it leaves are kept, and must not depend on the longest row that was computed
            // with it.
            let n_queries = n_queries * self.n_heads / self.n_kv_heads;
            let queries = if earlier.is_empty() {
                kernels::Queries::Many
            } else {
                kernels::Queries::fastest(n_queries, self.head_dim)
            };
            let mixed = self.attend(queries, q, k, v, pass, earlier);
            return (self.o_proj.forward(merge_heads([mixed], None, 0)), None);
        }
        let (k, v) = match earlier {
            Earlier::None => (k, v),
            Earlier::Append(cache, layer) => cache.append(layer, k, v).tensors().into(),
            Earlier::Constant(slots) => {
                let [earlier_k, earlier_v] = slots.tensors();
                (
                    Tensor::cat(vec![earlier_k, k], 2),
                    Tensor::cat(vec![earlier_v, v], 2),
                )
            }
        };
        let n_keys = k.dims()[2];

        let scores = self.fold(q.clone()).matmul(k.clone().swap_dims(2, 3)); // [batch_size, n_kv_heads, group * n_queries, n_keys]
        let scores = scores.reshape([batch_size, self.n_heads, n_queries, n_keys]);
        let probabilities = if is_kernel {
            kernels::softmax(scores, &pass.visible, self.scale() as f32)
        } else {
            self.softmax(scores, pass.visible.hidden(n_queries, &x_device).as_ref())
        };
        let mixed = self.fold(probabilities.clone()).matmul(v.clone()); // [batch_size, n_kv_heads, group * n_queries, head_dim]
        let mixed = mixed.reshape([batch_size, self.n_heads, n_queries, self.head_dim]);
        let y = self.o_proj.forward(merge_heads([mixed], None, 0));

        let record = keep.then(|| AttentionRecord {
            raw,
            q,
            k,
            v,
            probabilities,
        });
        (y, record)
    }

    /// The mixture of values by the kernels, `[batch_size, n_heads, n_queries, head_dim]`.
    fn attend(
        &self,
        queries: kernels::Queries,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        pass: &Pass,
        earlier: Earlier<'_>,
    ) -> Tensor<4> {
        let (slots, own) = match earlier {
            Earlier::None => (None, Some((k, v))),
            Earlier::Append(cache, layer) => (Some(cache.append(layer, k, v)), None),
            Earlier::Constant(slots) => (Some(slots), Some((k, v))),
        };
        let mut segments = Vec::with_capacity(3);
        if let Some(slots) = slots {
            if let Some(shared) = slots.shared {
                let LayerCache { k, v } = shared.layer.clone();
                segments.push(Segment::new(k, v, shared.len, Some(shared.rows)));
            }
            let LayerCache { k, v } = slots.own.clone();
            segments.push(Segment::new(k, v, slots.filled, None));
        }
        if let Some((k, v)) = own {
            let n_queries = k.dims()[2];
            segments.push(Segment::new(k, v, n_queries, None));
        }
        let scale = self.scale() as f32;
        kernels::attend(queries, q, self.n_kv_heads, &segments, &pass.visible, scale)
    }

    /// Gradient with respect to the input of [`Self::forward`]; earlier slots and weights are constants.
    pub(crate) fn backward(
        &self,
        record: AttentionRecord,
        dy: Tensor<3>,
        pass: &Pass,
    ) -> Tensor<3> {
        let [batch_size, n_queries, _] = dy.dims();
        let AttentionRecord {
            raw,
            q,
            k,
            v,
            probabilities,
        } = record;
        let n_keys = k.dims()[2];

        let d_mixed = self
            .o_proj
            .backward(dy)
            .reshape([batch_size, n_queries, self.n_heads, self.head_dim])
            .swap_dims(1, 2);
        let d_mixed = self.fold(d_mixed);
        let p = self.fold(probabilities);
        let dp = d_mixed.clone().matmul(v.swap_dims(2, 3));
        let dv = p.clone().swap_dims(2, 3).matmul(d_mixed);
        let ds = self.softmax_backward(p, dp, pass, n_queries);
        let dq = ds
            .clone()
            .matmul(k)
            .reshape([batch_size, self.n_heads, n_queries, self.head_dim]);
        let dk = ds.swap_dims(2, 3).matmul(self.fold(q)); // the sum over a group happens in this product

        // Only the keys and values of this pass depend on its input.
        let own = n_keys - n_queries;
        let dk = dk.slice(s![.., .., own.., ..]);
        let dv = dv.slice(s![.., .., own.., ..]);
        let d_qkv = match raw {
            // Without head norms the rotation back happens while the heads are put side by side.
            None => merge_heads([dq, dk, dv], pass.rotation.as_ref(), 2),
            Some((raw_q, raw_k)) => {
                let dq = unplace(dq, Some(raw_q), self.q_norm.as_ref(), pass);
                let dk = unplace(dk, Some(raw_k), self.k_norm.as_ref(), pass);
                merge_heads([dq, dk, dv], None, 0)
            }
        };
        self.qkv_proj.backward(d_qkv)
    }

    /// `[batch_size, seq_len, qkv_width]` to queries, keys and values, `[batch_size, heads, seq_len, head_dim]`.
    fn split(&self, qkv: Tensor<3>) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let [batch_size, seq_len, _] = qkv.dims();
        let mut at = 0;
        let mut heads = |n_heads: usize| {
            let width = n_heads * self.head_dim;
            let part = qkv.clone().slice(s![.., .., at..at + width]);
            at += width;
            part.reshape([batch_size, seq_len, n_heads, self.head_dim])
                .swap_dims(1, 2)
        };
        (
            heads(self.n_heads),
            heads(self.n_kv_heads),
            heads(self.n_kv_heads),
        )
    }

    /// `[batch_size, n_heads, n, m]` to `[batch_size, n_kv_heads, group * n, m]`: the heads of a group become rows.
    fn fold(&self, heads: Tensor<4>) -> Tensor<4> {
        let [batch_size, n_heads, n, m] = heads.dims();
        heads.reshape([
            batch_size,
            self.n_kv_heads,
            n_heads / self.n_kv_heads * n,
            m,
        ])
    }

    /// Scaled, masked softmax over the keys, in f32.
    fn softmax(&self, scores: Tensor<4>, hidden: Option<&Tensor<4, Bool>>) -> Tensor<4> {
        let dtype = scores.dtype();
        let scores = scores.cast(DType::F32).mul_scalar(self.scale());
        let scores = match hidden {
            // Finite, so that a row with nothing to see gives numbers, not NaN.
            Some(hidden) => scores
                .clone()
                .mask_fill(hidden.clone().expand(scores.dims()), -1e30),
            None => scores,
        };
        activation::softmax(scores, 3).cast(dtype)
    }

    /// Gradient with respect to the unscaled scores, from probabilities and their gradient, both folded.
    fn softmax_backward(
        &self,
        p: Tensor<4>,
        dp: Tensor<4>,
        pass: &Pass,
        n_queries: usize,
    ) -> Tensor<4> {
        if !kernels::serves(&dp) {
            // ds = p (dp - sum(p dp)); the scale of the scores is folded in here.
            let p_dp = p.clone() * dp;
            return (p_dp.clone() - p * p_dp.sum_dim(3)).mul_scalar(self.scale());
        }
        let folded = p.dims();
        let shape = [folded[0], self.n_heads, n_queries, folded[3]];
        let (p, dp) = (p.reshape(shape), dp.reshape(shape));
        kernels::softmax_backward(p, dp, &pass.visible, self.scale() as f32).reshape(folded)
    }

    fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
}

/// Head norm, where the family has one, then rotation.
fn place(heads: Tensor<4>, norm: Option<&Norm>, pass: &Pass) -> Tensor<4> {
    let heads = match norm {
        Some(norm) => norm.forward(heads),
        None => heads,
    };
    match &pass.rotation {
        Some(rotation) => rotation.apply(heads),
        None => heads,
    }
}

/// Heads side by side: `[batch_size, heads, seq_len, head_dim]` each to `[batch_size, seq_len, all heads * head_dim]`; the first
/// `n_rotated` are rotated back first.
fn merge_heads<const N: usize>(
    parts: [Tensor<4>; N],
    rotation: Option<&Rotation>,
    n_rotated: usize,
) -> Tensor<3> {
    if parts.iter().all(kernels::serves) {
        return kernels::merge(parts, rotation, n_rotated);
    }
    let mut index = 0;
    let parts = parts.map(|heads| {
        let heads = match rotation {
            Some(rotation) if index < n_rotated => rotation.backward(heads),
            _ => heads,
        };
        index += 1;
        let [batch_size, n_heads, seq_len, head_dim] = heads.dims();
        heads
            .swap_dims(1, 2)
            .reshape([batch_size, seq_len, n_heads * head_dim])
    });
    Tensor::cat(parts.into(), 2)
}

/// Gradient of [`place`] with respect to its input.
fn unplace(
    d_heads: Tensor<4>,
    raw: Option<Tensor<4>>,
    norm: Option<&Norm>,
    pass: &Pass,
) -> Tensor<4> {
    let d_heads = match &pass.rotation {
        Some(rotation) => rotation.backward(d_heads),
        None => d_heads,
    };
    match (norm, raw) {
        (Some(norm), Some(raw)) => norm.backward(raw, d_heads),
        _ => d_heads,
    }
}
