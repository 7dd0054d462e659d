//! Llama 2 and 3, SmolLM2, TinyLlama (transformers `models/llama`).

use serde_json::Value;

use super::wire::Wire;
use super::{Family, Names};
use crate::config::DecoderConfig;
use crate::error::Result;

/// The names of Llama and its descendants.
pub(super) const NAMES: Names = Names {
    root: "model.",
    embed_tokens: "embed_tokens",
    embed_positions: "",
    layers: "layers.",
    input_layernorm: "input_layernorm",
    qkv_proj: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    o_proj: "self_attn.o_proj",
    post_attention_layernorm: "post_attention_layernorm",
    up_proj: &["mlp.gate_proj", "mlp.up_proj"],
    down_proj: "mlp.down_proj",
    norm: "norm",
    lm_head: "lm_head",
    transposed: false,
    buffers: &["rotary_emb.inv_freq"],
};

pub(super) const FAMILY: Family = Family {
    model_type: "llama",
    config,
    names: NAMES,
};

fn config(json: &Value) -> Result<DecoderConfig> {
    let wire = Wire {
        model_type: "llama",
        json,
    };
    wire.only("pretraining_tp", &[1.into()])?;
    wire.llama_like()
}
