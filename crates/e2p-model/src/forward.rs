//! Runs the layers: whole sequences, new slots on top of a cache, selected slots, prompts kept for
//! later.
//!
//! There is one loop over the layers, [`Decoder::run_layers`]. What a pass keeps of each layer is
//! its caller's business: nothing when only the result counts, a record for the backward pass
//! (`backward.rs`). The head is a call of its own, so that logits are computed only where they are
//! wanted.

use burn::tensor::{Int, Tensor, TensorData, s};

use crate::attention::{Earlier, Pass};
use crate::decoder::{Decoder, Padding};
use crate::error::{ModelError, Result};
use crate::kernels;
use crate::kv_cache::KvCache;
use crate::mask::{self, Visible};
use crate::ops::TargetScores;
use crate::tape::{Keep, Kept, Tape};

/// Logits that [`Decoder::log_likelihoods`] computes at once: 32 MiB in f32.
const LOGITS_AT_ONCE: usize = 8 << 20;

/// The cache of a pass, all layers of it.
pub(crate) enum PassCache<'a> {
    /// There is none.
    None,
    /// It also receives the keys and values of this pass.
    Append(&'a mut KvCache),
    /// It is only read: its slots are constants.
    Constant(&'a KvCache),
}

impl PassCache<'_> {
    /// The part of one layer.
    pub(crate) fn layer(&mut self, index: usize) -> Earlier<'_> {
        match self {
            Self::None => Earlier::None,
            Self::Append(cache) => Earlier::Append(cache, index),
            Self::Constant(cache) => Earlier::Constant(cache.layer(index)),
        }
    }
}

impl<'a> From<Option<&'a KvCache>> for PassCache<'a> {
    fn from(earlier: Option<&'a KvCache>) -> Self {
        earlier.map_or(Self::None, Self::Constant)
    }
}

impl Decoder {
    /// Hidden states of a whole batch, after the final norm.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch_size, seq_len, d_model]`
    /// - `row_starts`: the slot at which each row begins; slots before it are padding. Empty means
    ///   all 0.
    /// - output: `[batch_size, seq_len, d_model]`
    ///
    /// # Errors
    /// [`ModelError::ContextOverflow`] when a row is longer than the context.
    pub fn forward_embeds(
        &self,
        inputs_embeds: Tensor<3>,
        row_starts: &[usize],
    ) -> Result<Tensor<3>> {
        let pass = self.whole_pass(&inputs_embeds, row_starts, 0)?;
        Ok(kernels::on_workers(self.device(), || {
            let x = self.place(inputs_embeds, row_starts, 0);
            let x = self.run_layers(x, &pass, PassCache::None, None, |_, _| ());
            self.norm.forward(x)
        }))
    }

    /// [`Self::forward_embeds`] from token ids without padding, or padded on the right.
    ///
    /// # Errors
    /// As [`Self::forward_embeds`].
    pub fn forward_tokens(&self, ids: Tensor<2, Int>) -> Result<Tensor<3>> {
        self.forward_embeds(self.embed_tokens(ids), &[])
    }

    /// Hidden states of new slots on top of `cache`, which receives their keys and values.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch_size, n_new, d_model]`, output the same, after the final norm
    ///
    /// # Errors
    /// [`ModelError::ContextOverflow`] when the context or the cache is too small; the cache is
    /// then unchanged.
    pub fn forward_cached(
        &self,
        inputs_embeds: Tensor<3>,
        cache: &mut KvCache,
    ) -> Result<Tensor<3>> {
        let first = cache.len();
        let n_new = inputs_embeds.dims()[1];
        cache.check_room(n_new)?;
        let row_starts = cache.row_starts().to_vec();
        let pass = self.whole_pass(&inputs_embeds, &row_starts, first)?;
        let hidden = kernels::on_workers(self.device(), || {
            let x = self.place(inputs_embeds, &row_starts, first);
            let x = self.run_layers(x, &pass, PassCache::Append(cache), None, |_, _| ());
            self.norm.forward(x)
        });
        cache.advance(n_new);
        Ok(hidden)
    }

    /// Keys and values of rows of token ids, padded on the left.
    ///
    /// # Errors
    /// An empty row or no row, an id outside the vocabulary, a row longer than the context.
    pub fn prefill<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<KvCache> {
        let (embeds, row_starts) = self.embed_rows(rows, Padding::Left)?;
        let mut cache = self.new_cache(row_starts, embeds.dims()[1]);
        self.forward_cached(embeds, &mut cache)?;
        Ok(cache)
    }

