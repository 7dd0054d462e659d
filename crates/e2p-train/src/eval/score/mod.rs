//! What the model under a condition gives: log-likelihoods of targets and candidates, answers, ranks in
//! the catalogue, cost.

pub(crate) mod answers;
pub(crate) mod candidates;
pub(crate) mod catalogue;
pub(crate) mod cost;
pub(crate) mod drift;
pub(crate) mod samples;

use e2p_prefix::PrefillCache;

use self::candidates::Choice;
use self::cost::Cost;
use crate::error::Result;
use crate::eval::arms::{Arms, Condition, EvalExample};
use crate::inputs::Inputs;
use crate::scoring::row_nlls;

/// Figures of one condition.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    pub(crate) condition: Condition,
    /// Negative log-likelihood (nats) and tokens of the target of each example.
    pub(crate) nll: Vec<(f64, usize)>,
    /// What was chosen among the candidates of the ranked examples.
    pub(crate) choices: Vec<Choice>,
    /// Answers of the first examples.
    pub(crate) answers: Vec<String>,
    /// Example and rank of its item in the catalogue.
    pub(crate) catalogue: Vec<(usize, usize)>,
    /// Example and place of its item in the list of the beam search.
    pub(crate) beam: Vec<(usize, Option<usize>)>,
    pub(crate) cost: Cost,
}

/// What is scored: the examples, and what turns their users into soft tokens. Preferred variable name: `trial`.
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
