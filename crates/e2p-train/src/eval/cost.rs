//! What a condition costs before the first token of an answer.

use std::time::Instant;

use e2p_model::{Decoder, Padding};
use e2p_prefix::inject;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::arms::Arms;
use super::examples::EvalExample;
use crate::error::Result;

/// Prompts that are timed.
const TIMED: usize = 21;

/// Cost of a prompt under a condition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Mean positions of a prompt, soft tokens included.
    pub prompt_tokens: f64,
    /// Mean bytes of its keys and values.
    pub kv_bytes: f64,
    /// Median time to run one prompt, batch size 1, in seconds.
    pub prefill_seconds: f64,
}

/// Counts over all examples, times a few of them spread evenly; projecting the embedding counts as prefill.
pub(crate) fn measure(
    decoder: &Decoder,
    arms: &Arms<'_>,
    condition: Condition,
    examples: &[EvalExample],
) -> Result<Cost> {
    let config = decoder.config();
    let n_prefix = if condition.has_prefix() {
        arms.projector.n_prefix()
    } else {
        0
    };
    let tokens: usize = examples
        .iter()
        .map(|example| example.prompt(condition).ids.len() + n_prefix)
        .sum();
    let prompt_tokens = tokens as f64 / examples.len() as f64;
    let bytes_per_token =
        2 * config.n_layers * config.n_kv_heads * config.head_dim * decoder.dtype().size();
    let step = (examples.len() / TIMED).max(1);
    let mut seconds = Vec::new();
    for example in examples.iter().step_by(step).take(TIMED) {
        let began = Instant::now();
        let prompt = example.prompt(condition);
        let (mut embeds, row_starts) = decoder.embed_rows(&[&prompt.ids], Padding::Left)?;
        if let Some(prefix) = arms.prefix(condition, &[example.user]) {
            embeds = inject(embeds.clone(), prefix.cast(embeds.dtype()), &[prompt.slot]);
        }
        let mut cache = decoder.new_cache(row_starts, embeds.dims()[1]);
        let hidden = decoder.forward_cached(embeds, &mut cache)?;
        let last = hidden.dims()[1] - 1;
        let last = hidden
            .slice([0..1, last..last + 1])
            .reshape([1, config.d_model]);
        // Reading a number waits for the device.
        let _ = decoder.logits(last).into_data();
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Cost {
        prompt_tokens,
        kv_bytes: prompt_tokens * bytes_per_token as f64,
        prefill_seconds: seconds[seconds.len() / 2],
    })
}
