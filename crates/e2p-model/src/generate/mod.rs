//! Generates text: one pass over the prompts, then one token a row and step on top of the cache.
//!
//! A prompt is token ids or input embeddings; where the embeddings come from is the caller's
//! business. Prompts of unequal length are padded on the left, so that all rows go on at the same
//! slot. A row that ends leaves the batch, so the others neither wait for it nor compute it. Rows
//! have their own sampler, limits and stop conditions: a row's text does not depend on the rows
//! beside it.

mod sampler;
mod stop;
mod stream;

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor, s};

use crate::decoder::{Decoder, Padding};
use crate::error::{ModelError, Result};
use crate::pad::pad_rows;

pub use sampler::{Sampler, SamplingConfig, argmax};
pub use stop::{Finish, StopConditions};
pub use stream::{Detokenizer, TextStream};

/// What a text goes on from.
#[derive(Debug, Clone)]
pub enum PromptInput {
    /// Token ids.
    Ids(Vec<u32>),
    /// Input embeddings.
    Embeds {
        /// `[seq_len, d_model]`, on the decoder's device and in its data type.
        inputs_embeds: Tensor<2>,
        /// The ids among them, for the repetition penalty; may be empty.
        ids: Vec<u32>,
    },
}

impl PromptInput {
    /// Positions it takes.
    pub fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Embeds { inputs_embeds, .. } => inputs_embeds.dims()[0],
        }
    }

    /// Whether it takes no position at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ids(&self) -> &[u32] {
        match self {
            Self::Ids(ids) | Self::Embeds { ids, .. } => ids,
        }
    }
}

/// A second prompt that a row is contrasted with at every token: `logits = base + strength (prompt
/// - base)`.
///
/// 1 is the prompt alone, 0 the base alone, above 1 amplifies what the prompt adds to the base
/// (classifier-free guidance for language models, arXiv 2306.17806). Twice the work of a plain row.
#[derive(Debug, Clone)]
pub struct Guidance {
    /// What the prompt is contrasted with; it goes on with the same tokens.
    pub base: PromptInput,
    /// How far to go from the base towards the prompt.
    pub strength: f32,
}

/// One row of a batch. Preferred variable name: `request`.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// What the text goes on from.
    pub prompt: PromptInput,
    /// What to contrast it with, if anything.
    pub guidance: Option<Guidance>,
    /// How tokens are chosen.
    pub sampling: SamplingConfig,
    /// What ends the text.
    pub stop: StopConditions,
}

impl GenerateRequest {
    /// The prompt and what it is contrasted with.
    fn prompts(&self) -> impl Iterator<Item = &PromptInput> {
        let base = self.guidance.as_ref().map(|guidance| &guidance.base);
        std::iter::once(&self.prompt).chain(base)
    }
}

/// The row of each row of the cache: a guided row has two, its own and its base's behind it.
fn tracks(requests: &[GenerateRequest], active: &[usize]) -> Vec<usize> {
    let of = |row: &usize| std::iter::repeat_n(*row, requests[*row].prompts().count());
    active.iter().flat_map(of).collect()
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The new ids, an end-of-sequence token included.
    pub ids: Vec<u32>,
    /// Their text without special tokens, cut before a stop string. Empty without a detokenizer.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// One new token of one row, as the callback sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'s> {
    /// Index of the request.
    pub row: usize,
    /// The new token.
    pub id: u32,
    /// Text that became certain with it, often empty: never half a character, never what may become
    /// a stop string.
    pub text: &'s str,
    /// Set on the row's last step.
    pub finish: Option<Finish>,
}

/// Runs a decoder as a text generator. Preferred variable name: `generator`.
pub struct Generator<'a> {
    decoder: &'a Decoder,
    detokenizer: Option<&'a dyn Detokenizer>,
}

impl<'a> Generator<'a> {
    /// A generator of token ids, and of text where a detokenizer (such as `Tokenizer`) is given.
    pub fn new(decoder: &'a Decoder, detokenizer: Option<&'a dyn Detokenizer>) -> Self {
        Self {
            decoder,
            detokenizer,
        }
    }

