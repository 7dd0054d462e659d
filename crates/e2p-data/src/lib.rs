#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
// Errors are documented once, at the variants of `DataError`.
#![allow(clippy::missing_errors_doc)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod als;
mod cell;
mod data_dir;
mod delimited;
pub mod embeddings;
mod error;
mod example;
mod hash;
mod id;
pub mod interactions;
mod interner;
mod json;
mod json_lines;
mod json_stream;
pub mod jsonl;
pub mod lamp;
mod lines;
mod news;
mod normal;
mod observe;
mod options;
mod parquet_table;
pub mod persona_chat;
mod prepare;
mod pseudo;
mod seen;
mod sink;
mod source;
mod split;
mod template;
pub mod text;
mod time;
mod unpack;
pub mod world;
mod writer;

pub use data_dir::{Counts, DataDir, DatasetInfo, FORMAT_VERSION, InputFile};
pub use delimited::{Delimited, Quoting, Record};
pub use embeddings::{EmbeddingStatistics, UserEmbeddings};
pub use error::{Column, DataError, MAX_PROBLEMS, Problem, Result};
pub use example::{Example, ItemRecord, Message, Prompt, Split, UserRecord};
pub use id::optional_id_text;
pub use json_lines::JsonLines;
pub use lines::{Encoding, LineReader, MAX_LINE_BYTES, Problems};
pub use news::{mind, pens};
pub use normal::normal;
pub use observe::Observer;
pub use options::{About, PrepareOptions};
pub use parquet_table::is_catching_panics;
pub use prepare::{fingerprint, prepare};
pub use sink::{Sink, Watched};
pub use source::{Abilities, Input, Source, SourceInfo};
pub use split::{Placement, SplitOptions, SplitRule};
pub use time::parse as parse_time;
pub use unpack::Unpacked;
pub use writer::{DataDirWriter, Overwrite};
