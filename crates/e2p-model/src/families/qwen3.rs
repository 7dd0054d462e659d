//! Qwen3 (transformers `models/qwen3`): RMS norm on every query and key head, a head width of its
//! own.

use serde_json::Value;

use super::wire::Wire;
use super::{Family, llama};
use crate::config::DecoderConfig;
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "qwen3",
    config,
    names: llama::NAMES,
};

fn config(json: &Value) -> Result<DecoderConfig> {
    let wire = Wire {
        model_type: "qwen3",
        json,
    };
    let config = wire.llama_like()?;
    wire.refuse_window_unless_off(config.max_seq_len)?;
    // transformers' default when the key is absent is 128, not d_model / n_heads.
    let head_dim = wire.size_or("head_dim", 128)?;
    Ok(DecoderConfig {
        head_dim,
        mlp_bias: false,
        qk_norm: true,
        ..config
    })
}
