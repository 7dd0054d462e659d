//! Prompts: a chat or a text becomes token ids and the slot of the soft tokens.
//!
//! Training, evaluation, generation and scoring all make their prompts here, from one
//! [`PromptConfig`]. The adapter records that configuration, so that a prompt at serving time is
//! the prompt that the projector was trained behind.

use std::time::SystemTime;

use e2p_model::{ChatMessage, ChatOptions, DecoderConfig, ModelError, Tokenizer};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::config::{PLACEHOLDER, PrefixPosition};
use crate::error::{PrefixError, Result};
use crate::spliced::SplicedRow;

/// How prompts are made. A recipe's `[prompt]` table, and what an adapter records of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PromptConfig {
    /// Where the soft tokens go.
    pub position: PrefixPosition,
    /// Longest prompt in tokens; older messages are dropped first, then tokens on the left. 0: as
    /// the context allows.
    pub max_prompt_tokens: usize,
    /// Examples with longer targets are left out of training and cut in evaluation. 0: no limit but
    /// the context.
    pub max_target_tokens: usize,
    /// Put the user's profile, as text, into the system message: the `text+e2p` way of training.
    pub profile: bool,
    /// Longest profile text in tokens.
    pub max_profile_tokens: usize,
    /// The date that chat templates read as today's, as `2026-11-27`. Empty: the command line takes
    /// the day on which training begins; a library reads no clock and takes 1970-01-01.
    pub date: String,
    /// Put the tokenizer's special tokens around a chat where the backbone has no chat template.
    /// Templates write their own.
    pub special_tokens_in_plain_chats: bool,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self {
            position: PrefixPosition::default(),
            max_prompt_tokens: 0,
            max_target_tokens: 0,
            profile: false,
            max_profile_tokens: 128,
            date: String::new(),
            special_tokens_in_plain_chats: false,
        }
    }
}

impl PromptConfig {
    /// The instant that chat templates read as now: the date's first second in UTC.
    ///
    /// # Errors
    /// [`PrefixError::Config`] for a date that is not `YYYY-MM-DD`.
    pub fn now(&self) -> Result<SystemTime> {
        if self.date.is_empty() {
            return Ok(SystemTime::UNIX_EPOCH);
        }
        let day: std::result::Result<Date, _> = self.date.parse();
        let midnight = day.and_then(|day| day.to_zoned_datetime(TimeZone::UTC));
        midnight
            .and_then(|midnight| SystemTime::try_from(midnight.timestamp()))
            .map_err(|_| PrefixError::Config {
                option: "prompt.date".into(),
                found: format!("\"{}\"", self.date),
                expected: "a day such as 2026-11-27, or nothing".into(),
            })
    }
}

/// The day of `now` in UTC, in the form of [`PromptConfig::date`].
pub fn date_of(now: SystemTime) -> String {
    Timestamp::try_from(now)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned_datetime(TimeZone::UTC)
        .date()
        .to_string()
}

/// A tokenized prompt and the slot of the soft tokens in it. Preferred variable name: `prompt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prompt {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The soft tokens go in front of this id; `ids.len()` for behind all.
    pub slot: usize,
}

impl Prompt {
    /// The row that predicts `target` with soft tokens in the slot.
    pub fn spliced(&self, target: &[u32]) -> SplicedRow {
        SplicedRow::new(&self.ids, self.slot, target)
    }

    /// The row that predicts `target` without soft tokens.
    pub fn plain(&self, target: &[u32]) -> SplicedRow {
        SplicedRow::plain(&self.ids, target)
    }
}

/// Makes prompts for one backbone. Preferred variable name: `prompts`.
#[derive(Clone)]
pub struct PromptBuilder<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a PromptConfig,
    now: SystemTime,
    bos: Option<u32>,
    eos: Vec<u32>,
}

impl<'a> PromptBuilder<'a> {
    /// A builder that follows `config`, with the special tokens that `tokenizer` and `decoder`
    /// name.
    ///
    /// # Errors
    /// [`PrefixError::Config`] for a date that is none.
    pub fn new(
        tokenizer: &'a Tokenizer,
        decoder: &DecoderConfig,
        config: &'a PromptConfig,
    ) -> Result<Self> {
        Ok(Self {
            tokenizer,
            config,
            now: config.now()?,
            bos: tokenizer.bos_token_id().or(decoder.bos_token_id),
            eos: tokenizer.eos_token_ids(&decoder.eos_token_ids),
        })
    }

    /// The prompt of a plain text, behind the `profile` text where there is one.
    ///
    /// Tokens beyond `limit` are dropped on the left, but not a leading beginning-of-sequence
    /// token. An empty text becomes that token.
    ///
    /// # Errors
    /// The tokenizer's; [`PrefixError::Placeholder`] where the position asks for one marker and
    /// there is none, or more. [`e2p_model::ModelError::EmptyPrompt`] for an empty text of a
    /// backbone without such a token.
    pub fn text(&self, text: &str, profile: Option<&str>, limit: usize) -> Result<Prompt> {
        let with_profile = profile.map(|profile| format!("{profile}\n{text}"));
        let text = with_profile.as_deref().unwrap_or(text);
        let prompt = self.tokenize(text, true, 0)?;
        self.or_bos(self.cut(prompt, limit))
    }

