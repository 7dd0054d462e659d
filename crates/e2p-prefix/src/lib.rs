#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod config;
mod embed;
mod error;
mod inject;
mod personalized;
mod prefill_cache;
mod projector;
mod prompt;
mod score;
mod space;
mod spliced;
mod tensors;

pub use adapter::{
    ADAPTER_DIR, Adapter, AdapterConfig, BackboneId, CONFIG_FILE, FORMAT_VERSION, MODEL_FILE,
    Method, PromptFormat,
};
/// Re-exported because another resolved version of burn gives baffling trait errors.
pub use burn;
pub use config::{PLACEHOLDER, PrefixPosition, Preset, ProjectorConfig};
pub use embed::{embed_prompts, prompt_input};
pub use error::{PrefixError, Result};
pub use inject::{inject, prefix_gradient};
pub use personalized::{Personalized, Prefix};
pub use prefill_cache::PrefillCache;
pub use projector::Projector;
pub use prompt::{Prompt, PromptBuilder, PromptConfig, date_of};
pub use score::Prefilled;
pub use space::EmbeddingSpace;
pub use spliced::{SplicedBatch, SplicedRow, SplicedTape};
pub use tensors::{
    NamedTensors, load_named_tensors, named_tensors, read_safetensors, write_safetensors,
};
