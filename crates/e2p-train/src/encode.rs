//! Examples to token rows: chat rendering, truncation, and the slot of the soft tokens.

use e2p_data::{Example, Message, Prompt};
use e2p_model::{ChatMessage, ChatOptions, DecoderConfig, Tokenizer};
use e2p_prefix::{PLACEHOLDER, PrefixError, PrefixPosition, SplicedRow};

use crate::error::Result;
use crate::recipe::PromptRecipe;

/// Turns examples into rows of token ids for one backbone. Preferred variable name: `encoder`.
#[derive(Clone)]
pub struct ExampleEncoder<'a> {
    tokenizer: &'a Tokenizer,
    recipe: &'a PromptRecipe,
    /// Tokens that prompt and target may take together.
    budget: usize,
    bos: Option<u32>,
    eos: Vec<u32>,
}

/// Which text a row carries beside the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileText<'a> {
    /// None.
    Without,
    /// These sentences, as a system message or as the first lines of a text prompt.
    With(&'a [String]),
}

/// A tokenized prompt and the slot of the soft tokens in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncodedPrompt {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The soft tokens go in front of this one; `ids.len()` for behind all.
    pub slot: usize,
}

impl EncodedPrompt {
    /// The row for a run with soft tokens.
    pub fn spliced(&self, target: &[u32]) -> SplicedRow {
        SplicedRow::new(&self.ids, self.slot, target)
    }

    /// The row for a run without.
    pub fn plain(&self, target: &[u32]) -> SplicedRow {
        SplicedRow::plain(&self.ids, target)
    }
}

impl<'a> ExampleEncoder<'a> {
    /// An encoder for a backbone with `n_prefix` soft tokens in its context.
    pub fn new(
        tokenizer: &'a Tokenizer,
        config: &DecoderConfig,
        recipe: &'a PromptRecipe,
        n_prefix: usize,
    ) -> Self {
        Self {
            tokenizer,
            recipe,
            budget: config.max_seq_len.saturating_sub(n_prefix),
            bos: tokenizer.bos_token_id().or(config.bos_token_id),
            eos: tokenizer.eos_token_ids(&config.eos_token_ids),
        }
    }

