//! Evaluation: the same examples under every control, with intervals over users.
//!
//! [`evaluate`] reads a finished run, scores each [`Condition`] and hands the figures to the
//! report. Nothing is trained here.

mod arms;
mod judge;
mod options;
mod score;
mod setup;

use std::path::Path;

use burn::tensor::Device;
use e2p_data::Split;
use e2p_model::LoadOptions;
use e2p_prefix::Method;

pub use self::arms::Condition;
use self::arms::{Arms, EvalExample};
use self::judge::assemble;
pub use self::judge::assemble::Evaluation;
pub use self::options::{EvalOptions, EvalProgress, Stage};
use self::score::catalogue::{self, Als, Catalogue};
pub use self::score::cost::Cost;
use self::score::trial::{Trial, target_nlls};
use self::score::{Scores, answers, candidates, cost, drift, samples};
use crate::encode::ExampleEncoder;
use crate::error::{Result, TrainError};
use crate::inputs::Inputs;
use crate::run_dir::RunDir;
use crate::scoring::other_users;
use crate::users::UserTable;

/// Evaluates the run in `run_path`.
///
/// `observe` sees the progress and says whether to go on.
///
/// # Errors
/// No finished run, a backbone or embedding space that is not the adapter's, a condition that
/// cannot be had, [`TrainError::Stopped`].
pub fn evaluate(
    run_path: &Path,
    inputs: &Inputs,
    options: &EvalOptions,
    mut observe: impl FnMut(EvalProgress) -> bool,
) -> Result<Evaluation> {
    let mut recipe = RunDir::recipe(run_path)?;
    if let Some(date) = &options.date {
        recipe.prompt.date.clone_from(date);
    }
    let decoder = &inputs.decoder;
    let adapter = setup::load_adapter(run_path, inputs, &recipe.backbone)?;
    setup::check_space(inputs, options, &recipe, &adapter)?;
    let noise = setup::noise_levels(options)?;
    let soft_prompt = setup::soft_prompt(run_path, inputs, options, &adapter)?;
    let conditions = setup::conditions(options, inputs, &recipe, &adapter, soft_prompt.is_some())?;
    let als = setup::als(options, inputs);
    let als = als.as_deref().map(Als::open).transpose()?;
    let split = options.split.unwrap_or_else(|| {
        if inputs.data.info().counts.examples(Split::Test) > 0 {
            Split::Test
        } else {
            Split::Valid
        }
    });

    let n_prefix = adapter.config.projector.n_prefix;
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        decoder.config(),
        &recipe.prompt,
        n_prefix,
    )?;
    let mut users = UserTable::new(adapter.config.embedding_space.clone());
    let (mut examples, skipped) =
        arms::read(&recipe, inputs, &encoder, split, options.limit, &mut users)?;
    let conditions = setup::with_others(conditions, users.len(), options)?;
    let mut strangers_without_profile = 0;
    if conditions.contains(&Condition::TextShuffled) {
        let other = other_users(users.len(), options.seed);
        strangers_without_profile =
            arms::give_strangers_profiles(&mut examples, inputs, &encoder, &users, &other)?;
    }
    let catalogue = Catalogue::load(inputs, &encoder, &examples, &users, options.catalogue)?;
    let arms = Arms::new(
        &adapter.projector,
        soft_prompt.as_ref().map(|adapter| &adapter.projector),
        &users,
        options.seed,
        noise[0],
        decoder.device(),
    );
    let ranked = candidates::tokenize(&encoder, &examples, options.candidates)?;
    // A recommendation is an item of the catalogue, not free text.
    let n_answers = if catalogue.is_some() {
        0
    } else {
        options.generate
    };
    let answered: Vec<&EvalExample> = examples.iter().take(n_answers).collect();

    let mut tell = |condition, stage, done, total| {
        let go_on = observe(EvalProgress {
            condition,
            stage,
            done,
            total,
        });
        if go_on {
            Ok(())
        } else {
            Err(TrainError::Stopped)
        }
    };
    let trial = Trial {
        inputs,
        arms: &arms,
        examples: &examples,
        batch_size: recipe.train.batch_size,
    };
    let mut base = candidates::Base::new();
    let mut scores = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let mut report = |stage, done, total| tell(Some(condition), stage, done, total);
        scores.push(Scores {
            condition,
            nll: target_nlls(trial, condition, |done| {
                report(Stage::Targets, done, examples.len())
            })?,
            choices: candidates::choose(trial, condition, &ranked, &mut base, |done| {
                report(Stage::Candidates, done, ranked.len())
            })?,
            answers: answers::answers(
                trial,
                condition,
                &answered,
                options.max_new_tokens,
                |done| report(Stage::Answers, done, answered.len()).is_ok(),
            )?,
            catalogue: Vec::new(),
            beam: Vec::new(),
            cost: cost::measure(trial, condition)?,
        });
    }
    let mut baselines = Vec::new();
    if let Some(catalogue) = &catalogue {
        catalogue::rank_all(
            trial,
            catalogue,
            &mut scores,
            options.beam,
            |done, total| tell(None, Stage::Catalogue, done, total),
        )?;
        baselines = catalogue::baselines(catalogue, &examples, als.as_ref())?;
    }
    let is_e2p = adapter.config.method == Method::E2p;
    let drift = if noise.len() > 1 && is_e2p {
        drift::measure(trial, &adapter, &noise, |done, total| {
            tell(Some(Condition::E2p), Stage::Drift, done, total)
        })?
    } else {
        Vec::new()
    };
    let samples = if is_e2p {
        samples::samples(trial, catalogue.as_ref(), options)?
    } else {
        Vec::new()
    };
    Ok(assemble::assemble(&assemble::Parts {
        run_path,
        recipe: &recipe,
        inputs,
        options,
        split,
        adapter: &adapter,
        examples: &examples,
        users: &users,
        skipped,
        strangers_without_profile,
        ranked: &ranked,
        catalogue: catalogue.as_ref(),
        scores: &scores,
        baselines: &baselines,
        drift: &drift,
        samples,
    }))
}

/// Opens what an evaluation of the run in `run_path` reads; `users` in place of the embeddings it
/// was trained with.
///
/// # Errors
/// As [`Inputs::open`].
pub fn open_run(
    run_path: &Path,
    backbone: &Path,
    users: Option<&Path>,
    options: &LoadOptions,
    device: &Device,
) -> Result<Inputs> {
    let mut recipe = RunDir::recipe(run_path)?;
    if let Some(users) = users {
        recipe.users = users.display().to_string();
    }
    Inputs::open(&recipe, backbone, options, device)
}
