//! DistilBERT (transformers `models/distilbert`): BERT without token types, with names of its own.

use serde_json::Value;

use crate::encoder::config::EncoderConfig;
use crate::encoder::family::{EncoderFamily, Keys, shape};
use crate::error::Result;
use crate::families::Names;
use crate::families::wire::Wire;

pub(super) const FAMILY: EncoderFamily = EncoderFamily {
    model_types: &["distilbert"],
    config,
    names: Names {
        root: "distilbert.",
        embed_tokens: "embeddings.word_embeddings",
        embed_positions: "embeddings.position_embeddings",
        layers: "transformer.layer.",
        input_layernorm: "sa_layer_norm",
        qkv_proj: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        q_norm: "",
        k_norm: "",
        o_proj: "attention.out_lin",
        post_attention_layernorm: "output_layer_norm",
        up_proj: &["ffn.lin1"],
        down_proj: "ffn.lin2",
        norm: "embeddings.LayerNorm",
        lm_head: "",
        transposed: false,
        buffers: &["embeddings.position_ids"],
    },
    token_types: "",
    relative_positions: "",
};

fn config(model_type: &'static str, json: &Value) -> Result<EncoderConfig> {
    let wire = Wire { model_type, json };
    let keys = Keys {
        d_model: "dim",
        d_ff: "hidden_dim",
        n_layers: "n_layers",
        n_heads: "n_heads",
        activation: "activation",
    };
    Ok(EncoderConfig {
        // The epsilon is written into the model's code.
        shape: shape(&wire, &keys, 1e-12)?,
        n_token_types: 0,
        padding_id: None,
        has_relative_positions: false,
    })
}
