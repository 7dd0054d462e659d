//! Evaluating a run in a test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use e2p_data::Split;
use e2p_train::{EvalOptions, Evaluation, Inputs, evaluate};

use super::{Written, example, user};

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

/// Users in pairs of train and test, with three examples each.
pub fn of_task(task: &'static str, rows: &[(&str, &str, &[&str])]) -> Written {
    let ids: Vec<String> = (0..6).map(|user| format!("u{user}")).collect();
    let mut examples = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let split = if number % 2 == 0 {
            Split::Train
        } else {
            Split::Test
        };
        for step in 0..3 {
            let (prompt, target, candidates) = rows[(number + step) % rows.len()];
            examples.push((split, example(id, prompt, target, candidates)));
        }
    }
    Written {
        task,
        users: ids
            .iter()
            .map(|id| user(id, &["I like tea.", "I am a nurse."]))
            .collect(),
        examples,
        items: Vec::new(),
    }
}
