//! A frozen language model with an adapter: what it takes to answer for a user.
//!
//! Open an adapter beside its backbone, make a prompt as training made it, turn a user's embedding
//! into soft tokens, then generate or score.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use e2p_model::{
    ChatMessage, Decoder, GenerateRequest, Generation, Generator, Guidance, LoadOptions,
    ModelError, SamplingConfig, Step, StopConditions, Tokenizer,
};

use crate::adapter::{Adapter, BackboneId, Method};
use crate::embed::prompt_input;
use crate::error::{PrefixError, Result};
use crate::prompt::{Prompt, PromptBuilder, PromptConfig};
use crate::score::Prefilled;

/// The soft tokens of one user. Preferred variable name: the user's.
#[derive(Debug, Clone)]
pub struct Prefix(Tensor<2>);

impl Prefix {
    /// The soft tokens as rows of input embeddings, `[n_prefix, d_model]`.
    pub fn rows(&self) -> &Tensor<2> {
        &self.0
    }
}

/// A frozen backbone, and the adapter that personalizes it where there is one. Preferred variable
/// name: `model`.
///
/// Cheap to clone: weights and tokenizer are shared.
#[derive(Clone)]
pub struct Personalized {
    decoder: Decoder,
    tokenizer: Arc<Tokenizer>,
    adapter: Option<Adapter>,
    prompt: PromptConfig,
}

impl Personalized {
    /// Opens the Hugging Face directory `backbone` and the adapter (or the run that trained it)
    /// beside it.
    ///
    /// # Errors
    /// Whatever cannot be read, and [`PrefixError::WrongBackbone`] for an adapter of another
    /// backbone.
    pub fn open(
        backbone: impl AsRef<Path>,
        adapter: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self> {
        let backbone = backbone.as_ref();
        let tokenizer = Tokenizer::from_dir(backbone)?;
        let (decoder, _) = Decoder::from_dir(backbone, options, device)?;
        tokenizer.check_vocab_size(decoder.config().vocab_size)?;
        Self::bare(decoder, tokenizer).with_adapter(backbone, adapter.as_ref())
    }

    /// A backbone alone. A chat without a template begins with the tokenizer's special tokens here,
    /// as its other texts do.
    pub fn bare(decoder: Decoder, tokenizer: Tokenizer) -> Self {
        Self {
            decoder,
            tokenizer: Arc::new(tokenizer),
            adapter: None,
            prompt: PromptConfig {
                special_tokens_in_plain_chats: true,
                ..PromptConfig::default()
            },
        }
    }

    /// The same backbone with the adapter in `adapter`, which may be a run directory. `backbone` is
    /// where the weights were loaded from.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_adapter(&self, backbone: &Path, adapter: &Path) -> Result<Self> {
        let adapter = Adapter::load(&Adapter::find(adapter), self.decoder.device())?;
        let found = BackboneId::of(&self.decoder, backbone)?;
        adapter
            .config
            .check_backbone(&found, &backbone.display().to_string())?;
        Ok(Self {
            prompt: adapter.config.prompt.clone(),
            adapter: Some(adapter),
            ..self.clone()
        })
    }

    /// The same with another day as today in chat templates, such as `2026-11-27`.
    ///
    /// # Errors
    /// [`PrefixError::Config`] for a date that is none.
    pub fn with_date(mut self, date: &str) -> Result<Self> {
        date.clone_into(&mut self.prompt.date);
        self.prompt.now()?;
        Ok(self)
    }

    /// The frozen backbone.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The adapter, where there is one.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Positions that a user's soft tokens take.
    pub fn n_prefix(&self) -> usize {
        self.adapter
            .as_ref()
            .map_or(0, |adapter| adapter.config.projector.n_prefix)
    }