    /// Keys and values of rows of token ids, a cache of its own for each row, in their order.
    ///
    /// On the CPU the bits of a row's cache do not depend on the rows beside it. Other devices
    /// compute all rows in one padded pass, equal to each row alone up to rounding.
    ///
    /// # Errors
    /// As [`Self::prefill`]; no rows give no caches.
    pub fn prefill_each<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Vec<KvCache>> {
        // The kernels sum in another order for few rows than for many, so rows that are few when
        // alone stay alone.
        let is_alone =
            |row: &[u32]| kernels::are_on(self.device()) && row.len() <= kernels::FEW_ROWS;
        let padded: Vec<&[u32]> = rows
            .iter()
            .map(AsRef::as_ref)
            .filter(|row| !is_alone(row))
            .collect();
        let batch = match padded.as_slice() {
            [] => None,
            padded => Some(self.prefill(padded)?),
        };
        let mut in_batch = 0..;
        rows.iter()
            .map(|row| match &batch {
                Some(batch) if !is_alone(row.as_ref()) => {
                    let row = in_batch.next().expect("an open range");
                    Ok(batch.single_row(row))
                }
                _ => self.prefill(&[row]),
            })
            .collect()
    }

    /// Hidden states of selected slots after the final norm, for inference: nothing of any layer is
    /// kept.
    ///
    /// With [`Self::logits`] they give what [`Self::forward_recorded`] gives with
    /// [`Keep::LayerInputs`], to the bit.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch_size, seq_len, d_model]`, rows padded on the right
    /// - `earlier`: keys and values of the slots before these; `[batch_size]` rows
    /// - `selected`: `(row, slot)` of each wanted state, slots counted within `inputs_embeds`
    /// - output: `[selected.len(), d_model]`
    ///
    /// # Errors
    /// [`ModelError::ContextOverflow`] when a row is longer than the context.
    ///
    /// # Panics
    /// If a selected slot is outside the batch, or `earlier` has another number of rows.
    pub fn forward_selected(
        &self,
        inputs_embeds: Tensor<3>,
        earlier: Option<&KvCache>,
        selected: &[(usize, usize)],
    ) -> Result<Tensor<2>> {
        let tape = self.select(inputs_embeds, earlier, selected, None)?;
        let norm = || self.norm.forward(tape.selected);
        Ok(kernels::on_workers(self.device(), norm))
    }

    /// The log-likelihood (nats) of each target under the hidden state in front of it.
    ///
    /// The logits are computed in parts, so that no more than about 32 MiB of them exist at once.
    ///
    /// # Shapes
    /// - `hidden`: `[targets.len(), d_model]`, after the final norm
    ///
    /// # Panics
    /// If there is not one target for each state.
    pub fn log_likelihoods(&self, hidden: Tensor<2>, targets: &[u32]) -> Vec<f32> {
        let n_targets = targets.len();
        assert_eq!(hidden.dims()[0], n_targets, "one target for each state");
        // The kernels sum in another order for few rows than for many: parts of many rows are many
        // rows again, so the parts do not show in the bits.
        let most = (LOGITS_AT_ONCE / self.config.vocab_size).max(2 * kernels::FEW_ROWS);
        let n_parts = n_targets.div_ceil(most).max(1);
        let mut scores = Vec::with_capacity(n_targets);
        for part in 0..n_parts {
            let range = part * n_targets / n_parts..(part + 1) * n_targets / n_parts;
            let logits = self.logits(hidden.clone().slice(s![range.clone(), ..]));
            let part = TargetScores::new(logits, &targets[range]).log_likelihood();
            let part = part.into_data().try_into_vec_as::<f32>();
            scores.extend(part.expect("log-likelihoods are f32"));
        }
        scores
    }

    /// The residual stream at selected slots, with what `keep` asks for.
    pub(crate) fn select(
        &self,
        inputs_embeds: Tensor<3>,
        earlier: Option<&KvCache>,
        selected: &[(usize, usize)],
        keep: Option<Keep>,
    ) -> Result<Tape> {
        let shape = inputs_embeds.dims();
        let [batch_size, seq_len, d_model] = shape;
        assert!(
            earlier.is_none_or(|cache| cache.batch_size() == batch_size),
            "one cached row for each row of the batch"
        );
        assert!(
            selected
                .iter()
                .all(|(row, slot)| *row < batch_size && *slot < seq_len),
            "selected slots lie in the batch"
        );
        let (first, row_starts) =
            earlier.map_or((0, &[][..]), |cache| (cache.len(), cache.row_starts()));
        // Behind its last selected slot a row may be padding, which is never looked at: a batch of
        // rows that fit can be longer than the context.
        let longest_row = selected
            .iter()
            .map(|(row, slot)| first + slot + 1 - row_starts.get(*row).copied().unwrap_or(0))
            .max()
            .unwrap_or(0);
        let pass = self.pass(&inputs_embeds, row_starts, first, longest_row)?;
        Ok(kernels::on_workers(self.device(), || {
            let x = self.place(inputs_embeds, row_starts, first);
            let mut layers = Vec::new();
            let x = self.run_layers(x, &pass, earlier.into(), keep, |_, kept| {
                layers.extend(kept)
            });
            let flat: Vec<i32> = selected
                .iter()
                .map(|(row, slot)| (row * seq_len + slot) as i32)
                .collect();
            let indices = Tensor::from_data(TensorData::new(flat, [selected.len()]), self.device());
            let selected = x
                .reshape([batch_size * seq_len, d_model])
                .select(0, indices.clone());
            Tape {
                pass,
                layers,
                selected,
                indices,
                shape,
            }
        }))
    }

