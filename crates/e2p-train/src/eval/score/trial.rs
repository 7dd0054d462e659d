//! What is scored under every condition, and the scores of its targets.

use e2p_prefix::PrefillCache;

use crate::error::Result;
use crate::eval::arms::{Arms, Condition, EvalExample};
use crate::inputs::Inputs;
use crate::scoring::row_nlls;

/// What is scored: the examples, and what turns their users into soft tokens. Preferred variable
/// name: `trial`.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) arms: &'a Arms<'a>,
    pub(crate) examples: &'a [EvalExample],
    /// Targets in one pass.
    pub(crate) batch_size: usize,
}

/// Negative log-likelihoods of the targets under a condition; `report` is told how many are done.
pub(crate) fn target_nlls(
    trial: Trial<'_>,
    condition: Condition,
    mut report: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<(f64, usize)>> {
    let Trial { arms, examples, .. } = trial;
    report(0)?;
    let rows: Vec<_> = examples
        .iter()
        .map(|example| example.row(condition, &example.target))
        .collect();
    row_nlls(
        &trial.inputs.decoder,
        &rows,
        trial.batch_size,
        &mut PrefillCache::new(0),
        |indices| {
            let users: Vec<usize> = indices.iter().map(|index| examples[*index].user).collect();
            arms.prefix(condition, &users)
        },
        |done| report(done).is_ok(),
    )
}
