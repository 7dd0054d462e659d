//! Qwen2 and Qwen2.5 (transformers `models/qwen2`): Llama with biases on query, key and value,
//! never elsewhere.

use serde_json::Value;

use super::wire::Wire;
use super::{Family, llama};
use crate::config::DecoderConfig;
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "qwen2",
    config,
    names: llama::NAMES,
};

fn config(json: &Value) -> Result<DecoderConfig> {
    let wire = Wire {
        model_type: "qwen2",
        json,
    };
    let config = wire.llama_like()?;
    wire.refuse_window_unless_off(config.max_seq_len)?;
    Ok(DecoderConfig {
        qkv_bias: true,
        o_bias: false,
        mlp_bias: false,
        ..config
    })
}

impl Wire<'_> {
    /// Qwen checkpoints name a window that `use_sliding_window` (false by default) switches off.
    pub(super) fn refuse_window_unless_off(&self, max_seq_len: usize) -> Result<()> {
        if self.flag_or("use_sliding_window", false)? {
            self.refuse_sliding_window(max_seq_len)
        } else {
            Ok(())
        }
    }
}
