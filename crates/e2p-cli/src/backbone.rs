//! Finds and loads the frozen model: a directory, or a hub id.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use e2p_model::burn::tensor::DType;
use e2p_model::{
    ChatMessage, ChatOptions, Decoder, LoadOptions, MatmulPrecision, ModelError, Tokenizer,
};
use serde::Deserialize;

use crate::args::{Dtype, GlobalArgs, Precision};
use crate::device;
#[cfg(not(feature = "hub"))]
use crate::report::hinted;

/// A frozen model with its tokenizer. Preferred variable name: `backbone`.
pub(crate) struct Backbone {
    pub(crate) decoder: Decoder,
    pub(crate) tokenizer: Tokenizer,
    /// Where it was found.
    pub(crate) dir: PathBuf,
}

/// A prompt as it stands in an input file.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "`prompt` must be a string or a list of {\"role\", \"content\"}"
)]
pub(crate) enum PromptText {
    Text(String),
    Chat(Vec<ChatMessage>),
}

impl Backbone {
    /// Loads `path_or_id` onto the device that the options ask for.
    ///
    /// # Errors
    /// A directory that is not there, and everything that [`Tokenizer::from_dir`] and [`Decoder::from_dir`] refuse.
    pub(crate) fn load(path_or_id: &str, global: &GlobalArgs) -> anyhow::Result<Self> {
        let chosen = device::choose(&global.device)?;
        let dtype = global.dtype.to_possible_value();
        tracing::info!(
            "backend {}, device {}, dtype {}",
            chosen.backend,
            chosen.name,
            dtype.as_ref().map_or("", PossibleValue::get_name)
        );
        let dir = resolve(path_or_id, global)?;
        // The tokenizer first: it is small, and its absence should not cost the loading of the weights.
        let tokenizer = Tokenizer::from_dir(&dir)
            .with_context(|| format!("cannot load the tokenizer of `{path_or_id}`"))?;
        let (decoder, report) = Decoder::from_dir(&dir, &load_options(global), &chosen.device)
            .with_context(|| format!("cannot load the backbone `{path_or_id}`"))?;
        if !report.unused.is_empty() {
            tracing::warn!(
                "{} tensors of `{path_or_id}` are not used, the first is `{}`",
                report.unused.len(),
                report.unused[0]
            );
        }
        let config = decoder.config();
        tokenizer.check_vocab_size(config.vocab_size)?;
        tracing::debug!(
            "{} with {} parameters, context {}",
            config.model_type,
            config.n_parameters(),
            config.max_seq_len
        );
        Ok(Self {
            decoder,
            tokenizer,
            dir,
        })
    }

    /// Ids of a prompt: as it stands with the tokenizer's special tokens, or rendered as a chat if `chat` or if it is a
    /// conversation. An empty prompt becomes the beginning-of-sequence token where there is one.
    ///
    /// # Errors
    /// [`ModelError::EmptyPrompt`], or the tokenizer's errors.
    pub(crate) fn encode_prompt(
        &self,
        prompt: &PromptText,
        chat: bool,
    ) -> Result<Vec<u32>, ModelError> {
        let options = ChatOptions {
            now: std::time::SystemTime::now(),
            ..ChatOptions::default()
        };
        let ids = match prompt {
            PromptText::Text(text) if chat => self
                .tokenizer
                .encode_chat(&[ChatMessage::user(text)], &options)?,
            PromptText::Text(text) => self.tokenizer.encode(text, true)?,
            PromptText::Chat(messages) => self.tokenizer.encode_chat(messages, &options)?,
        };
        if !ids.is_empty() {
            return Ok(ids);
        }
        let bos = self
            .tokenizer
            .bos_token_id()
            .or(self.decoder.config().bos_token_id);
        bos.map(|bos| vec![bos]).ok_or(ModelError::EmptyPrompt)
    }
}

/// What `--dtype` and `--matmul-precision` ask for.
pub(crate) fn load_options(global: &GlobalArgs) -> LoadOptions {
    let stored = match global.dtype {
        Dtype::F32 => DType::F32.into(),
        Dtype::F16 => DType::F16.into(),
        Dtype::Bf16 => DType::BF16.into(),
        Dtype::Int8 => LoadOptions::int8(),
    };
    let matmul_precision = match global.matmul_precision {
        Precision::Highest => MatmulPrecision::Highest,
        Precision::Medium => MatmulPrecision::Medium,
    };
    LoadOptions {
        matmul_precision,
        ..stored
    }
}

/// The directory that `path_or_id` means. A path that exists wins over a hub id.
///
/// # Errors
/// If there is no such directory and it cannot be downloaded.
pub(crate) fn resolve(path_or_id: &str, global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    let path = Path::new(path_or_id);
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    if !is_hub_id(path_or_id) {
        anyhow::bail!(
            "`{path_or_id}` does not exist; expected a Hugging Face directory with config.json, *.safetensors and tokenizer.json"
        );
    }
    download(path_or_id, global)
}

#[cfg(feature = "hub")]
fn download(id: &str, global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    crate::hub::download(id, &crate::hub::HubOptions::from_env(global.quiet))
}

#[cfg(not(feature = "hub"))]
fn download(id: &str, _global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    Err(hinted(
        format!("`{id}` does not exist, and this binary cannot download from a hub"),
        "cargo install e2p-cli --features hub   (or, in the source, cargo build --release --features hub)",
    ))
}

/// `org/name`: two plain names.
fn is_hub_id(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    text.split_once('/')
        .is_some_and(|(org, name)| is_name(org) && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_two_plain_names() {
        assert!(is_hub_id("HuggingFaceTB/SmolLM2-135M"));
        for path in ["model", "./model", "../a/b", "/a/b", "a/b/c", "a/", "a b/c"] {
            assert!(!is_hub_id(path), "{path}");
        }
    }
}
