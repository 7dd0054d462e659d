//! What a condition costs before the first token of an answer.

use std::time::Instant;

use e2p_prefix::Prefilled;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::eval::arms::Condition;
use crate::eval::score::trial::Trial;

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

/// Counts over all examples, times a few of them spread evenly; projecting the embedding counts as
/// prefill.
pub(crate) fn measure(trial: Trial<'_>, condition: Condition) -> Result<Cost> {
    let Trial { arms, examples, .. } = trial;
    let decoder = &trial.inputs.decoder;
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
        let prefix = arms.prefix(condition, &[example.user]);
        let prefilled = Prefilled::new(decoder, &[prompt], prefix)?;
        // Reading a number waits for the device.
        let _ = decoder.logits(prefilled.hidden).into_data();
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Cost {
        prompt_tokens,
        kv_bytes: prompt_tokens * bytes_per_token as f64,
        prefill_seconds: seconds[seconds.len() / 2],
    })
}
