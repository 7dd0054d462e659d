//! The one error type of this crate.
//!
//! Every message names the thing, what was found and what was expected; paths come with every
//! failure to read a file.

use std::path::PathBuf;

use crate::load::LoadReport;

/// What can go wrong between a directory on disk and a generated token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    // --- files ---
    /// A file could not be opened, mapped or read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The directory has no weights in a format that is read here.
    #[error("`{dir}` has no `model.safetensors` and no `model.safetensors.index.json`{found}", dir = dir.display())]
    NoWeights {
        /// The backbone directory.
        dir: PathBuf,
        /// `; found ...` when weights in another format lie there, else empty.
        found: String,
    },
    /// An adapter lies beside the weights and would be left out.
    #[error("`{path}` says that an adapter belongs to the weights beside it, and adapters are not applied here; merge it first (peft's `merge_and_unload`), or remove the file if the weights are merged already", path = path.display())]
    UnmergedAdapter {
        /// `adapter_config.json`.
        path: PathBuf,
    },
    /// A JSON file does not parse, or lacks a field.
    #[error("`{path}` is not the JSON that was expected", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        #[source]
        source: serde_json::Error,
    },
    /// A safetensors file is truncated or its header is not valid.
    #[error("`{path}` ({bytes} bytes) is not a complete safetensors file", path = path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Size of the file.
        bytes: u64,
        /// What the header check found.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The index names a shard with a path that leaves the directory.
    #[error("`{path}` names the shard `{shard}`, expected a plain file name", path = path.display())]
    ShardName {
        /// The index file.
        path: PathBuf,
        /// The offending entry.
        shard: String,
    },
    /// The weights do not fit the configuration.
    #[error("the weights in `{dir}` do not fit its `config.json`: {report}", dir = dir.display())]
    Weights {
        /// The backbone directory.
        dir: PathBuf,
        /// Every missing, wrong-shaped, non-finite and unused tensor.
        report: Box<LoadReport>,
    },

    // --- configuration ---
    /// `model_type` is none of the supported families.
    #[error("model type `{found}` is not supported; expected one of {supported}")]
    ModelType {
        /// The type named in `config.json`, or `(none)`.
        found: String,
        /// The supported types, comma-separated.
        supported: String,
    },
    /// A configuration option that this crate does not implement is in use.
    #[error("`{option}` = {found} is not supported for `{model_type}`; expected {expected}")]
    Unsupported {
        /// The model family.
        model_type: String,
        /// The key in `config.json`.
        option: String,
        /// Its value there.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// A configuration value is out of range or contradicts another.
    #[error("`{option}` = {found} in the configuration of `{model_type}`; expected {expected}")]
    Config {
        /// The model family.
        model_type: String,
        /// The key in `config.json`.
        option: String,
        /// Its value there.
        found: String,
        /// The condition it breaks.
        expected: String,
    },
    /// The device cannot compute in the chosen data type.
    #[error("device `{device}` does not compute in {dtype}; expected f32")]
    Dtype {
        /// The device.
        device: String,
        /// The data type asked for.
        dtype: String,
    },

    // --- running ---
    /// A sequence would be longer than the model's context.
    #[error("the sequence needs {needed} positions and the context holds {context}")]
    ContextOverflow {
        /// Positions needed, padding included.
        needed: usize,
        /// Positions available: the model's context or the cache's capacity.
        context: usize,
    },
    /// A token id is not in the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab_size} tokens")]
    TokenId {
        /// The id.
        id: i64,
        /// Rows of the embedding matrix.
        vocab_size: usize,
    },
    /// Nothing to compute.
    #[error("the prompt is empty; expected at least one token")]
    EmptyPrompt,

    // --- text ---
    /// A sampling option is out of range.
    #[error("sampling option `{option}` is {found}; expected {expected}")]
    Sampling {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: f64,
        /// The range.
        expected: &'static str,
    },
    /// The model's output cannot be sampled from.
    #[error("a logit is {found}; expected finite numbers: the weights or the data type overflow")]
    Logits {
        /// The offending value.
        found: f32,
    },
    /// The directory has no tokenizer.
    #[error("no tokenizer: `{path}` does not exist", path = path.display())]
    NoTokenizer {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// A tokenizer file does not parse, or the tokenizer fails on a text.
    #[cfg(feature = "tokenizer")]
    #[error("the tokenizer `{path}` fails", path = path.display())]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// The `tokenizers` crate's reason.
        #[source]
        source: tokenizers::Error,
    },
    /// The tokenizer has ids without a row in the model's embedding matrix.
    #[error("the tokenizer `{path}` has {tokenizer_vocab_size} tokens and the model's vocabulary {model_vocab_size}", path = path.display())]
    VocabularyMismatch {
        /// `tokenizer.json`.
        path: PathBuf,
        /// Ids of the tokenizer, added tokens included.
        tokenizer_vocab_size: usize,
        /// Rows of the embedding matrix.
        model_vocab_size: usize,
    },
    /// A chat template is not valid Jinja, fails, or raises an exception.
    #[cfg(feature = "tokenizer")]
    #[error("the chat template in `{path}` fails", path = path.display())]
    ChatTemplate {
        /// The file the template stands in.
        path: PathBuf,
        /// The template engine's reason, or the exception's message.
        #[source]
        source: Box<minijinja::Error>,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;
