//! Text to token ids and back, as the files beside the weights say.
//!
//! A thin wrapper over Hugging Face's `tokenizers`: it reads `tokenizer.json`, learns the special
//! tokens and the chat template from `tokenizer_config.json`, `special_tokens_map.json` and
//! `chat_template.jinja`, and checks that the vocabulary fits the model. Nothing is guessed from
//! the name of a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chat_template::{ChatMessage, ChatOptions, ChatTemplate};
use crate::error::{ModelError, Result};
use crate::generate::Detokenizer;

/// A tokenizer and the special tokens and chat template that come with it. Preferred variable name:
/// `tokenizer`.
pub struct Tokenizer {
    pub(crate) inner: tokenizers::Tokenizer,
    path: PathBuf,
    special_tokens: BTreeMap<String, String>,
    chat_template: ChatTemplate,
    generation_eos_ids: Vec<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a Hugging Face directory.
    ///
    /// # Errors
    /// [`ModelError::NoTokenizer`] with the path that was looked for, [`ModelError::Tokenizer`] if
    /// it does not parse, [`ModelError::Json`] and [`ModelError::ChatTemplate`] for the files
    /// beside it.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        if !path.is_file() {
            return Err(ModelError::NoTokenizer { path });
        }
        let mut inner =
            tokenizers::Tokenizer::from_file(&path).map_err(|source| ModelError::Tokenizer {
                path: path.clone(),
                source,
            })?;
        // Limits and padding stored by whoever trained the tokenizer are not the caller's.
        inner
            .with_truncation(None)
            .map_err(|source| ModelError::Tokenizer {
                path: path.clone(),
                source,
            })?;
        inner.with_padding(None);

        let config = read_json(&dir.join("tokenizer_config.json"))?;
        let special_tokens = special_tokens(&[
            read_json(&dir.join("special_tokens_map.json"))?,
            config.clone(),
        ]);
        let chat_template = ChatTemplate::from_dir(dir, config.as_ref())?;
        let generation_eos_ids = read_json(&dir.join("generation_config.json"))?
            .map(|config| ids(&config["eos_token_id"]))
            .unwrap_or_default();
        Ok(Self {
            inner,
            path,
            special_tokens,
            chat_template,
            generation_eos_ids,
        })
    }

    /// Ids of `text`. `add_special_tokens` adds what the tokenizer puts around a text, such as
    /// `<s>`; special tokens spelled out in the text become their ids either way.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the tokenizer refuses the text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|source| self.failed(source))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`, special tokens left out; bytes that form no character become U+FFFD.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .decode(ids, true)
            .map_err(|source| self.failed(source))
    }

    /// Number of ids, added tokens included: one more than the largest.
    pub fn vocab_size(&self) -> usize {
        self.inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// Checks that every id has a row in an embedding matrix of `model_vocab_size` rows. A larger
    /// matrix is fine: many checkpoints pad theirs.
    ///
    /// # Errors
    /// [`ModelError::VocabularyMismatch`] naming both sizes.
    pub fn check_vocab_size(&self, model_vocab_size: usize) -> Result<()> {
        let tokenizer_vocab_size = self.vocab_size();
        if tokenizer_vocab_size > model_vocab_size {
            return Err(ModelError::VocabularyMismatch {
                path: self.path.clone(),
                tokenizer_vocab_size,
                model_vocab_size,
            });
        }
        Ok(())
    }

    /// Id of a token given by its exact text.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A special token's text by role, such as `bos_token`.
    pub fn special_token(&self, role: &str) -> Option<&str> {
        self.special_tokens.get(role).map(String::as_str)
    }

    /// Id of the token that begins a text, if the tokenizer names one.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.special_token("bos_token")
            .and_then(|token| self.token_to_id(token))
    }

    /// Ids that end a text: those of `generation_config.json` where it has any, else
    /// `config_eos_ids` (from the model's `config.json`), else the tokenizer's `eos_token`. The
    /// order is transformers'.
    pub fn eos_token_ids(&self, config_eos_ids: &[u32]) -> Vec<u32> {
        if !self.generation_eos_ids.is_empty() {
            return self.generation_eos_ids.clone();
        }
        if !config_eos_ids.is_empty() {
            return config_eos_ids.to_vec();
        }
        self.special_token("eos_token")
            .and_then(|token| self.token_to_id(token))
            .into_iter()
            .collect()
    }

    /// The template that [`Tokenizer::render_chat`] uses.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.chat_template
    }

    /// Renders a conversation to the text the model was trained on.
    ///
    /// # Errors
    /// [`ModelError::ChatTemplate`] if the template fails or raises an exception.
    pub fn render_chat(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String> {
        self.chat_template
            .render(messages, &self.special_tokens, options)
    }

    /// Renders a conversation and encodes it. A template writes its special tokens itself, so none
    /// are added then; the plain format gets those of the tokenizer.
    ///
    /// # Errors
    /// See [`Tokenizer::render_chat`] and [`Tokenizer::encode`].
    pub fn encode_chat(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<Vec<u32>> {
        self.encode(
            &self.render_chat(messages, options)?,
            self.chat_template.is_plain(),
        )
    }

    /// Whether an id is one of the special tokens.
    pub(crate) fn is_special(&self, id: u32) -> bool {
        let mut tokens = self.special_tokens.values();
        let added = self.inner.get_added_tokens_decoder();
        tokens.any(|token| self.token_to_id(token) == Some(id))
            || added.get(&id).is_some_and(|token| token.special)
    }

    pub(crate) fn failed(&self, source: tokenizers::Error) -> ModelError {
        ModelError::Tokenizer {
            path: self.path.clone(),
            source,
        }
    }
}

impl Detokenizer for Tokenizer {
    fn detokenize(&self, ids: &[u32]) -> Result<String> {
        self.decode(ids)
    }
}

/// The JSON of a file that may be absent.
fn read_json(path: &Path) -> Result<Option<Value>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ModelError::Read {
                path: path.into(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| ModelError::Json {
            path: path.into(),
            source,
        })
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(id).collect(),
        single => id(single).into_iter().collect(),
    }
}

/// Every `..._token` entry, a plain string or an object with `content`; later files win.
fn special_tokens(files: &[Option<Value>]) -> BTreeMap<String, String> {
    let entries = files
        .iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten();
    entries
        .filter(|(role, _)| role.ends_with("_token"))
        .filter_map(|(role, value)| {
            let content = value.as_str().or_else(|| value["content"].as_str())?;
            Some((role.clone(), content.to_string()))
        })
        .collect()
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
