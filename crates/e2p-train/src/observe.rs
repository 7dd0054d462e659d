//! What a run tells whoever watches. Library code never prints.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// One optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Passes over the training split, as a fraction.
    pub epoch: f64,
    /// Mean negative log-likelihood of the targets, nats per token.
    pub loss: f64,
    /// Contrast and distillation terms, weighted; 0 when off.
    pub extra_loss: f64,
    /// Norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Tokens run through the backbone, soft ones and targets included, padding not.
    pub tokens: usize,
    /// Wall time of the step.
    pub seconds: f64,
}

/// One validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidReport {
    /// Steps done before it.
    pub step: usize,
    /// Mean negative log-likelihood with the right user, nats per target token.
    pub valid_nll: f64,
    /// The same with another user's embedding.
    pub valid_shuffled_nll: f64,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// Watches a run; every method has a do-nothing default.
pub trait Observer {
    /// The run is ready: examples to train on, examples left out, trainable parameters.
    fn started(&mut self, n_examples: usize, n_skipped: usize, n_parameters: usize) {
        let _ = (n_examples, n_skipped, n_parameters);
    }
    /// A step is done.
    fn step(&mut self, report: &StepReport) {
        let _ = report;
    }
    /// A validation is done.
    fn validated(&mut self, report: &ValidReport) {
        let _ = report;
    }
    /// A checkpoint is complete on disk.
    fn checkpoint(&mut self, path: &Path) {
        let _ = path;
    }
    /// Asked after each step: whether to save and stop.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
