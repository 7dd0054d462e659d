//! Texts to rows of token ids, as the encoder was trained to read them.

use std::path::Path;

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
        serde_json::Value::Null
    };
    let entry = Entry::new(CONFIG_FILE, &config);
    // Tokenizers named after a model rebuild BERT's normalizer from their configuration.
    let normalizer = &tokenizer["normalizer"];
    let class = entry.text_or("tokenizer_class", "PreTrainedTokenizerFast")?;
    let rebuilds = !class.starts_with("PreTrainedTokenizer") && class != "TokenizersBackend";
    if rebuilds && normalizer["type"] == "BertNormalizer" {
        for (key, name) in [
            ("do_lower_case", "lowercase"),
            ("strip_accents", "strip_accents"),
            ("tokenize_chinese_chars", "handle_chinese_chars"),
        ] {
            let said = config.get(key).unwrap_or(&normalizer[name]);
            if *said != normalizer[name] {
                let expected = format!(
                    "{} as in `{TOKENIZER_FILE}`: save the tokenizer again with transformers",
                    normalizer[name]
                );
                return Err(entry.refuse(key, said, &expected));
            }
        }
    }
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