    /// The prompt of a conversation in the backbone's chat template, with the `profile` text as a
    /// system message in front where there is one.
    ///
    /// Where it is longer than `limit` tokens, the oldest messages behind the system messages are
    /// dropped, then tokens on the left.
    ///
    /// # Errors
    /// As [`Self::text`], and a template that refuses the conversation.
    pub fn chat(
        &self,
        messages: &[ChatMessage],
        profile: Option<&str>,
        limit: usize,
    ) -> Result<Prompt> {
        let profile = profile.map(|content| ChatMessage {
            role: "system".into(),
            content: content.into(),
        });
        let is_system = |message: &&ChatMessage| message.role == "system";
        let own_system = messages.iter().take_while(is_system).count();
        let n_system = own_system + usize::from(profile.is_some());
        let mut dropped = 0;
        loop {
            let all: Vec<ChatMessage> = profile
                .iter()
                .chain(&messages[..own_system])
                .chain(&messages[own_system + dropped..])
                .cloned()
                .collect();
            let prompt = self.rendered(&all, n_system)?;
            let is_last = own_system + dropped + 1 >= messages.len();
            if prompt.ids.len() <= limit || is_last {
                return self.or_bos(self.cut(prompt, limit));
            }
            dropped += 1;
        }
    }

    /// Ids of `answer` as the chat template writes it behind `messages`, up to the first
    /// end-of-turn token, which is added where the template writes none. Leading spaces and markers
    /// are those that the backbone was trained with.
    ///
    /// # Errors
    /// A template that refuses the conversation.
    pub fn chat_target(&self, messages: &[ChatMessage], answer: &str) -> Result<Vec<u32>> {
        let prompt = self.tokenizer.render_chat(messages, &self.options(true))?;
        let mut all = messages.to_vec();
        all.push(ChatMessage {
            role: "assistant".into(),
            content: answer.to_owned(),
        });
        let whole = self.tokenizer.render_chat(&all, &self.options(false))?;
        self.text_target(whole.strip_prefix(&prompt).unwrap_or(answer))
    }

    /// Ids of `text` behind a plain-text prompt, with the token that ends a text.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn text_target(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(text, false)?;
        match ids.iter().position(|id| self.eos.contains(id)) {
            Some(end) => ids.truncate(end + 1),
            None => ids.extend(self.eos.first()),
        }
        Ok(ids)
    }

    /// The sentences as one line, as many as fit into the profile's token limit; `None` where none
    /// does.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn profile(&self, sentences: &[String]) -> Result<Option<String>> {
        let mut text = String::new();
        for sentence in sentences {
            let longer = if text.is_empty() {
                sentence.clone()
            } else {
                format!("{text} {sentence}")
            };
            if self.tokenizer.encode(&longer, false)?.len() > self.config.max_profile_tokens {
                break;
            }
            text = longer;
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// A conversation as ids; its first `n_system` messages are the system part.
    fn rendered(&self, messages: &[ChatMessage], n_system: usize) -> Result<Prompt> {
        let text = self.tokenizer.render_chat(messages, &self.options(true))?;
        let system = match n_system {
            0 => String::new(),
            n => self
                .tokenizer
                .render_chat(&messages[..n], &self.options(false))
                .unwrap_or_default(),
        };
        // A template that opens or closes differently without further messages: no common
        // beginning, then no system part.
        let system_bytes = if text.starts_with(&system) {
            system.len()
        } else {
            0
        };
        let is_plain = self.tokenizer.chat_template().is_plain();
        let special_tokens = is_plain && self.config.special_tokens_in_plain_chats;
        self.tokenize(&text, special_tokens, system_bytes)
    }

    /// Tokenizes a rendered prompt and finds the slot; the first `system_bytes` of it are the
    /// system part.
    fn tokenize(&self, text: &str, special_tokens: bool, system_bytes: usize) -> Result<Prompt> {
        // Two pieces where the slot is inside, so that no token straddles it.
        let pieces = |before: &str, after: &str| -> Result<Prompt> {
            let mut ids = self.tokenizer.encode(before, special_tokens)?;
            let slot = ids.len();
            ids.extend(self.tokenizer.encode(after, false)?);
            Ok(Prompt { ids, slot })
        };
        match self.config.position {
            PrefixPosition::Placeholder => {
                let found = text.matches(PLACEHOLDER).count();
                match text.split_once(PLACEHOLDER).filter(|_| found == 1) {
                    Some((before, after)) => pieces(before, after),
                    None => Err(PrefixError::Placeholder { found }),
                }
            }
            PrefixPosition::AfterSystem if system_bytes > 0 => {
                pieces(&text[..system_bytes], &text[system_bytes..])
            }
            position => {
                let ids = self.tokenizer.encode(text, special_tokens)?;
                let slot = match position {
                    PrefixPosition::Start => 0,
                    PrefixPosition::BeforeTarget => ids.len(),
                    _ => usize::from(self.begins_with_bos(&ids)),
                };
                Ok(Prompt { ids, slot })
            }
        }
    }

    /// Drops tokens on the left, but not a leading beginning-of-sequence token.
    fn cut(&self, mut prompt: Prompt, limit: usize) -> Prompt {
        let excess = prompt.ids.len().saturating_sub(limit);
        if excess > 0 {
            let keep = usize::from(limit > 1 && self.begins_with_bos(&prompt.ids));
            prompt.ids.drain(keep..keep + excess);
            if prompt.slot > keep {
                prompt.slot = prompt.slot.saturating_sub(excess).max(keep);
            }
        }
        prompt
    }

    /// What a backbone begins an empty text with, in place of no token at all.
    fn or_bos(&self, prompt: Prompt) -> Result<Prompt> {
        if !prompt.ids.is_empty() {
            return Ok(prompt);
        }
        let bos = self.bos.ok_or(ModelError::EmptyPrompt)?;
        Ok(Prompt {
            ids: vec![bos],
            slot: 1,
        })
    }

    fn begins_with_bos(&self, ids: &[u32]) -> bool {
        self.bos.is_some() && ids.first() == self.bos.as_ref()
    }

    fn options(&self, add_generation_prompt: bool) -> ChatOptions {
        ChatOptions {
            add_generation_prompt,
            now: self.now,
        }
    }
}
