//! Gradients with respect to the input embeddings, by hand, over plain tensors.
//!
//! The weights are constants, so only activation gradients exist: 4 N flops a token instead of 6 N, no saved inputs of linear maps, no
//! autodiff graph, and no dependence on a backward pass of attention that no backend has. The caller computes whatever loss it likes
//! from the logits and hands back their gradient. Autodiff over the same layers is the oracle in the tests.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use crate::attention::{Earlier, Pass};
use crate::decoder::Decoder;
use crate::error::Result;
use crate::kernels;
use crate::kv_cache::KvCache;
use crate::layer::LayerRecord;

/// What [`Decoder::backward`] needs of a [`Decoder::forward_recorded`].
#[derive(Debug)]
pub struct Tape {
    pass: Pass,
    layers: Vec<Kept>,
    /// Residual stream at the selected slots, before the final norm: `[n_selected, d_model]`.
    selected: Tensor<2>,
    /// Flat indices `row * seq_len + slot` of the selected slots.
    indices: Tensor<1, Int>,
    /// `[batch_size, seq_len, d_model]`
    shape: [usize; 3],
}

#[derive(Debug)]
enum Kept {
    Record(Box<LayerRecord>),
    /// Only the layer's input: the rest is computed again when its turn comes.
    Input(Tensor<3>),
}

/// How much of a forward pass is kept for the backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every activation that the backward pass reads.
    #[default]
    Activations,
    /// Each layer's input; one more forward pass of the layers in exchange for most of the memory.
    LayerInputs,
}

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
        // Behind its last selected slot a row may be padding, which nobody looks at: a batch of rows that fit can be longer than the context.
        let longest_row = selected
            .iter()
            .map(|(row, slot)| first + slot + 1 - row_starts.get(*row).copied().unwrap_or(0))
            .max()
            .unwrap_or(0);
        let pass = self.pass(&inputs_embeds, row_starts, first, longest_row)?;
        Ok(kernels::on_workers(self.device(), || {
            let mut x = self.place(inputs_embeds, row_starts, first);
            let mut layers = Vec::with_capacity(self.layers.len());
            for (index, layer) in self.layers.iter().enumerate() {
                let constant =
                    earlier.map_or(Earlier::None, |cache| Earlier::Constant(cache.layer(index)));
                let (y, record) =
                    layer.forward(x.clone(), &pass, constant, keep == Keep::Activations);
                layers.push(record.map_or(Kept::Input(x), |record| Kept::Record(Box::new(record))));
                x = y;
            }
            let flat: Vec<i32> = selected
                .iter()
                .map(|(row, slot)| (row * seq_len + slot) as i32)
                .collect();
            let indices = Tensor::from_data(TensorData::new(flat, [selected.len()]), self.device());
            let selected = x
                .reshape([batch_size * seq_len, d_model])
                .select(0, indices.clone());
            let logits = self.logits(self.norm.forward(selected.clone()));
            (
                logits,
                Tape {
                    pass,
                    layers,
                    selected,
                    indices,
                    shape,
                },
            )
        }))
    }

    /// Gradient of a loss with respect to `inputs_embeds`, from its gradient with respect to the logits.
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
            for (index, layer) in self.layers.iter().enumerate().rev() {
                let record = match layers
                    .pop()
                    .expect("one entry for each layer, pushed by forward_recorded")
                {
                    Kept::Record(record) => *record,
                    Kept::Input(input) => {
                        let constant = earlier
                            .map_or(Earlier::None, |cache| Earlier::Constant(cache.layer(index)));
                        layer
                            .forward(input, &pass, constant, true)
                            .1
                            .expect("a record was asked for")
                    }
                };
                dx = layer.backward(record, dx, &pass);
            }
            // Learned positions are added to the input, so the gradient passes them unchanged.
            dx
        })
    }
}
