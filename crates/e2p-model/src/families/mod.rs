//! Hugging Face families: `config.json` and tensor names, one file each.
//!
//! A family is a function from its JSON to a [`DecoderConfig`] and a [`Names`] table; the layers
//! are shared. A new family costs one file here and one line in [`FAMILIES`].

mod gpt2;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;
pub(crate) mod wire;

use serde_json::Value;

use crate::config::DecoderConfig;
use crate::error::{ModelError, Result};

/// A family: how its files are read.
#[derive(Debug)]
pub(crate) struct Family {
    /// `model_type` in `config.json`.
    pub(crate) model_type: &'static str,
    /// Wire format to validated configuration.
    pub(crate) config: fn(&Value) -> Result<DecoderConfig>,
    /// What the checkpoint calls each tensor.
    pub(crate) names: Names,
}

/// What a checkpoint calls each tensor; a path without `.weight` or `.bias`.
///
/// Several names for one projection mean that they are stacked, in this order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Leading path of everything but the head; some checkpoints leave it out.
    pub(crate) root: &'static str,
    pub(crate) embed_tokens: &'static str,
    /// Learned positions, where the family has them.
    pub(crate) embed_positions: &'static str,
    /// Path of a layer before its number.
    pub(crate) layers: &'static str,
    pub(crate) input_layernorm: &'static str,
    pub(crate) qkv_proj: &'static [&'static str],
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) o_proj: &'static str,
    pub(crate) post_attention_layernorm: &'static str,
    /// Gate and up stacked, or the one matrix of an ungated MLP.
    pub(crate) up_proj: &'static [&'static str],
    pub(crate) down_proj: &'static str,
    pub(crate) norm: &'static str,
    pub(crate) lm_head: &'static str,
    /// Matrices are stored `[in, out]` (GPT-2's `Conv1D`).
    pub(crate) transposed: bool,
    /// Endings of tensors that are buffers, not weights: never needed, never reported.
    pub(crate) buffers: &'static [&'static str],
}

/// Every supported family.
pub(crate) const FAMILIES: &[Family] = &[
    gpt2::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
];

/// The family of a parsed `config.json`.
///
/// # Errors
/// [`ModelError::ModelType`] when `model_type` is absent or none of the supported.
pub(crate) fn family(config: &Value) -> Result<&'static Family> {
    let found = config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or("(none)");
    FAMILIES
        .iter()
        .find(|family| family.model_type == found)
        .ok_or_else(|| ModelError::ModelType {
            found: found.into(),
            supported: FAMILIES
                .iter()
                .map(|family| family.model_type)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Reads a decoder configuration from a parsed `config.json`.
///
/// # Errors
/// An unknown family, an unsupported option, a missing or out-of-range value: each by its key.
pub fn parse_config(config: &Value) -> Result<DecoderConfig> {
    let config = (family(config)?.config)(config)?;
    config.validate()?;
    Ok(config)
}
