//! Self-attention with grouped query heads: whole sequence, cached, and backward.
//!
//! Three steps each way: project and place the heads (norm and rotation), attend, merge. How each
//! is computed is in `ops/`.

use burn::tensor::Tensor;

use crate::config::{DecoderConfig, NormKind};
use crate::families::Names;
use crate::kv_cache::KvCache;
use crate::linear::Linear;
use crate::load::WeightSource;
use crate::mask::Visible;
use crate::norm::Norm;
use crate::ops::{self, AttendRecord, Slots, SlotsOfPass};
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

impl<'a> Earlier<'a> {
    /// With the keys and values of this pass behind them.
    fn with(self, k: Tensor<4>, v: Tensor<4>) -> SlotsOfPass<'a> {
        match self {
            Self::None => SlotsOfPass {
                cached: None,
                own: Some([k, v]),
                is_first: true,
            },
            Self::Append(cache, layer) => SlotsOfPass {
                is_first: cache.is_empty(),
                cached: Some(cache.append(layer, k, v)),
                own: None,
            },
            Self::Constant(slots) => SlotsOfPass {
                cached: Some(slots),
                own: Some([k, v]),
                is_first: false,
            },
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
    raw: Option<[Tensor<4>; 2]>,
    attended: AttendRecord,
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
        let ([q, k, v], raw) = self.project(x, pass);
        let slots = earlier.with(k, v);
        let (mixed, record) = if keep {
            let (mixed, attended) = ops::attend_recorded(q, self.n_kv_heads, slots, &pass.visible);
            (mixed, Some(AttentionRecord { raw, attended }))
        } else {
            let mixed = ops::attend(q, self.n_kv_heads, slots, &pass.visible);
            (mixed, None)
        };
        let y = self.o_proj.forward(ops::merge_heads([mixed], None, 0));
        (y, record)
    }

    /// Gradient with respect to the input of [`Self::forward`]; earlier slots and weights are
    /// constants.
    pub(crate) fn backward(
        &self,
        record: AttentionRecord,
        dy: Tensor<3>,
        pass: &Pass,
    ) -> Tensor<3> {
        let d_mixed = self.o_proj.backward(dy);
        let d_mixed = ops::split_heads(&d_mixed, 0, self.n_heads, self.head_dim, None);
        let [dq, dk, dv] = ops::attend_backward(record.attended, d_mixed, &pass.visible);
        self.project_backward(record.raw, [dq, dk, dv], pass)
    }

    /// Queries, keys and values in their places, `[batch_size, heads, n_queries, head_dim]`; where
    /// the family has head norms, also queries and keys before them.
    fn project(&self, x: Tensor<3>, pass: &Pass) -> ([Tensor<4>; 3], Option<[Tensor<4>; 2]>) {
        let qkv = self.qkv_proj.forward(x);
        let heads = |first_head, n_heads, rotation: Option<&Rotation>| {
            ops::split_heads(&qkv, first_head, n_heads, self.head_dim, rotation)
        };
        let rotation = pass.rotation.as_ref();
        let (n_q, n_kv) = (self.n_heads, self.n_kv_heads);
        let v = heads(n_q + n_kv, n_kv, None);
        let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) else {
            // Rotated while they are split: one pass over memory.
            return (
                [heads(0, n_q, rotation), heads(n_q, n_kv, rotation), v],
                None,
            );
        };
        let raw = [heads(0, n_q, None), heads(n_q, n_kv, None)];
        let place = |raw: &Tensor<4>, norm: &Norm| {
            let heads = norm.forward(raw.clone());
            match rotation {
                Some(rotation) => ops::rotate(heads, rotation),
                None => heads,
            }
        };
        (
            [place(&raw[0], q_norm), place(&raw[1], k_norm), v],
            Some(raw),
        )
    }

    /// Gradient of [`Self::project`] with respect to its input.
    fn project_backward(
        &self,
        raw: Option<[Tensor<4>; 2]>,
        [dq, dk, dv]: [Tensor<4>; 3],
        pass: &Pass,
    ) -> Tensor<3> {
        let rotation = pass.rotation.as_ref();
        let d_qkv = match (raw, &self.q_norm, &self.k_norm) {
            (Some([q, k]), Some(q_norm), Some(k_norm)) => {
                let unplace = |d_heads: Tensor<4>, raw: Tensor<4>, norm: &Norm| {
                    let d_heads = match rotation {
                        Some(rotation) => ops::rotate_backward(d_heads, rotation),
                        None => d_heads,
                    };
                    norm.backward(raw, d_heads)
                };
                let (dq, dk) = (unplace(dq, q, q_norm), unplace(dk, k, k_norm));
                ops::merge_heads([dq, dk, dv], None, 0)
            }
            // Without head norms the rotation back happens while the heads are put side by side.
            _ => ops::merge_heads([dq, dk, dv], rotation, 2),
        };
        self.qkv_proj.backward(d_qkv)
    }
}
