//! Greedy answers under a condition.

use std::ops::ControlFlow;

use e2p_model::{Finish, GenerateRequest, Generator, SamplingConfig, StopConditions};
use e2p_prefix::prompt_input;

use crate::error::{Result, TrainError};
use crate::eval::arms::Condition;
use crate::eval::arms::EvalExample;
use crate::eval::score::trial::Trial;

/// Rows of one batch.
const ROWS_PER_PASS: usize = 16;

/// Greedy answers of at most `max_new_tokens` tokens, without leading or trailing space; `go_on` is
/// asked after each batch.
///
/// # Errors
/// [`TrainError::Stopped`], and whatever the generator refuses.
pub(crate) fn answers(
    trial: Trial<'_>,
    condition: Condition,
    examples: &[&EvalExample],
    max_new_tokens: usize,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Vec<String>> {
    let Trial { inputs, arms, .. } = trial;
    let (decoder, tokenizer) = (&inputs.decoder, &inputs.tokenizer);
    let generator = Generator::new(decoder, Some(tokenizer));
    let eos_token_ids = tokenizer.eos_token_ids(&decoder.config().eos_token_ids);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|index| examples[*index].prompt(condition).ids.len());
    let mut out = vec![String::new(); examples.len()];
    let mut finished = 0;
    for indices in order.chunks(ROWS_PER_PASS) {
        let users: Vec<usize> = indices.iter().map(|index| examples[*index].user).collect();
        let prefix = arms.prefix(condition, &users);
        let mut requests = Vec::with_capacity(indices.len());
        for (row, index) in indices.iter().enumerate() {
            let prompt = examples[*index].prompt(condition);
            let own = prefix
                .clone()
                .map(|prefix| prefix.slice([row..row + 1]).squeeze_dim(0));
            let prompt = prompt_input(decoder, prompt, own)?;
            let room = decoder.config().max_seq_len.saturating_sub(prompt.len());
            requests.push(GenerateRequest {
                prompt,
                guidance: None,
                sampling: SamplingConfig::default(),
                stop: StopConditions {
                    eos_token_ids: eos_token_ids.clone(),
                    strings: Vec::new(),
                    max_new_tokens: max_new_tokens.min(room),
                },
            });
        }
        let generations = generator.generate(&requests, |_| ControlFlow::Continue(()))?;
        for (index, generation) in indices.iter().zip(generations) {
            debug_assert_ne!(generation.finish, Finish::Interrupted);
            generation.text.trim().clone_into(&mut out[*index]);
        }
        finished += indices.len();
        if !go_on(finished) {
            return Err(TrainError::Stopped);
        }
    }
    Ok(out)
}