    /// What makes prompts for this model, as training did.
    ///
    /// # Errors
    /// [`PrefixError::Config`] for a recorded date that is none.
    pub fn prompts(&self) -> Result<PromptBuilder<'_>> {
        PromptBuilder::new(&self.tokenizer, self.decoder.config(), &self.prompt)
    }

    /// The prompt of a conversation, whole: nothing is dropped, and running it fails where it is
    /// longer than the context.
    ///
    /// # Errors
    /// As [`PromptBuilder::chat`].
    pub fn chat(&self, messages: &[ChatMessage]) -> Result<Prompt> {
        self.prompts()?.chat(messages, None, usize::MAX)
    }

    /// The prompt of a plain text, whole.
    ///
    /// # Errors
    /// As [`PromptBuilder::text`].
    pub fn text(&self, text: &str) -> Result<Prompt> {
        self.prompts()?.text(text, None, usize::MAX)
    }

    /// The soft tokens of a user with this embedding (`[d_user]`, as the recommender or encoder
    /// gives it) of the space named `space`.
    ///
    /// # Errors
    /// [`PrefixError::WrongSpace`] for vectors of another space or dimension than the adapter was
    /// trained on, [`PrefixError::NonFinite`], [`PrefixError::NoUsers`] where no adapter reads
    /// embeddings.
    pub fn prefix(&self, space: &str, embedding: &[f32]) -> Result<Prefix> {
        let adapter = self.reads_users()?;
        let expected = &adapter.config.embedding_space;
        expected.check(space, embedding.len())?;
        let user = expected.standardise("", embedding)?;
        let user = TensorData::new(user, [1, expected.dim]);
        let user = Tensor::from_data(user, self.decoder.device());
        Ok(Prefix(adapter.projector.forward(user).squeeze_dim(0)))
    }

    /// The soft tokens of an unknown user; of a `soft_prompt` adapter, those of everybody.
    ///
    /// # Errors
    /// [`PrefixError::NoUsers`] without an adapter.
    pub fn default_prefix(&self) -> Result<Prefix> {
        let adapter = self.adapter.as_ref().ok_or(BARE)?;
        Ok(Prefix(adapter.projector.default_prefix(1).squeeze_dim(0)))
    }

    /// A text of at most `max_new_tokens` tokens that goes on from `prompt`, for a user or for
    /// nobody in particular (`None`: the backbone alone).
    ///
    /// # Errors
    /// A prompt and text longer than the context, and whatever the generator refuses.
    pub fn generate(
        &self,
        prompt: &Prompt,
        user: Option<&Prefix>,
        sampling: &SamplingConfig,
        max_new_tokens: usize,
    ) -> Result<String> {
        let request = GenerateRequest {
            prompt: self.input(prompt, user)?,
            guidance: None,
            sampling: sampling.clone(),
            stop: self.stop(max_new_tokens),
        };
        let texts = self.run(&[request], |_| ControlFlow::Continue(()))?;
        Ok(texts.into_iter().map(|text| text.text).collect())
    }

    /// The log-likelihood (nats) of each text as the continuation of `prompt`, for a user or for
    /// the backbone alone. The texts are taken as they stand: [`PromptBuilder::chat_target`] says
    /// how an answer stands in a chat template.
    ///
    /// # Errors
    /// A prompt and text longer than the context; a text without any token.
    pub fn log_likelihoods<T: AsRef<str>>(
        &self,
        prompt: &Prompt,
        user: Option<&Prefix>,
        texts: &[T],
    ) -> Result<Vec<f64>> {
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts {
            ids.push(self.tokenizer.encode(text.as_ref(), false)?);
        }
        if ids.iter().any(Vec::is_empty) {
            return Err(ModelError::EmptyPrompt.into());
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = user.map(|user| user.0.clone().unsqueeze());
        let prefilled = Prefilled::new(&self.decoder, &[prompt], prefix)?;
        let scores = prefilled.log_likelihoods(&self.decoder, &[&ids])?;
        let sum = |tokens: Vec<f32>| tokens.into_iter().map(f64::from).sum();
        Ok(scores.into_iter().flatten().map(sum).collect())
    }

    /// `prompt` with a user's soft tokens in it, as the generator takes it.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn input(&self, prompt: &Prompt, user: Option<&Prefix>) -> Result<e2p_model::PromptInput> {
        prompt_input(&self.decoder, prompt, user.map(|user| user.0.clone()))
    }

    /// How strongly a user counts, for a request about `prompt`: 1 as trained, 0 an unknown user,
    /// above 1 amplified. `None` where it is 1, which needs no second row.
    ///
    /// # Errors
    /// As [`Self::default_prefix`].
    pub fn guidance(&self, prompt: &Prompt, strength: f32) -> Result<Option<Guidance>> {
        if strength == 1.0 {
            return Ok(None);
        }
        let base = self.input(prompt, Some(&self.default_prefix()?))?;
        Ok(Some(Guidance { base, strength }))
    }

    /// Ends a text where the backbone ends one, and after `max_new_tokens` tokens.
    pub fn stop(&self, max_new_tokens: usize) -> StopConditions {
        let config_ids = &self.decoder.config().eos_token_ids;
        StopConditions {
            eos_token_ids: self.tokenizer.eos_token_ids(config_ids),
            strings: Vec::new(),
            max_new_tokens,
        }
    }

    /// Runs requests as one batch; `on_step` sees every token as it comes.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn run(
        &self,
        requests: &[GenerateRequest],
        on_step: impl FnMut(Step<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Generation>> {
        let generator = Generator::new(&self.decoder, Some(self.tokenizer.as_ref()));
        Ok(generator.generate(requests, on_step)?)
    }

    fn reads_users(&self) -> Result<&Adapter> {
        let adapter = self.adapter.as_ref().ok_or(BARE)?;
        match adapter.config.method {
            Method::E2p => Ok(adapter),
            Method::SoftPrompt => Err(PrefixError::NoUsers {
                found: "an adapter of method soft_prompt",
            }),
        }
    }
}

const BARE: PrefixError = PrefixError::NoUsers {
    found: "a backbone without an adapter",
};
