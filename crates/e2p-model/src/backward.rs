//! Gradients with respect to the input embeddings, by hand, over plain tensors.
//!
//! The weights are constants, so only activation gradients exist: 4 N flops a token instead of 6 N,
//! no saved inputs of linear maps, no autodiff graph, and no dependence on a backward pass of
//! attention that no backend has. The caller computes whatever loss it likes from the logits and
//! hands back their gradient. Autodiff over the same layers is the oracle in the tests.

use burn::tensor::{IndexingUpdateOp, Tensor};

use crate::decoder::Decoder;
use crate::error::Result;
use crate::forward::PassCache;
use crate::kernels;
use crate::kv_cache::KvCache;
use crate::tape::{Keep, Kept, Tape};

impl Decoder {
    /// Logits of selected slots, and what it takes to go back from them.
    ///
    /// # Shapes
    /// - `inputs_embeds`: `[batch_size, seq_len, d_model]`, rows padded on the right
    /// - `earlier`: keys and values of the slots before these, constants; `[batch_size]` rows
    /// - `selected`: `(row, slot)` of each wanted logit row, slots counted within `inputs_embeds`
    /// - output: `[selected.len(), vocab_size]`
    ///
    /// # Errors
    /// [`crate::ModelError::ContextOverflow`] when a row is longer than the context.
    ///
    /// # Panics
    /// If a selected slot is outside the batch, or `earlier` has another number of rows.
    pub fn forward_recorded(
        &self,
        inputs_embeds: Tensor<3>,
        earlier: Option<&KvCache>,
        selected: &[(usize, usize)],
        keep: Keep,
    ) -> Result<(Tensor<2>, Tape)> {
        let tape = self.select(inputs_embeds, earlier, selected, Some(keep))?;
        let norm = || self.norm.forward(tape.selected.clone());
        let logits = self.logits(kernels::on_workers(self.device(), norm));
        Ok((logits, tape))
    }

    /// Gradient of a loss with respect to `inputs_embeds`, from its gradient with respect to the
    /// logits.
    ///
    /// `earlier` must be the cache that [`Self::forward_recorded`] saw.
    ///
    /// # Shapes
    /// - `d_logits`: `[n_selected, vocab_size]`
    /// - output: `[batch_size, seq_len, d_model]`
    pub fn backward(
        &self,
        tape: Tape,
        earlier: Option<&KvCache>,
        d_logits: Tensor<2>,
    ) -> Tensor<3> {
        kernels::on_workers(self.device(), || {
            let Tape {
                pass,
                mut layers,
                selected,
                indices,
                shape,
            } = tape;
            let [batch_size, seq_len, d_model] = shape;
            let d_selected = self
                .norm
                .backward(selected, self.lm_head.backward_rows(d_logits));
            let zeros = Tensor::zeros(
                [batch_size * seq_len, d_model],
                (&d_selected.device(), d_selected.dtype()),
            );
            let mut dx = zeros
                .select_assign(0, indices, d_selected, IndexingUpdateOp::Add)
                .reshape(shape);
            let mut cache = PassCache::from(earlier);
            for (index, layer) in self.layers.iter().enumerate().rev() {
                let record = match layers
                    .pop()
                    .expect("one entry for each layer, from forward_recorded")
                {
                    Kept::Record(record) => *record,
                    Kept::Input(input) => layer
                        .forward(input, &pass, cache.layer(index), true)
                        .1
                        .expect("a record was asked for"),
                };
                dx = layer.backward(record, dx, &pass);
            }
            // Learned positions are added to the input, so the gradient passes them unchanged.
            dx
        })
    }
}
