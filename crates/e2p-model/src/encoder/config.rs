//! What the encoder relies on: one description for every family.

use crate::config::DecoderConfig;

/// The shape and the options of an encoder.
#[derive(Debug, Clone)]
pub(super) struct EncoderConfig {
    /// Sizes, norm and activation, in the decoder's terms.
    pub(super) shape: DecoderConfig,
    /// Rows of the matrix of token types; 0 for families without.
    pub(super) n_token_types: usize,
    /// RoBERTa's habit: the first token stands at `padding_id + 1`, a padding token at
    /// `padding_id`.
    pub(super) padding_id: Option<u32>,
    /// Attention has a bias by distance (MPNet).
    pub(super) has_relative_positions: bool,
}

impl EncoderConfig {
    /// Tokens that have a position.
    pub(super) fn max_seq_len(&self) -> usize {
        let before = self.padding_id.map_or(0, |id| id as usize + 1);
        self.shape.max_seq_len.saturating_sub(before)
    }

    /// The position of each token of a row.
    pub(super) fn positions(&self, row: &[u32]) -> Vec<i32> {
        let Some(padding) = self.padding_id else {
            return (0..row.len() as i32).collect();
        };
        let mut last = padding as i32;
        row.iter()
            .map(|id| {
                // A padding token that the text spells out has no position of its own.
                if *id == padding {
                    return padding as i32;
                }
                last += 1;
                last
            })
            .collect()
    }
}
