//! Texts to rows of token ids, as the encoder was trained to read them.

use std::path::Path;

use serde_json::Value;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, TruncationDirection, TruncationParams};

use super::json::Entry;
use super::settings::Settings;
use crate::error::{ModelError, Result};
use crate::load::read_json;
use crate::tokenizer::Tokenizer;

const TOKENIZER_FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";

/// An encoder's tokenizer with its prompt, limit and case. Preferred variable name: `inputs`.
pub struct TextInputs {
    tokenizer: Tokenizer,
    prompt: String,
    n_skipped: usize,
}

impl TextInputs {
    /// The tokenizer in `dir`, for a model of `vocab_size` tokens.
    pub(super) fn open(
        dir: &Path,
        settings: &Settings,
        skip_prompt: bool,
        vocab_size: usize,
    ) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_dir(dir)?;
        tokenizer.check_vocab_size(vocab_size)?;
        let direction = direction(dir)?;
        if settings.lower_case {
            let old = tokenizer.inner.get_normalizer().cloned();
            let all = [NormalizerWrapper::from(Lowercase)].into_iter().chain(old);
            tokenizer
                .inner
                .with_normalizer(Some(Sequence::new(all.collect())));
        }
        let n_special = tokenizer.encode("", true)?.len();
        if settings.max_seq_len <= n_special {
            return Err(ModelError::ContextOverflow {
                needed: n_special + 1,
                context: settings.max_seq_len,
            });
        }
        let truncation = TruncationParams {
            max_length: settings.max_seq_len,
            direction,
            ..TruncationParams::default()
        };
        let truncated = tokenizer
            .inner
            .with_truncation(Some(truncation))
            .map(|_| ());
        truncated.map_err(|source| tokenizer.failed(source))?;

        let mut n_skipped = 0;
        if skip_prompt && !settings.prompt.is_empty() {
            let ids = tokenizer.encode(&settings.prompt, true)?;
            let closing = ids.last().is_some_and(|id| tokenizer.is_special(*id));
            n_skipped = ids.len() - usize::from(closing);
            if n_skipped + usize::from(closing) >= settings.max_seq_len {
                return Err(ModelError::ContextOverflow {
                    needed: ids.len() + 1,
                    context: settings.max_seq_len,
                });
            }
        }
        Ok(Self {
            tokenizer,
            prompt: settings.prompt.clone(),
            n_skipped,
        })
    }

    /// Ids of `text` behind the prompt, special tokens included, cut to what the encoder reads.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer
            .encode(&format!("{}{text}", self.prompt), true)
    }

    /// How many tokens at the beginning of every row are the prompt's and are left out when the
    /// states are pooled: for [`crate::TextEncoder::embed`].
    pub fn n_skipped(&self) -> usize {
        self.n_skipped
    }
}

/// Which end of a long text goes; refuses files that contradict each other about the text.
fn direction(dir: &Path) -> Result<TruncationDirection> {
    let tokenizer = read_json(dir, TOKENIZER_FILE)?;
    let config = if dir.join(CONFIG_FILE).is_file() {
        read_json(dir, CONFIG_FILE)?
    } else {
        Value::Null
    };
    let entry = Entry::new(CONFIG_FILE, &config);
    check_normalizer(dir, &tokenizer["normalizer"], &config, &entry)?;
    let side = match entry.text_or_none("truncation_side")? {
        Some(side) => side.to_owned(),
        None => tokenizer["truncation"]["direction"]
            .as_str()
            .unwrap_or("right")
            .to_lowercase(),
    };
    match side.as_str() {
        "right" => Ok(TruncationDirection::Right),
        "left" => Ok(TruncationDirection::Left),
        other => Err(entry.refuse("truncation_side", other, "right or left")),
    }
}

/// Refuses a configuration that contradicts BERT's normalizer in `tokenizer.json`: transformers
/// builds it anew from the configuration, unless the tokenizer is of no model's class.
fn check_normalizer(
    dir: &Path,
    normalizer: &Value,
    config: &Value,
    entry: &Entry<'_>,
) -> Result<()> {
    let rebuilds = match entry.text_or_none("tokenizer_class")? {
        Some(class) => !class.starts_with("PreTrainedTokenizer") && class != "TokenizersBackend",
        None => {
            let model = read_json(dir, "config.json")?;
            let model_type = model["model_type"].as_str();
            model_type.is_some_and(|name| ["bert", "distilbert", "mpnet"].contains(&name))
        }
    };
    if !rebuilds || normalizer["type"] != "BertNormalizer" {
        return Ok(());
    }
    // What is not said is true, except for accents, which go with the case.
    let said = |json: &Value, key: &str, default: bool| json[key].as_bool().unwrap_or(default);
    let lower = [
        said(config, "do_lower_case", true),
        said(normalizer, "lowercase", true),
    ];
    let accents = [
        said(config, "strip_accents", lower[0]),
        said(normalizer, "strip_accents", lower[1]),
    ];
    let chinese = [
        said(config, "tokenize_chinese_chars", true),
        said(normalizer, "handle_chinese_chars", true),
    ];
    for (key, [found, expected]) in [
        ("do_lower_case", lower),
        ("strip_accents", accents),
        ("tokenize_chinese_chars", chinese),
    ] {
        if found != expected {
            let unsaid = if config[key].is_null() {
                " (not said)"
            } else {
                ""
            };
            let expected = format!(
                "{expected} as in `{TOKENIZER_FILE}`: say so here, or save the tokenizer again with \
                 transformers"
            );
            return Err(entry.refuse(key, format!("{found}{unsaid}"), &expected));
        }
    }
    Ok(())
}
