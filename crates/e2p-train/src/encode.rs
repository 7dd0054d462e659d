//! Examples to token rows: which target is usable, and how much of the profile a prompt carries.
//!
//! How a prompt is made stands in [`PromptBuilder`]; this file decides what goes into it.

use e2p_data::{Example, Message, Prompt as Text};
use e2p_model::{ChatMessage, DecoderConfig, Tokenizer};
use e2p_prefix::{Prompt, PromptBuilder, PromptConfig};

use crate::error::Result;

/// Turns examples into rows of token ids for one backbone. Preferred variable name: `encoder`.
#[derive(Clone)]
pub struct ExampleEncoder<'a> {
    prompts: PromptBuilder<'a>,
    config: &'a PromptConfig,
    /// Tokens that prompt and target may take together.
    budget: usize,
}

/// Which text a row carries beside the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileText<'a> {
    /// None.
    Without,
    /// These sentences, as a system message or as the first lines of a text prompt.
    With(&'a [String]),
}

impl<'a> ExampleEncoder<'a> {
    /// An encoder for a backbone with `n_prefix` soft tokens in its context.
    ///
    /// # Errors
    /// A `prompt.date` that is no day.
    pub fn new(
        tokenizer: &'a Tokenizer,
        decoder: &DecoderConfig,
        config: &'a PromptConfig,
        n_prefix: usize,
    ) -> Result<Self> {
        Ok(Self {
            prompts: PromptBuilder::new(tokenizer, decoder, config)?,
            config,
            budget: decoder.max_seq_len.saturating_sub(n_prefix),
        })
    }

    /// The target's ids, end of turn included; `None` when it is empty or longer than the recipe or
    /// the context allows.
    ///
    /// # Errors
    /// A template that fails on these messages.
    pub fn target(&self, example: &Example, target: &str) -> Result<Option<Vec<u32>>> {
        let ids = match &example.prompt {
            Text::Text(_) => self.prompts.text_target(target)?,
            Text::Chat(messages) => self.prompts.chat_target(&chat(messages), target)?,
        };
        let limit = match self.config.max_target_tokens {
            0 => usize::MAX,
            limit => limit,
        };
        // At least one token of prompt must fit beside it.
        let is_usable = !target.trim().is_empty() && ids.len() <= limit && ids.len() < self.budget;
        Ok(is_usable.then_some(ids))
    }

    /// The prompt with room for a target of `target_len` tokens.
    ///
    /// # Errors
    /// A template that fails, or a placeholder position without exactly one marker.
    pub fn prompt(
        &self,
        example: &Example,
        profile: ProfileText<'_>,
        target_len: usize,
    ) -> Result<Prompt> {
        let room = self.budget.saturating_sub(target_len).max(1);
        let limit = match self.config.max_prompt_tokens {
            0 => room,
            limit => limit.min(room),
        };
        // The profile may take its own tokens on top of the prompt's limit, but never the context.
        let (profile, limit) = match profile {
            ProfileText::Without => (None, limit),
            ProfileText::With(sentences) => (
                self.prompts.profile(sentences)?,
                (limit + self.config.max_profile_tokens).min(room),
            ),
        };
        let profile = profile.as_deref();
        Ok(match &example.prompt {
            Text::Text(text) => self.prompts.text(text, profile, limit)?,
            Text::Chat(messages) => self.prompts.chat(&chat(messages), profile, limit)?,
        })
    }
}

/// Messages as the backbone's tokenizer takes them.
fn chat(messages: &[Message]) -> Vec<ChatMessage> {
    let convert = |message: &Message| ChatMessage {
        role: message.role.clone(),
        content: message.content.clone(),
    };
    messages.iter().map(convert).collect()
}
