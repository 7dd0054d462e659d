//! One decoder layer: pre-norm, attention, pre-norm, MLP, each added to the residual stream.

use burn::tensor::Tensor;

use crate::attention::{AttentionRecord, Earlier, Pass, SelfAttention};
use crate::config::DecoderConfig;
use crate::families::Names;
use crate::load::WeightSource;
use crate::mlp::{Mlp, MlpRecord};
use crate::norm::Norm;

#[derive(Debug, Clone)]
pub(crate) struct DecoderLayer {
    input_layernorm: Norm,
    self_attn: SelfAttention,
    post_attention_layernorm: Norm,
    mlp: Mlp,
}

/// What the backward pass needs of one layer: no activation that only a weight gradient would need.
#[derive(Debug, Clone)]
pub(crate) struct LayerRecord {
    input: Tensor<3>,
    attention: AttentionRecord,
    middle: Tensor<3>,
    mlp: MlpRecord,
}

impl DecoderLayer {
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        config: &DecoderConfig,
        names: &Names,
        layer: &str,
    ) -> Self {
        let mut norm = |name: &str| {
            Norm::load(
                source,
                &format!("{layer}{name}"),
                config.d_model,
                config.norm,
                config.norm_eps,
            )
        };
        let (input_layernorm, post_attention_layernorm) = (
            norm(names.input_layernorm),
            norm(names.post_attention_layernorm),
        );
        Self {
            input_layernorm,
            self_attn: SelfAttention::load(source, config, names, layer),
            post_attention_layernorm,
            mlp: Mlp::load(source, config, names, layer),
        }
    }

    /// `[batch_size, seq_len, d_model]` in and out; the record only when `keep` is set.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        pass: &Pass,
        earlier: Earlier<'_>,
        keep: bool,
    ) -> (Tensor<3>, Option<LayerRecord>) {
        let input = keep.then(|| x.clone());
        let (attended, attention) =
            self.self_attn
                .forward(self.input_layernorm.forward(x.clone()), pass, earlier, keep);
        let x = x + attended;
        let middle = keep.then(|| x.clone());
        let (y, mlp) = self
            .mlp
            .forward(self.post_attention_layernorm.forward(x.clone()), keep);
        let record = input.zip(attention).zip(middle.zip(mlp));
        let record = record.map(|((input, attention), (middle, mlp))| LayerRecord {
            input,
            attention,
            middle,
            mlp,
        });
        (x + y, record)
    }

    /// Gradient with respect to the input of [`Self::forward`].
    pub(crate) fn backward(&self, record: LayerRecord, dy: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let LayerRecord {
            input,
            attention,
            middle,
            mlp,
        } = record;
        let d_middle = dy.clone()
            + self
                .post_attention_layernorm
                .backward(middle, self.mlp.backward(mlp, dy));
        d_middle.clone()
            + self
                .input_layernorm
                .backward(input, self.self_attn.backward(attention, d_middle, pass))
    }
}
