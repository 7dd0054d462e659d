//! What an encoder family says about itself, and what the families' configurations share.

use serde_json::Value;

use super::config::EncoderConfig;
use crate::config::{DecoderConfig, MlpKind, NormKind, Positions};
use crate::error::Result;
use crate::families::Names;
use crate::families::wire::Wire;

/// A family: how its files are read.
pub(super) struct EncoderFamily {
    /// Its `model_type`s in `config.json`.
    pub(super) model_types: &'static [&'static str],
    /// Wire format to configuration.
    pub(super) config: fn(&'static str, &Value) -> Result<EncoderConfig>,
    /// What the checkpoint calls each tensor.
    pub(super) names: Names,
    /// The matrix of token types, where the family has one.
    pub(super) token_types: &'static str,
    /// The matrix of relative positions, where the family has one.
    pub(super) relative_positions: &'static str,
}

/// Keys of the sizes, which DistilBERT spells in its own way.
pub(super) struct Keys {
    pub(super) d_model: &'static str,
    pub(super) d_ff: &'static str,
    pub(super) n_layers: &'static str,
    pub(super) n_heads: &'static str,
    pub(super) activation: &'static str,
}

/// BERT's keys.
pub(super) const BERT_KEYS: Keys = Keys {
    d_model: "hidden_size",
    d_ff: "intermediate_size",
    n_layers: "num_hidden_layers",
    n_heads: "num_attention_heads",
    activation: "hidden_act",
};

/// Tensors of BERT that make no token's vector: constants, and the layer over the first token that
/// was trained to say whether one sentence follows another.
pub(super) const BERT_BUFFERS: &[&str] = &[
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
];

/// The shape of an encoder in the decoder's terms.
///
/// # Errors
/// A missing or out-of-range value, an option that changes the computation.
pub(super) fn shape(wire: &Wire<'_>, keys: &Keys, norm_eps: f64) -> Result<DecoderConfig> {
    wire.refuse_quantized()?;
    wire.only("is_decoder", &[false.into()])?;
    wire.only("add_cross_attention", &[false.into()])?;
    wire.only("position_embedding_type", &["absolute".into()])?;
    let mlp = match wire.text_or(keys.activation, "gelu")?.as_str() {
        "gelu" => MlpKind::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => MlpKind::GeluTanh,
        other => {
            return Err(wire.unsupported(
                keys.activation,
                other,
                "gelu, gelu_new or gelu_pytorch_tanh",
            ));
        }
    };
    let (d_model, n_heads) = (wire.size(keys.d_model)?, wire.size(keys.n_heads)?);
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        let expected = format!("a divisor of {} = {d_model}", keys.d_model);
        return Err(wire.invalid(keys.n_heads, n_heads, &expected));
    }
    Ok(DecoderConfig {
        model_type: wire.model_type.into(),
        vocab_size: wire.size("vocab_size")?,
        d_model,
        d_ff: wire.size(keys.d_ff)?,
        n_layers: wire.size(keys.n_layers)?,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: d_model / n_heads,
        max_seq_len: wire.size("max_position_embeddings")?,
        norm: NormKind::LayerNorm,
        norm_eps,
        positions: Positions::Learned,
        mlp,
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        qk_norm: false,
        tie_word_embeddings: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}
