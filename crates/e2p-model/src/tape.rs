//! What a forward pass keeps for the backward pass.

use burn::tensor::{Int, Tensor};

use crate::attention::Pass;
use crate::layer::LayerRecord;

/// What [`crate::Decoder::backward`] needs of a [`crate::Decoder::forward_recorded`].
#[derive(Debug)]
pub struct Tape {
    pub(crate) pass: Pass,
    /// One entry for each layer, or none for inference.
    pub(crate) layers: Vec<Kept>,
    /// Residual stream at the selected slots, before the final norm: `[n_selected, d_model]`.
    pub(crate) selected: Tensor<2>,
    /// Flat indices `row * seq_len + slot` of the selected slots.
    pub(crate) indices: Tensor<1, Int>,
    /// `[batch_size, seq_len, d_model]`
    pub(crate) shape: [usize; 3],
}

/// What is kept of one layer.
#[derive(Debug)]
pub(crate) enum Kept {
    Record(Box<LayerRecord>),
    /// Only the layer's input: the rest is computed again when the backward pass comes to it.
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
