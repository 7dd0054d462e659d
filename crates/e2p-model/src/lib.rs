#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attention;
mod backward;
mod config;
mod cross_entropy;
mod decoder;
mod encoder;
mod error;
mod families;
mod kv_cache;
mod layer;
mod linear;
mod load;
mod mask;
mod mlp;
mod norm;
mod rotary;

pub use backward::{Keep, Tape};
/// Re-exported because another resolved version of burn gives baffling trait errors.
pub use burn;
pub use config::{DecoderConfig, MlpKind, NormKind, Positions, RotaryConfig, RotaryScaling};
pub use cross_entropy::TargetScores;
pub use decoder::{Decoder, Padding};
pub use encoder::SentenceEncoder;
pub use error::{ModelError, Result};
pub use families::parse_config;
pub use kv_cache::KvCache;
pub use load::{
    Checkpoint, LoadOptions, LoadReport, RandomSource, WeightSource, WrongShape, read_json,
};