    /// Generates one text for each request, in order. `on_step` sees every token as it comes; if it
    /// returns [`ControlFlow::Break`], all rows end with [`Finish::Interrupted`].
    ///
    /// # Errors
    /// Before anything is computed: [`ModelError::EmptyPrompt`]; [`ModelError::ContextOverflow`] if
    /// a prompt and its `max_new_tokens` exceed the context; [`ModelError::Sampling`]. Later:
    /// [`ModelError::Logits`] if the model yields NaN, [`ModelError::TokenId`] for an id without
    /// embedding, and the detokenizer's errors.
    ///
    /// # Panics
    /// If a request has stop strings and there is no detokenizer to find them with.
    pub fn generate(
        &self,
        requests: &[GenerateRequest],
        mut on_step: impl FnMut(Step<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Generation>> {
        let mut rows = self.rows(requests)?;
        let mut active: Vec<usize> = (0..rows.len())
            .filter(|row| rows[*row].max_new_tokens() > 0)
            .collect();
        if active.is_empty() {
            return rows.into_iter().map(Row::into_generation).collect();
        }

        let (inputs_embeds, row_starts) = self.embed(requests, &active)?;
        let longest = inputs_embeds.dims()[1];
        let most_new = active
            .iter()
            .map(|row| rows[*row].max_new_tokens())
            .max()
            .unwrap_or(0);
        // The last token is never fed back.
        let mut cache = self.decoder.new_cache(row_starts, longest + most_new - 1);
        let mut hidden = self.decoder.forward_cached(inputs_embeds, &mut cache)?;
        loop {
            let mut logits = self.last_logits(hidden);
            let mut logits = logits.chunks_mut(self.decoder.config().vocab_size);
            let mut next = || logits.next().expect("a row of logits for each track");
            let mut interrupted = false;
            for row in &active {
                let own = next();
                if let Some(guidance) = &requests[*row].guidance {
                    for (own, base) in own.iter_mut().zip(next()) {
                        *own = *base + guidance.strength * (*own - *base);
                    }
                }
                let step = rows[*row].advance(own)?;
                interrupted |= on_step(Step { row: *row, ..step }).is_break();
            }
            if interrupted {
                break;
            }
            let kept: Vec<usize> = (0..active.len())
                .filter(|slot| rows[active[*slot]].finish.is_none())
                .collect();
            if kept.is_empty() {
                break;
            }
            if kept.len() < active.len() {
                let tracks = tracks(requests, &active);
                let is_kept = |track: &usize| rows[tracks[*track]].finish.is_none();
                let kept_tracks: Vec<usize> = (0..tracks.len()).filter(is_kept).collect();
                cache = cache.select_rows(&kept_tracks, cache.capacity());
                active = kept.into_iter().map(|slot| active[slot]).collect();
            }
            let last: Vec<[u32; 1]> = tracks(requests, &active)
                .into_iter()
                .map(|row| [rows[row].last_id()])
                .collect();
            let (inputs_embeds, _) = self.decoder.embed_rows(&last, Padding::Left)?;
            hidden = self.decoder.forward_cached(inputs_embeds, &mut cache)?;
        }
        rows.into_iter().map(Row::into_generation).collect()
    }

    /// Checks all requests and sets their rows up.
    fn rows<'r>(&self, requests: &'r [GenerateRequest]) -> Result<Vec<Row<'r>>>
    where
        'a: 'r,
    {
        let context = self.decoder.config().max_seq_len;
        requests
            .iter()
            .map(|request| {
                for prompt in request.prompts() {
                    if prompt.is_empty() {
                        return Err(ModelError::EmptyPrompt);
                    }
                    let needed = prompt.len().saturating_add(request.stop.max_new_tokens);
                    if needed > context {
                        return Err(ModelError::ContextOverflow { needed, context });
                    }
                }
                assert!(
                    self.detokenizer.is_some() || request.stop.strings.is_empty(),
                    "stop strings need a detokenizer"
                );
                Row::new(request, self.detokenizer)
            })
            .collect()
    }

    /// Input embeddings of the active tracks, `[tracks, longest, d_model]`, and the slots at which
    /// they begin.
    fn embed(
        &self,
        requests: &[GenerateRequest],
        active: &[usize],
    ) -> Result<(Tensor<3>, Vec<usize>)> {
        let prompts: Vec<&PromptInput> = active
            .iter()
            .flat_map(|row| requests[*row].prompts())
            .collect();
        if prompts
            .iter()
            .all(|prompt| matches!(prompt, PromptInput::Ids(_)))
        {
            let ids: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids()).collect();
            return self.decoder.embed_rows(&ids, Padding::Left);
        }
        let rows = prompts.into_iter().map(|prompt| match prompt {
            PromptInput::Ids(ids) => Ok(self
                .decoder
                .embed_rows(&[ids], Padding::Left)?
                .0
                .squeeze_dim(0)),
            PromptInput::Embeds { inputs_embeds, .. } => Ok(inputs_embeds.clone()),
        });
        pad_rows(&rows.collect::<Result<Vec<_>>>()?, Padding::Left)
    }