    /// The residual stream before the first layer and after each layer, then the final norm's
    /// output: `n_layers + 2` tensors `[batch_size, seq_len, d_model]`. For inspection and for
    /// comparison with other implementations.
    ///
    /// # Errors
    /// As [`Self::forward_embeds`].
    pub fn hidden_states(
        &self,
        inputs_embeds: Tensor<3>,
        row_starts: &[usize],
    ) -> Result<Vec<Tensor<3>>> {
        let pass = self.whole_pass(&inputs_embeds, row_starts, 0)?;
        let x = self.place(inputs_embeds, row_starts, 0);
        let mut states = vec![x.clone()];
        let keep_state = |x: &Tensor<3>, _| states.push(x.clone());
        let x = self.run_layers(x, &pass, PassCache::None, None, keep_state);
        states.push(self.norm.forward(x));
        Ok(states)
    }

    /// `[batch_size, seq_len, d_model]` through all layers, in and out. `visit` is handed each
    /// layer's output and what it leaves for the backward pass.
    fn run_layers(
        &self,
        mut x: Tensor<3>,
        pass: &Pass,
        mut cache: PassCache<'_>,
        keep: Option<Keep>,
        mut visit: impl FnMut(&Tensor<3>, Option<Kept>),
    ) -> Tensor<3> {
        for (index, layer) in self.layers.iter().enumerate() {
            let input = (keep == Some(Keep::LayerInputs)).then(|| x.clone());
            let is_recorded = keep == Some(Keep::Activations);
            let (y, record) = layer.forward(x, pass, cache.layer(index), is_recorded);
            x = y;
            let record = record.map(|record| Kept::Record(Box::new(record)));
            visit(&x, record.or(input.map(Kept::Input)));
        }
        x
    }

    /// Next-token logits of selected hidden states: `[rows, d_model]` to `[rows, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        kernels::on_workers(self.device(), || self.lm_head.forward_rows(hidden))
    }

    /// [`Self::pass`] of rows that all end with the batch.
    fn whole_pass(
        &self,
        inputs_embeds: &Tensor<3>,
        row_starts: &[usize],
        first: usize,
    ) -> Result<Pass> {
        let shortest_padding = row_starts.iter().min().copied().unwrap_or(0);
        let longest_row = first + inputs_embeds.dims()[1] - shortest_padding;
        self.pass(inputs_embeds, row_starts, first, longest_row)
    }

    /// What the layers of a pass over `inputs_embeds` share, its first slot being `first`. Nothing
    /// beyond the `longest_row` first slots of a row is looked at.
    fn pass(
        &self,
        inputs_embeds: &Tensor<3>,
        row_starts: &[usize],
        first: usize,
        longest_row: usize,
    ) -> Result<Pass> {
        let n_new = inputs_embeds.dims()[1];
        if longest_row > self.config.max_seq_len {
            return Err(ModelError::ContextOverflow {
                needed: longest_row,
                context: self.config.max_seq_len,
            });
        }
        let positions = self.positions(row_starts, first, n_new);
        Ok(Pass {
            rotation: self
                .rotary
                .as_ref()
                .map(|rotary| rotary.rotation(&positions, self.dtype(), self.device())),
            visible: Visible::Causal {
                row_starts: row_starts.to_vec(),
                first,
            },
        })
    }

    /// The position of every slot; those beyond the context, which only padding has, are its last
    /// one.
    fn positions(&self, row_starts: &[usize], first: usize, n_new: usize) -> Vec<Vec<usize>> {
        let last = self.config.max_seq_len - 1;
        let mut positions = mask::positions(row_starts, first, n_new);
        for position in positions.iter_mut().flatten() {
            *position = last.min(*position);
        }
        positions
    }

    /// Adds learned positions, for the families that have them.
    fn place(&self, inputs_embeds: Tensor<3>, row_starts: &[usize], first: usize) -> Tensor<3> {
        let Some(table) = &self.embed_positions else {
            return inputs_embeds;
        };
        let [_, n_new, d_model] = inputs_embeds.dims();
        let positions = self.positions(row_starts, first, n_new);
        let n_rows = positions.len();
        let flat: Vec<i32> = positions
            .into_iter()
            .flatten()
            .map(|position| position as i32)
            .collect();
        let flat =
            Tensor::<1, Int>::from_data(TensorData::new(flat, [n_rows * n_new]), self.device());
        inputs_embeds
            + table
                .clone()
                .select(0, flat)
                .cast(self.dtype())
                .reshape([n_rows, n_new, d_model])
    }
}
