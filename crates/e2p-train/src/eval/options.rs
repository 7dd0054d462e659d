//! What to evaluate, and what an evaluation says while it runs.

use std::path::PathBuf;

use e2p_data::Split;

use crate::eval::arms::Condition;

/// What to evaluate. Preferred variable name: `options`.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// The split; `None` for test, or valid where there is no test split.
    pub split: Option<Split>,
    /// Examples; 0 for all.
    pub limit: usize,
    /// Conditions; empty for all that the run and its data allow.
    pub conditions: Vec<Condition>,
    /// Examples whose candidates are ranked; 0 for none.
    pub candidates: usize,
    /// Examples that are answered in text; 0 for none.
    pub generate: usize,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Examples whose item is ranked in the whole catalogue; 0 for none.
    pub catalogue: usize,
    /// Width of the constrained beam search over the catalogue; 0 for none.
    pub beam: usize,
    /// User vectors of a factorization, with its item vectors beside them, as a baseline; `None`
    /// for the run's own users where item vectors are beside them.
    pub als: Option<PathBuf>,
    /// The run of the `soft_prompt` control; `None` for `RUN/soft_prompt` where it is there.
    pub soft_prompt: Option<PathBuf>,
    /// The space of the embeddings where the file is not that of training; `None` for the name of
    /// the file.
    pub space: Option<String>,
    /// The day that chat templates read as today, as 2026-11-27; `None` for that of training.
    pub date: Option<String>,
    /// Standard deviations of noise on the standardised embeddings: the first for all conditions,
    /// each for the drift curve.
    pub embedding_noise: Vec<f32>,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Seeds the strangers, the random vectors, the noise and the bootstrap.
    pub seed: u64,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            split: None,
            limit: 0,
            conditions: Vec::new(),
            candidates: 500,
            generate: 200,
            max_new_tokens: 40,
            catalogue: 1000,
            beam: 50,
            als: None,
            soft_prompt: None,
            space: None,
            date: None,
            embedding_noise: vec![0.0],
            resamples: 1000,
            seed: 0,
        }
    }
}

/// What an evaluation is doing, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalProgress {
    /// The condition; `None` for what conditions share.
    pub condition: Option<Condition>,
    /// The figure that is computed.
    pub stage: Stage,
    /// Examples done in this stage; for the catalogue, searches.
    pub done: usize,
    /// Examples, or searches, of this stage.
    pub total: usize,
}

/// A part of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Log-likelihoods of the targets.
    Targets,
    /// Log-likelihoods of the candidates.
    Candidates,
    /// Answers in text.
    Answers,
    /// Ranks in the catalogue.
    Catalogue,
    /// Log-likelihoods under noise.
    Drift,
}
