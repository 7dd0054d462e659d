//! Evaluating a run in a test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use e2p_train::{EvalOptions, Evaluation, Inputs, evaluate};

pub fn quick() -> EvalOptions {
    EvalOptions {
        max_new_tokens: 6,
        resamples: 50,
        ..EvalOptions::default()
    }
}

pub fn evaluated(run: &Path, inputs: &Inputs, options: &EvalOptions) -> Evaluation {
    evaluate(run, inputs, options, |_| true).unwrap()
}

/// Names of the metrics of a condition.
pub fn names(evaluation: &Evaluation, condition: &str) -> Vec<String> {
    let all = &evaluation.report.conditions;
    let (_, metrics) = all.iter().find(|(name, _)| name == condition).unwrap();
    metrics.iter().map(|(name, _)| name.clone()).collect()
}

pub fn value(evaluation: &Evaluation, condition: &str, metric: &str) -> f64 {
    evaluation
        .report
        .condition(condition, metric)
        .unwrap()
        .value
}
