#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod config;
mod error;
mod inject;
#[cfg(not(feature = "llama"))]
mod ops;
mod projector;
mod space;
#[cfg(feature = "llama")]
mod spliced;
mod tensors;

pub use adapter::{
    Adapter, AdapterConfig, BackboneId, CONFIG_FILE, FORMAT_VERSION, MODEL_FILE, Method,
};
/// Re-exported because another resolved version of burn gives baffling trait errors.
pub use burn;
pub use config::{PLACEHOLDER, PrefixPosition, Preset, ProjectorConfig};
pub use error::{PrefixError, Result};
pub use inject::{IGNORE_INDEX, inject, inject_row, moved, prefix_gradient};
pub use projector::Projector;
pub use space::EmbeddingSpace;
#[cfg(feature = "llama")]
pub use spliced::{SplicedBatch, SplicedRow, SplicedTape, prefill};
pub use tensors::{
    NamedTensors, load_named_tensors, named_tensors, read_safetensors, write_safetensors,
};