    /// The same without a context to fit into: nothing is truncated, and the caller checks lengths.
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.budget = usize::MAX;
        self
    }

    /// The target's ids, end of turn included; `None` when it is empty or longer than the recipe or the context allows.
    ///
    /// In a chat the target is what the template adds to the prompt for the answer, up to its first end-of-turn token, so leading
    /// spaces and markers are those the backbone was trained with.
    ///
    /// # Errors
    /// A template that fails on these messages.
    pub fn target(&self, example: &Example, target: &str) -> Result<Option<Vec<u32>>> {
        let text = match &example.prompt {
            Prompt::Text(_) => target.to_owned(),
            Prompt::Chat(messages) => self.chat_answer(messages, target)?,
        };
        let mut ids = self.tokenizer.encode(&text, false)?;
        match ids.iter().position(|id| self.eos.contains(id)) {
            Some(end) => ids.truncate(end + 1),
            None => ids.extend(self.eos.first()),
        }
        let limit = if self.recipe.max_target_tokens == 0 {
            usize::MAX
        } else {
            self.recipe.max_target_tokens
        };
        // At least one token of prompt must fit beside it.
        let is_usable = !target.trim().is_empty() && ids.len() <= limit && ids.len() < self.budget;
        Ok(is_usable.then_some(ids))
    }

    /// The prompt's ids with room for a target of `target_len` tokens, and the slot of the soft tokens.
    ///
    /// # Errors
    /// A template that fails, or a placeholder position without exactly one marker.
    pub fn prompt(
        &self,
        example: &Example,
        profile: ProfileText<'_>,
        target_len: usize,
    ) -> Result<EncodedPrompt> {
        let room = self.budget.saturating_sub(target_len).max(1);
        let limit = if self.recipe.max_prompt_tokens == 0 {
            room
        } else {
            self.recipe.max_prompt_tokens.min(room)
        };
        // The text condition may spend its profile budget on top of the recipe's prompt limit, but never the context.
        let limit = if profile == ProfileText::Without {
            limit
        } else {
            (limit + self.recipe.max_profile_tokens).min(room)
        };
        let profile = match profile {
            ProfileText::With(sentences) => self.profile_text(sentences)?,
            ProfileText::Without => None,
        };
        match &example.prompt {
            Prompt::Text(text) => {
                let text =
                    profile.map_or_else(|| text.clone(), |profile| format!("{profile}\n{text}"));
                self.finish(&text, true, 0, limit)
            }
            Prompt::Chat(messages) => self.chat(messages, profile, limit),
        }
    }

    fn chat(
        &self,
        messages: &[Message],
        profile: Option<String>,
        limit: usize,
    ) -> Result<EncodedPrompt> {
        let system: Vec<ChatMessage> = match profile {
            Some(content) => vec![ChatMessage {
                role: "system".into(),
                content,
            }],
            None => Vec::new(),
        };
        let own_system = messages
            .iter()
            .take_while(|message| message.role == "system")
            .count();
        let mut dropped = 0;
        loop {
            let kept = messages[..own_system]
                .iter()
                .chain(&messages[own_system + dropped..]);
            let all: Vec<ChatMessage> = system
                .iter()
                .cloned()
                .chain(kept.map(chat_message))
                .collect();
            let text = self.tokenizer.render_chat(&all, &ChatOptions::default())?;
            let n_system = system.len() + own_system;
            let system_text = if n_system == 0 {
                String::new()
            } else {
                let options = ChatOptions {
                    add_generation_prompt: false,
                    ..ChatOptions::default()
                };
                self.tokenizer
                    .render_chat(&all[..n_system], &options)
                    .unwrap_or_default()
            };
            // A template that opens or closes differently without further messages: no common beginning, then no system part.
            let system_bytes = if text.starts_with(&system_text) {
                system_text.len()
            } else {
                0
            };
            let encoded = self.finish(&text, false, system_bytes, usize::MAX)?;
            let is_last = own_system + dropped + 1 >= messages.len();
            if encoded.ids.len() <= limit || is_last {
                return Ok(self.cut(encoded, limit));
            }
            dropped += 1;
        }
    }

    /// Tokenizes a rendered prompt and finds the slot; `system_bytes` of it are the system message.
    fn finish(
        &self,
        text: &str,
        add_special_tokens: bool,
        system_bytes: usize,
        limit: usize,
    ) -> Result<EncodedPrompt> {
        let encode = |text: &str, special: bool| self.tokenizer.encode(text, special);
        let encoded = match self.recipe.position {
            PrefixPosition::Placeholder => {
                let found = text.matches(PLACEHOLDER).count();
                let Some((before, after)) = text.split_once(PLACEHOLDER).filter(|_| found == 1)
                else {
                    return Err(PrefixError::Placeholder { found }.into());
                };
                let mut ids = encode(before, add_special_tokens)?;
                let slot = ids.len();
                ids.extend(encode(after, false)?);
                EncodedPrompt { ids, slot }
            }
            PrefixPosition::AfterSystem if system_bytes > 0 => {
                // Two pieces, so that no token straddles the border.
                let mut ids = encode(&text[..system_bytes], add_special_tokens)?;
                let slot = ids.len();
                ids.extend(encode(&text[system_bytes..], false)?);
                EncodedPrompt { ids, slot }
            }
            position => {
                let ids = encode(text, add_special_tokens)?;
                let has_bos = self.bos.is_some() && ids.first() == self.bos.as_ref();
                let slot = match position {
                    PrefixPosition::Start => 0,
                    PrefixPosition::BeforeTarget => ids.len(),
                    _ => usize::from(has_bos),
                };
                EncodedPrompt { ids, slot }
            }
        };
        Ok(self.cut(encoded, limit))
    }

    /// Drops tokens on the left, but not a leading bos.
    fn cut(&self, mut encoded: EncodedPrompt, limit: usize) -> EncodedPrompt {
        let excess = encoded.ids.len().saturating_sub(limit);
        if excess > 0 {
            let keep = usize::from(
                self.bos.is_some() && encoded.ids.first() == self.bos.as_ref() && limit > 1,
            );
            encoded.ids.drain(keep..keep + excess);
            if encoded.slot > keep {
                encoded.slot = encoded.slot.saturating_sub(excess).max(keep);
            }
        }
        encoded
    }

    /// The profile as one line, cut to its token budget at a sentence.
    fn profile_text(&self, sentences: &[String]) -> Result<Option<String>> {
        let mut text = String::new();
        for sentence in sentences {
            let longer = if text.is_empty() {
                sentence.clone()
            } else {
                format!("{text} {sentence}")
            };
            if self.tokenizer.encode(&longer, false)?.len() > self.recipe.max_profile_tokens {
                break;
            }
            text = longer;
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// What the template adds for the answer.
    fn chat_answer(&self, messages: &[Message], target: &str) -> Result<String> {
        let mut all: Vec<ChatMessage> = messages.iter().map(chat_message).collect();
        let prompt = self.tokenizer.render_chat(&all, &ChatOptions::default())?;
        all.push(ChatMessage {
            role: "assistant".into(),
            content: target.to_owned(),
        });
        let options = ChatOptions {
            add_generation_prompt: false,
            ..ChatOptions::default()
        };
        let whole = self.tokenizer.render_chat(&all, &options)?;
        Ok(whole
            .strip_prefix(&prompt)
            .map_or_else(|| target.to_owned(), str::to_owned))
    }
}

fn chat_message(message: &Message) -> ChatMessage {
    ChatMessage {
        role: message.role.clone(),
        content: message.content.clone(),
    }
}
