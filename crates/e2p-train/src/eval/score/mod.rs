//! What the model under a condition gives: log-likelihoods of targets and candidates, answers,
//! ranks in the catalogue, cost.

pub(crate) mod answers;
pub(crate) mod candidates;
pub(crate) mod catalogue;
pub(crate) mod cost;
pub(crate) mod drift;
pub(crate) mod samples;
pub(crate) mod trial;

use self::candidates::Choice;
use self::cost::Cost;
use crate::eval::arms::Condition;

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