    /// Logits after the last slot, row after row, f32.
    fn last_logits(&self, hidden: Tensor<3>) -> Vec<f32> {
        let [batch_size, seq_len, d_model] = hidden.dims();
        let last = hidden
            .slice(s![.., seq_len - 1.., ..])
            .reshape([batch_size, d_model]);
        let logits = self.decoder.logits(last).cast(DType::F32).into_data();
        logits.try_into_vec().expect("cast to f32 just before")
    }
}

/// A row on its way.
struct Row<'r> {
    request: &'r GenerateRequest,
    sampler: Sampler,
    stream: Option<TextStream<'r>>,
    ids: Vec<u32>,
    finish: Option<Finish>,
}

impl<'r> Row<'r> {
    fn new(request: &'r GenerateRequest, detokenizer: Option<&'r dyn Detokenizer>) -> Result<Self> {
        let sampler = Sampler::new(request.sampling.clone(), request.prompt.ids())?;
        let stream =
            detokenizer.map(|detokenizer| TextStream::new(detokenizer, &request.stop.strings));
        Ok(Self {
            request,
            sampler,
            stream,
            ids: Vec::new(),
            finish: None,
        })
    }

    fn max_new_tokens(&self) -> usize {
        self.request.stop.max_new_tokens
    }

    fn last_id(&self) -> u32 {
        *self
            .ids
            .last()
            .expect("a row is fed back only after its first token")
    }

    /// Chooses the next token and says what it means. The step's `row` is left to the caller.
    fn advance(&mut self, logits: &mut [f32]) -> Result<Step<'_>> {
        let id = self.sampler.sample(logits)?;
        self.ids.push(id);
        let is_eos = self.request.stop.is_eos(id);
        let mut stopped = is_eos;
        let mut start = 0;
        if let Some(stream) = &mut self.stream {
            start = stream.text().len();
            if !is_eos {
                stream.push(id)?;
                stopped = stream.stopped();
            }
        }
        self.finish = if stopped {
            Some(Finish::Stop)
        } else {
            (self.ids.len() == self.max_new_tokens()).then_some(Finish::Length)
        };
        let mut text = "";
        if let Some(stream) = &mut self.stream {
            if self.finish.is_some() {
                stream.finish()?;
            }
            text = &stream.text()[start..];
        }
        Ok(Step {
            row: 0,
            id,
            text,
            finish: self.finish,
        })
    }

    /// A row that was still going was interrupted, unless there was nothing to do.
    fn into_generation(mut self) -> Result<Generation> {
        let interrupted = if self.max_new_tokens() == 0 {
            Finish::Length
        } else {
            Finish::Interrupted
        };
        let text = match &mut self.stream {
            Some(stream) => {
                stream.finish()?;
                stream.text().to_string()
            }
            None => String::new(),
        };
        Ok(Generation {
            ids: self.ids,
            text,
            finish: self.finish.unwrap_or(interrupted),
        })
    }
}
