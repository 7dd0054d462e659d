#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attention;
mod backward;
#[cfg(feature = "tokenizer")]
mod chat_template;
mod config;
mod decoder;
mod encoder;
mod error;
mod families;
mod forward;
mod generate;
mod int8;
mod kernels;
mod kv_cache;
mod layer;
mod linear;
mod load;
mod mask;
mod matrix;
mod mlp;
mod norm;
pub mod ops;
mod pad;
mod precision;
#[cfg(feature = "tokenizer")]
mod python_json;
mod rotary;
#[cfg(feature = "tokenizer")]
mod strftime;
mod tape;
mod text_encoder;
#[cfg(feature = "tokenizer")]
mod tokenizer;

/// Re-exported because another resolved version of burn gives baffling trait errors.
pub use burn;
#[cfg(feature = "tokenizer")]
pub use chat_template::{ChatMessage, ChatOptions, ChatTemplate};
pub use config::{DecoderConfig, MlpKind, NormKind, Positions, RotaryConfig, RotaryScaling};
pub use decoder::{Decoder, Padding};
pub use encoder::Encoder;
pub use error::{ModelError, Result};
pub use families::parse_config;
pub use generate::{
    Detokenizer, Finish, GenerateRequest, Generation, Generator, Guidance, PromptInput, Sampler,
    SamplingConfig, Step, StopConditions, TextStream, argmax,
};
pub use kv_cache::KvCache;
pub use load::{
    Checkpoint, LoadOptions, LoadReport, RandomSource, WeightSource, WrongShape, read_json,
};
pub use ops::TargetScores;
pub use pad::pad_rows;
pub use precision::MatmulPrecision;
pub use tape::{Keep, Tape};
pub use text_encoder::TextEncoder;
#[cfg(feature = "tokenizer")]
pub use text_encoder::TextInputs;
#[cfg(feature = "tokenizer")]
pub use tokenizer::Tokenizer;
