//! Mistral (transformers `models/mistral`): Llama without biases; a sliding window within the
//! context is refused.

use serde_json::Value;

use super::wire::Wire;
use super::{Family, llama};
use crate::config::DecoderConfig;
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "mistral",
    config,
    names: llama::NAMES,
};

fn config(json: &Value) -> Result<DecoderConfig> {
    let wire = Wire {
        model_type: "mistral",
        json,
    };
    let config = wire.llama_like()?;
    // transformers' Mistral has a window of 4096 when the key is absent, and none when it is null.
    if json.get("sliding_window").is_none() && config.max_seq_len > 4096 {
        return Err(wire.unsupported(
            "sliding_window",
            "absent, which means 4096",
            "null, or at least max_position_embeddings",
        ));
    }
    wire.refuse_sliding_window(config.max_seq_len)?;
    Ok(DecoderConfig {
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        ..config
    })
}
