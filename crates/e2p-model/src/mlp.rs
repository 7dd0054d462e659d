//! The feed-forward block, gated or plain.

use burn::tensor::Tensor;

use crate::config::{DecoderConfig, MlpKind};
use crate::families::Names;
use crate::linear::Linear;
use crate::load::WeightSource;
use crate::ops;

#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    /// `gate_proj` and `up_proj` stacked where the block is gated: one product instead of two.
    up_proj: Linear,
    down_proj: Linear,
    kind: MlpKind,
}

/// The output of `up_proj`: what the backward pass needs.
#[derive(Debug, Clone)]
pub(crate) struct MlpRecord(Tensor<3>);

impl Mlp {
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        config: &DecoderConfig,
        names: &Names,
        layer: &str,
    ) -> Self {
        let up: Vec<_> = names
            .up_proj
            .iter()
            .map(|name| (format!("{layer}{name}"), config.d_ff))
            .collect();
        let down = [(format!("{layer}{}", names.down_proj), config.d_model)];
        Self {
            up_proj: Linear::load(
                source,
                &up,
                config.d_model,
                config.mlp_bias,
                names.transposed,
            ),
            down_proj: Linear::load(
                source,
                &down,
                config.d_ff,
                config.mlp_bias,
                names.transposed,
            ),
            kind: config.mlp,
        }
    }

    /// `[batch_size, seq_len, d_model]` in and out.
    pub(crate) fn forward(&self, x: Tensor<3>, keep: bool) -> (Tensor<3>, Option<MlpRecord>) {
        let up = self.up_proj.forward(x);
        let record = keep.then(|| MlpRecord(up.clone()));
        (self.down_proj.forward(ops::activate(self.kind, up)), record)
    }

    /// Gradient with respect to the input of [`Self::forward`].
    pub(crate) fn backward(&self, record: MlpRecord, dy: Tensor<3>) -> Tensor<3> {
        let d_hidden = self.down_proj.backward(dy);
        self.up_proj
            .backward(ops::activate_backward(self.kind, record.0, d_hidden))
    }
}
