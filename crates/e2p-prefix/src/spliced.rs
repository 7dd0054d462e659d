//! The method on top of `e2p-model`'s decoders: what does not depend on the user is computed once,
//! the rest is spliced, run and differentiated.

use burn::tensor::Tensor;
use e2p_model::{Decoder, Keep, KvCache, ModelError, Padding, Tape};

use crate::inject::{inject, prefix_gradient};

/// One sequence of token ids and the place of the soft tokens in it: behind `before`, in front of
/// `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplicedRow {
    /// Ids that the soft tokens do not reach: nothing here depends on the user.
    pub before: Vec<u32>,
    /// Ids behind the soft tokens; the last `n_targets` of them are to be predicted.
    pub after: Vec<u32>,
    /// Number of target tokens, end of turn included.
    pub n_targets: usize,
}

impl SplicedRow {
    /// Splits a prompt at `slot` and appends the target.
    ///
    /// # Panics
    /// If `slot` is beyond the prompt.
    pub fn new(prompt: &[u32], slot: usize, target: &[u32]) -> Self {
        let (before, rest) = prompt.split_at(slot);
        Self {
            before: before.to_vec(),
            after: rest.iter().chain(target).copied().collect(),
            n_targets: target.len(),
        }
    }

    /// A row for runs without a prefix: the prompt's last token, which predicts the first target,
    /// is live.
    pub fn plain(prompt: &[u32], target: &[u32]) -> Self {
        Self::new(prompt, prompt.len().saturating_sub(1), target)
    }

    /// Tokens in all, soft ones not counted.
    pub fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids to be predicted.
    pub fn targets(&self) -> &[u32] {
        &self.after[self.after.len() - self.n_targets..]
    }
}

/// A batch of rows, ready to run with any prefix.
///
/// Keys and values of the `before` parts are constants; hand in a cache to share them between
/// batches. Rows without any `before` part make the whole batch run without a cache: exact, only
/// slower.
#[derive(Debug)]
pub struct SplicedBatch {
    earlier: Option<KvCache>,
    /// `[batch_size, seq_len, d_model]`, padded on the right, without the prefix.
    inputs_embeds: Tensor<3>,
    /// The prefix's slot in `inputs_embeds`, for each row.
    slots: Vec<usize>,
    /// Predicting slots, as if there were no prefix; one less than the slot of the target, -1 for a
    /// target at slot 0.
    predictors: Vec<(usize, isize)>,
    targets: Vec<u32>,
}

/// What [`SplicedBatch::backward`] needs of a [`SplicedBatch::forward`].
#[derive(Debug)]
pub struct SplicedTape {
    tape: Tape,
    n_prefix: usize,
}

impl SplicedBatch {
    /// Prepares rows for `decoder`.
    ///
    /// `earlier` holds keys and values of exactly the rows' `before` parts; without it they are
    /// computed here.
    ///
    /// # Errors
    /// An id outside the vocabulary, a `before` part longer than the context.
    ///
    /// # Panics
    /// If a row has no target, or `earlier` has another number of rows.
    pub fn new(
        decoder: &Decoder,
        rows: &[SplicedRow],
        earlier: Option<KvCache>,
    ) -> Result<Self, ModelError> {
        let is_cached = rows.iter().all(|row| !row.before.is_empty());
        let earlier = match earlier {
            Some(earlier) => Some(earlier),
            None if is_cached => Some(earlier_slots(decoder, rows)?),
            None => None,
        };
        Self::on_top_of(earlier, decoder, rows)
    }

    /// [`Self::new`] in one pass over whole rows, for prompts that nothing else shares.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    ///
    /// # Panics
    /// If a row has no target.
    pub fn whole(decoder: &Decoder, rows: &[SplicedRow]) -> Result<Self, ModelError> {
        Self::on_top_of(None, decoder, rows)
    }

    fn on_top_of(
        earlier: Option<KvCache>,
        decoder: &Decoder,
        rows: &[SplicedRow],
    ) -> Result<Self, ModelError> {
        assert!(
            rows.iter().all(|row| row.n_targets >= 1),
            "every row has a target"
        );
        let mut live = Vec::with_capacity(rows.len());
        let (mut slots, mut predictors, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            let slot = if earlier.is_some() {
                0
            } else {
                row.before.len()
            };
            // The last target is predicted, never read.
            let read = &row.after[..row.after.len() - 1];
            let ids: Vec<u32> = row.before[..slot].iter().chain(read).copied().collect();
            let first_target = slot + row.after.len() - row.n_targets;
            predictors.extend(
                (0..row.n_targets).map(|target| (index, (first_target + target) as isize - 1)),
            );
            targets.extend_from_slice(row.targets());
            slots.push(slot);
            live.push(ids);
        }
        Ok(Self {
            earlier,
            inputs_embeds: embed(decoder, &live)?,
            slots,
            predictors,
            targets,
        })
    }

