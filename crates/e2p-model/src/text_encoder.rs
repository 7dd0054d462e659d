//! Texts to vectors, with whatever model a directory holds.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::decoder::{Decoder, Padding};
use crate::encoder::SentenceEncoder;
use crate::error::{ModelError, Result};
use crate::load::{LoadOptions, read_json};

/// What makes a vector of a text. Preferred variable name: `encoder`.
#[derive(Debug, Clone)]
pub enum TextEncoder {
    /// A sentence encoder: vectors of unit length that were trained to be compared.
    Sentence(SentenceEncoder),
    /// A language model: the mean of its last hidden states. Of the very backbone that will read the soft token, it lies in that model's own
    /// space (ours, measured: `docs/RESULTS.md`).
    Decoder(Box<Decoder>),
}

impl TextEncoder {
    /// Loads a sentence-transformers directory of the BERT family, or else a decoder.
    ///
    /// # Errors
    /// Those of [`SentenceEncoder::from_dir`] or [`Decoder::from_dir`].
    pub fn from_dir(dir: &Path, options: &LoadOptions, device: &Device) -> Result<Self> {
        if read_json(dir, "config.json")?["model_type"] == "bert" {
            return Ok(Self::Sentence(
                SentenceEncoder::from_dir(dir, options, device)?.0,
            ));
        }
        match Decoder::from_dir(dir, options, device) {
            Ok((decoder, _)) => Ok(Self::Decoder(Box::new(decoder))),
            Err(ModelError::ModelType { found, supported }) => Err(ModelError::ModelType {
                found,
                supported: format!("bert, {supported}"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Width of a vector.
    pub fn d_model(&self) -> usize {
        match self {
            Self::Sentence(encoder) => encoder.d_model(),
            Self::Decoder(decoder) => decoder.config().d_model,
        }
    }

    /// Cuts a text's ids, special tokens included, to what the model reads: the end goes, except for the token that closes a sentence for a
    /// sentence encoder, as in sentence-transformers.
    pub fn cut(&self, mut ids: Vec<u32>) -> Vec<u32> {
        match self {
            Self::Sentence(encoder) => {
                let limit = encoder.max_seq_len();
                if let Some(last) = ids.last().copied().filter(|_| ids.len() > limit) {
                    ids.truncate(limit - 1);
                    ids.push(last);
                }
            }
            Self::Decoder(decoder) => ids.truncate(decoder.config().max_seq_len),
        }
        ids
    }

    /// A vector of unit length for each row of token ids, special tokens included: `[rows.len(), d_model]`, f32.
    ///
    /// # Errors
    /// An empty row, an id outside the vocabulary, a row longer than the model's context.
    pub fn embed<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor<2>> {
        match self {
            Self::Sentence(encoder) => encoder.embed(rows),
            Self::Decoder(decoder) => {
                let (embeds, _) = decoder.embed_rows(rows, Padding::Right)?;
                // Causal: what stands behind a row changes nothing before it.
                let hidden = decoder.forward_embeds(embeds, &[])?;
                let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
                Ok(unit_means(hidden, &lengths))
            }
        }
    }
}

/// The mean of the first `lengths` slots of each row, at unit length: `[batch_size, seq_len, d_model]` to `[batch_size, d_model]`, f32.
pub(crate) fn unit_means(states: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
    let [batch_size, seq_len, d_model] = states.dims();
    // A product with weights 1 / length, 0 for padding.
    let weights: Vec<f32> = lengths
        .iter()
        .flat_map(|len| {
            (0..seq_len).map(move |slot| if slot < *len { 1.0 / *len as f32 } else { 0.0 })
        })
        .collect();
    let weights = TensorData::new(weights, [batch_size, 1, seq_len]);
    let weights = Tensor::<3>::from_data(weights, &states.device());
    let means = weights
        .matmul(states.cast(DType::F32))
        .reshape([batch_size, d_model]);
    let norm = means.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    means / norm
}
