//! MPNet (transformers `models/mpnet`): all-mpnet, multi-qa-mpnet. No token types, RoBERTa's
//! positions, and a bias by distance in every attention.

use serde_json::Value;

use crate::encoder::config::EncoderConfig;
use crate::encoder::family::{BERT_BUFFERS, BERT_KEYS, EncoderFamily, shape};
use crate::encoder::relative::BUCKETS;
use crate::error::Result;
use crate::families::Names;
use crate::families::wire::Wire;

pub(super) const FAMILY: EncoderFamily = EncoderFamily {
    model_types: &["mpnet"],
    config,
    names: Names {
        root: "mpnet.",
        embed_tokens: "embeddings.word_embeddings",
        embed_positions: "embeddings.position_embeddings",
        layers: "encoder.layer.",
        input_layernorm: "attention.LayerNorm",
        qkv_proj: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        q_norm: "",
        k_norm: "",
        o_proj: "attention.attn.o",
        post_attention_layernorm: "output.LayerNorm",
        up_proj: &["intermediate.dense"],
        down_proj: "output.dense",
        norm: "embeddings.LayerNorm",
        lm_head: "",
        transposed: false,
        buffers: BERT_BUFFERS,
    },
    token_types: "",
    relative_positions: "encoder.relative_attention_bias",
};

/// The id is written into the model's code, whatever `pad_token_id` says.
const PADDING: u32 = 1;

fn config(model_type: &'static str, json: &Value) -> Result<EncoderConfig> {
    let wire = Wire { model_type, json };
    wire.only("relative_attention_num_buckets", &[BUCKETS.into()])?;
    let shape = shape(&wire, &BERT_KEYS, wire.number_or("layer_norm_eps", 1e-12)?)?;
    if shape.max_seq_len <= PADDING as usize + 1 {
        let found = shape.max_seq_len;
        return Err(wire.invalid("max_position_embeddings", found, "at least 3"));
    }
    Ok(EncoderConfig {
        shape,
        n_token_types: 0,
        padding_id: Some(PADDING),
        has_relative_positions: true,
    })
}
