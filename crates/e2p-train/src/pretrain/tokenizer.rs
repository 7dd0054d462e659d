//! The tokenizer of a pretrained backbone: byte-level BPE as GPT-2's, trained on the same text.

use std::path::Path;

use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder, TokenizerImpl};

use super::weights::write_json;
use crate::error::{Result, TrainError};

/// Ends every document and pads nothing: beginning and end of sequence in one, as in GPT-2.
const END_OF_TEXT: &str = "<|endoftext|>";

/// The chat format of the saved backbone, the one of small dialogue models: `User: …\nBot:
/// …<|endoftext|>\n`.
const CHAT_TEMPLATE: &str = "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\nBot:' }}\
{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + '<|endoftext|>\n' }}{% else %}{{ m['content'] + '\n' }}{% endif %}{% endfor %}";

pub(super) type ByteLevelBpe =
    TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>;

/// Trains a byte-level BPE as GPT-2's and writes `tokenizer.json` with its configuration.
pub(super) fn train_tokenizer(
    vocab_size: usize,
    documents: &[String],
    out: &Path,
) -> Result<ByteLevelBpe> {
    let failed = |error: tokenizers::Error| TrainError::Tokenizer {
        reason: error.to_string(),
    };
    let byte_level = ByteLevel::new(false, true, true);
    let mut tokenizer: ByteLevelBpe = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(ByteLevel::new(false, false, true)))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    tokenizer
        .train(&mut trainer, documents.iter().map(String::as_str))
        .map_err(failed)?;
    tokenizer
        .save(out.join("tokenizer.json"), false)
        .map_err(failed)?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT,
        "chat_template": CHAT_TEMPLATE,
    });
    write_json(&out.join("tokenizer_config.json"), &config)?;
    Ok(tokenizer)
}
