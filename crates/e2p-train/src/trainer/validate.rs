//! The validation split under the right users and under others.

use burn::module::Module;
use e2p_prefix::{Method, PrefillCache, Projector, SplicedRow};

use super::plan::Setup;
use crate::error::Result;
use crate::observe::ValidReport;
use crate::run_dir::State;
use crate::scoring::{mean_nll, other_users, row_nlls};

/// Scores the validation examples; `state` keeps the best loss and counts what did not improve it.
pub(super) fn validate(
    setup: &Setup<'_>,
    projector: &Projector,
    prefills: &mut PrefillCache,
    state: &mut State,
) -> Result<ValidReport> {
    let Setup {
        recipe,
        inputs,
        users,
        validation,
        ..
    } = setup;
    let projector = projector.valid();
    let device = inputs.decoder.device();
    let rows: Vec<SplicedRow> = validation
        .iter()
        .map(|example| example.row.clone())
        .collect();
    let mut nll = |user_of: &dyn Fn(usize) -> usize| -> Result<f64> {
        let prefix = |indices: &[usize]| {
            if recipe.method == Method::SoftPrompt {
                return Some(projector.default_prefix(indices.len()));
            }
            let numbers: Vec<usize> = indices
                .iter()
                .map(|index| user_of(validation[*index].user))
                .collect();
            Some(projector.forward(users.batch(&numbers, device)))
        };
        Ok(mean_nll(&row_nlls(
            &inputs.decoder,
            &rows,
            recipe.train.batch_size,
            prefills,
            prefix,
            |_| true,
        )?))
    };
    let valid_nll = nll(&|user| user)?;
    let valid_shuffled_nll = if recipe.method == Method::SoftPrompt {
        valid_nll
    } else {
        // Among the users of the validation examples, so that strangers are compared with
        // strangers.
        let mut present: Vec<usize> = validation.iter().map(|example| example.user).collect();
        present.sort_unstable();
        present.dedup();
        let other = other_users(present.len(), recipe.seed);
        nll(&|user| {
            present[other[present
                .binary_search(&user)
                .expect("a user of the validation examples")]]
        })?
    };
    let is_best = state.best_valid.is_none_or(|best| valid_nll < best);
    if is_best {
        state.best_valid = Some(valid_nll);
        state.bad_validations = 0;
    } else {
        state.bad_validations += 1;
    }
    Ok(ValidReport {
        step: state.step,
        valid_nll,
        valid_shuffled_nll,
        is_best,
    })
}
