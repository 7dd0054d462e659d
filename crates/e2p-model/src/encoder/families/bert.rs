//! BERT (transformers `models/bert`): bge, e5, gte, all-MiniLM and their kin.

use serde_json::Value;

use crate::encoder::config::EncoderConfig;
use crate::encoder::family::{BERT_BUFFERS, BERT_KEYS, EncoderFamily, shape};
use crate::error::Result;
use crate::families::Names;
use crate::families::wire::Wire;

pub(super) const FAMILY: EncoderFamily = EncoderFamily {
    model_types: &["bert"],
    config,
    names: NAMES,
    token_types: "embeddings.token_type_embeddings",
    relative_positions: "",
};

pub(super) const NAMES: Names = Names {
    root: "bert.",
    embed_tokens: "embeddings.word_embeddings",
    embed_positions: "embeddings.position_embeddings",
    layers: "encoder.layer.",
    input_layernorm: "attention.output.LayerNorm",
    qkv_proj: &[
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    q_norm: "",
    k_norm: "",
    o_proj: "attention.output.dense",
    post_attention_layernorm: "output.LayerNorm",
    up_proj: &["intermediate.dense"],
    down_proj: "output.dense",
    norm: "embeddings.LayerNorm",
    lm_head: "",
    transposed: false,
    buffers: BERT_BUFFERS,
};

fn config(model_type: &'static str, json: &Value) -> Result<EncoderConfig> {
    let wire = Wire { model_type, json };
    let n_token_types = wire.size_or("type_vocab_size", 2)?;
    if n_token_types == 0 {
        return Err(wire.invalid("type_vocab_size", 0, "at least 1"));
    }
    Ok(EncoderConfig {
        shape: shape(&wire, &BERT_KEYS, wire.number_or("layer_norm_eps", 1e-12)?)?,
        n_token_types,
        padding_id: None,
        has_relative_positions: false,
    })
}
