//! Input embeddings of prompts, soft tokens included: what generation and scoring run.

use burn::tensor::Tensor;
use e2p_model::{Decoder, Padding, PromptInput};

use crate::error::Result;
use crate::inject::inject;
use crate::prompt::Prompt;

/// Embeds prompts, padded on one side, with each prompt's soft tokens in its slot.
///
/// # Shapes
/// - `prefix`: `[prompts.len(), n_prefix, d_model]`, or `None` for the backbone alone
/// - output: `[prompts.len(), longest + n_prefix, d_model]`, and the position at which each row
///   begins
///
/// # Errors
/// An id outside the vocabulary, an empty prompt.
pub fn embed_prompts(
    decoder: &Decoder,
    prompts: &[&Prompt],
    prefix: Option<Tensor<3>>,
    padding: Padding,
) -> Result<(Tensor<3>, Vec<usize>)> {
    let ids: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
    let (embeds, row_starts) = decoder.embed_rows(&ids, padding)?;
    let Some(prefix) = prefix else {
        return Ok((embeds, row_starts));
    };
    let slots: Vec<usize> = prompts
        .iter()
        .zip(&row_starts)
        .map(|(prompt, start)| start + prompt.slot)
        .collect();
    let dtype = embeds.dtype();
    Ok((inject(embeds, prefix.cast(dtype), &slots), row_starts))
}

/// One prompt as the generator takes it; `prefix` is `[n_prefix, d_model]`.
///
/// # Errors
/// As [`embed_prompts`].
pub fn prompt_input(
    decoder: &Decoder,
    prompt: &Prompt,
    prefix: Option<Tensor<2>>,
) -> Result<PromptInput> {
    let Some(prefix) = prefix else {
        return Ok(PromptInput::Ids(prompt.ids.clone()));
    };
    let prefix = Some(prefix.unsqueeze::<3>());
    let (embeds, _) = embed_prompts(decoder, &[prompt], prefix, Padding::Right)?;
    Ok(PromptInput::Embeds {
        inputs_embeds: embeds.squeeze_dim(0),
        ids: prompt.ids.clone(),
    })
}