    /// The target ids, row by row.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// The row of each target.
    pub fn target_rows(&self) -> impl Iterator<Item = usize> {
        self.predictors.iter().map(|(row, _)| *row)
    }

    /// Logits of the targets, `[n_targets of all rows, vocab_size]`, with `prefix` (`[batch_size,
    /// n_prefix, d_model]`) spliced in, or without any.
    ///
    /// # Errors
    /// A row longer than the context, or, without a prefix, a target with no token before it in the
    /// live part ([`SplicedRow::plain`] makes rows that have one).
    pub fn forward(
        &self,
        decoder: &Decoder,
        prefix: Option<Tensor<3>>,
        keep: Keep,
    ) -> Result<(Tensor<2>, SplicedTape), ModelError> {
        let (inputs_embeds, n_prefix) = self.spliced(prefix);
        let (logits, tape) = decoder.forward_recorded(
            inputs_embeds,
            self.earlier.as_ref(),
            &self.selected(n_prefix)?,
            keep,
        )?;
        Ok((logits, SplicedTape { tape, n_prefix }))
    }

    /// The log-likelihoods (nats) of each row's targets, with `prefix` spliced in or without any.
    /// Nothing is kept for a backward pass.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn log_likelihoods(
        &self,
        decoder: &Decoder,
        prefix: Option<Tensor<3>>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let (inputs_embeds, n_prefix) = self.spliced(prefix);
        let selected = self.selected(n_prefix)?;
        let hidden = decoder.forward_selected(inputs_embeds, self.earlier.as_ref(), &selected)?;
        let mut rows = vec![Vec::new(); self.slots.len()];
        let scores = decoder.log_likelihoods(hidden, &self.targets);
        for (row, score) in self.target_rows().zip(scores) {
            rows[row].push(score);
        }
        Ok(rows)
    }

    /// Input embeddings with the prefix in every row's slot, and how many rows that adds.
    fn spliced(&self, prefix: Option<Tensor<3>>) -> (Tensor<3>, usize) {
        let embeds = self.inputs_embeds.clone();
        match prefix {
            Some(prefix) => {
                let n_prefix = prefix.dims()[1];
                let prefix = prefix.cast(embeds.dtype());
                (inject(embeds, prefix, &self.slots), n_prefix)
            }
            None => (embeds, 0),
        }
    }

    /// Gradient with respect to the prefix of [`Self::forward`], `[batch_size, n_prefix, d_model]`,
    /// from that with respect to the logits.
    ///
    /// # Panics
    /// If the pass had no prefix.
    pub fn backward(&self, decoder: &Decoder, tape: SplicedTape, d_logits: Tensor<2>) -> Tensor<3> {
        assert!(
            tape.n_prefix > 0,
            "a gradient with respect to a prefix needs one"
        );
        let d_inputs = decoder.backward(tape.tape, self.earlier.as_ref(), d_logits);
        prefix_gradient(d_inputs, &self.slots, tape.n_prefix)
    }

    fn selected(&self, n_prefix: usize) -> Result<Vec<(usize, usize)>, ModelError> {
        self.predictors
            .iter()
            .map(|(row, slot)| {
                // A slot before the prefix keeps its place only when it is not the one right in
                // front of it: what predicts the token behind the prefix is the prefix's last row.
                let moved = if *slot + 1 >= self.slots[*row] as isize {
                    slot + n_prefix as isize
                } else {
                    *slot
                };
                usize::try_from(moved)
                    .map(|slot| (*row, slot))
                    .map_err(|_| ModelError::EmptyPrompt)
            })
            .collect()
    }
}

/// Keys and values of the rows' `before` parts.
fn earlier_slots(decoder: &Decoder, rows: &[SplicedRow]) -> Result<KvCache, ModelError> {
    let before: Vec<&[u32]> = rows.iter().map(|row| row.before.as_slice()).collect();
    if before.windows(2).all(|pair| pair[0] == pair[1]) {
        // One context for all, such as a lone beginning-of-sequence token: computed once.
        let one = decoder.prefill(&before[..1])?;
        return Ok(one.branches(&vec![0; rows.len()], one.len()));
    }
    decoder.prefill(&before)
}

/// Rows padded on the right; a row may be empty (a target right behind the prefix), its padding is
/// never looked at.
fn embed(decoder: &Decoder, rows: &[Vec<u32>]) -> Result<Tensor<3>, ModelError> {
    if rows.iter().all(Vec::is_empty) {
        return Ok(Tensor::zeros(
            [rows.len(), 0, decoder.config().d_model],
            (decoder.device(), decoder.dtype()),
        ));
    }
    let filled: Vec<&[u32]> = rows
        .iter()
        .map(|row| {
            if row.is_empty() {
                &[0][..]
            } else {
                row.as_slice()
            }
        })
        .collect();
    Ok(decoder.embed_rows(&filled, Padding::Right)?.0)
}
