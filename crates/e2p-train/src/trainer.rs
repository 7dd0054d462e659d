//! The loop, readable top to bottom: batch, prefix, frozen pass forth and back, surrogate, step, observe, validate, save.
//!
//! The projector is under autodiff, the frozen stack is not: [`batch_loss`] returns the loss and its gradient with respect to the prefix,
//! and `sum(prefix * gradient)` carries it into the projector. Everything random (order, dropout, noise, partners) follows from the seed
//! and the step number, so a resumed run repeats an uninterrupted one bit by bit on the CPU.

use std::path::Path;
use std::time::Instant;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Bool, Tensor, TensorData};
use e2p_data::Split;
use e2p_model::Keep;
use e2p_prefix::{
    Adapter, AdapterConfig, FORMAT_VERSION, Method, PrefillCache, Projector, SplicedRow,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::batches::epoch_batches;
use crate::error::{Result, TrainError};
use crate::gradients::{clip, grad_norm};
use crate::inputs::{Inputs, TokenizedExample};
use crate::loss::{Comparison, LossScale, batch_loss};
use crate::memory::parts;
use crate::observe::{Observer, StepReport, ValidReport};
use crate::recipe::Recipe;
use crate::run_dir::{MetricsLine, RunDir, RunInputs, State};
use crate::schedule::learning_rate;
use crate::scoring::{mean_nll, other_users, row_nlls};
use crate::users::UserTable;

/// What to do with a run directory that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Refuse it.
    Fresh,
    /// Go on with it.
    Resume,
    /// Remove the run in it.
    Force,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSummary {
    /// Steps done.
    pub steps: usize,
    /// Steps planned.
    pub total_steps: usize,
    /// Whether it was stopped from outside; the adapter is then not written yet.
    pub is_interrupted: bool,
    /// Lowest validation loss, nats per target token.
    pub best_valid: Option<f64>,
}

/// Trains what `recipe` says and leaves the adapter in `run_path`.
///
/// # Errors
/// Inputs that do not fit, an unwritable disk, a loss that is not a number.
pub fn train(
    recipe: &Recipe,
    inputs: &Inputs,
    run_path: &Path,
    start: Start,
    observer: &mut dyn Observer,
) -> Result<TrainSummary> {
    if inputs.embeddings.is_none() && recipe.method == Method::E2p {
        let problem = "`users` is empty, expected a file of user embeddings (only method = \"soft_prompt\" goes without)";
        return Err(TrainError::Recipe {
            origin: recipe.task.clone(),
            problems: vec![problem.into()],
        });
    }
    let decoder = &inputs.decoder;
    let mut users = UserTable::new(inputs.space(recipe)?);
    let training = inputs.tokenize(recipe, Split::Train, 0, &mut users)?;
    let validation =
        match inputs.tokenize(recipe, Split::Valid, recipe.train.eval_examples, &mut users) {
            Ok(split) => split.examples,
            // No validation split: train to the end and keep the last projector.
            Err(TrainError::NoExamples { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
    let examples = &training.examples;

    let device = decoder.device().clone().autodiff();
    let config = recipe.projector_config(users.space().dim, decoder.config().d_model);
    config.validate()?;
    let fresh = config.init(
        decoder.token_rms(),
        recipe.projector.output_gain,
        recipe.seed,
        &device,
    );
    let optimizer = optimizer(recipe);
    let run_inputs = RunInputs {
        format_version: 1,
        backbone: inputs.backbone.fingerprint.clone(),
        embedding_space: users.space().fingerprint(),
        examples: fingerprint(examples),
    };
    let mut run = match start {
        Start::Resume => RunDir::resume(run_path, recipe, &run_inputs)?,
        Start::Fresh | Start::Force => {
            RunDir::create(run_path, recipe, &run_inputs, start == Start::Force)?
        }
    };
    let first = State {
        step: 0,
        best_valid: None,
        bad_validations: 0,
        is_finished: false,
    };
    let (mut state, mut projector, mut best, mut optimizer) =
        match run.latest(&fresh, optimizer.clone())? {
            Some(found) => found,
            None => (first, fresh.clone(), fresh.clone(), optimizer),
        };
    run.rewind_metrics(state.step)?;

    let lengths: Vec<usize> = examples
        .iter()
        .map(|example| example.row.after.len())
        .collect();
    let batches_per_epoch = examples.len().div_ceil(recipe.train.batch_size);
    let steps_per_epoch = batches_per_epoch.div_ceil(recipe.train.accumulate);
    let mut total_steps = steps_per_epoch * recipe.train.epochs;
    if recipe.train.max_steps > 0 {
        total_steps = total_steps.min(recipe.train.max_steps);
    }
    let eval_every = if recipe.train.eval_every > 0 {
        recipe.train.eval_every
    } else {
        steps_per_epoch
    };
    let mut earlier = PrefillCache::new(recipe.train.earlier_cache_mib << 20);
    let keep = if recipe.train.recompute {
        Keep::LayerInputs
    } else {
        Keep::Activations
    };
    observer.started(examples.len(), training.skipped, fresh.num_params());
    if state.step == 0 {
        // Written before the first step, so that a disk that cannot take a checkpoint is found out now.
        run.save(&state, &projector, &best, &optimizer)?;
    }

    let mut order = (usize::MAX, Vec::new());
    while state.step < total_steps && !state.is_finished {
        let began = Instant::now();
        let epoch = state.step / steps_per_epoch;
        if order.0 != epoch {
            order = (
                epoch,
                epoch_batches(&lengths, recipe.train.batch_size, recipe.seed, epoch),
            );
        }
        let within = state.step % steps_per_epoch * recipe.train.accumulate;
        let batches = &order.1[within..(within + recipe.train.accumulate).min(order.1.len())];
        let micro_batches: Vec<&[usize]> = if recipe.train.pass_mib == 0 {
            batches.iter().map(Vec::as_slice).collect()
        } else {
            let budget = recipe.train.pass_mib << 20;
            let row = |index: usize| &examples[index].row;
            let parts = |batch| {
                parts(
                    batch,
                    row,
                    decoder.config(),
                    projector.n_prefix(),
                    keep,
                    budget,
                )
            };
            batches.iter().flat_map(|batch| parts(batch)).collect()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x5eed);
        rng.set_stream(state.step as u64);

        let n_targets: usize = micro_batches
            .iter()
            .copied()
            .flatten()
            .map(|index| examples[*index].row.n_targets)
            .sum();
        let n_rows: usize = micro_batches.iter().map(|part| part.len()).sum();
        let mut accumulator = GradientsAccumulator::new();
        let (mut nll, mut extra, mut tokens) = (0.0, 0.0, 0);
        for indices in micro_batches {
            let chosen: Vec<&TokenizedExample> =
                indices.iter().map(|index| &examples[*index]).collect();
            let rows: Vec<SplicedRow> = chosen.iter().map(|example| example.row.clone()).collect();
            let is_default: Vec<bool> = chosen
                .iter()
                .map(|_| {
                    recipe.method == Method::SoftPrompt
                        || rng.random_bool(recipe.train.prefix_dropout)
                })
                .collect();
            let prefix = prefixes(&projector, &users, &chosen, &is_default, recipe, &mut rng);
            let partners = (recipe.loss.contrast_weight > 0.0)
                .then(|| partners(&chosen, &is_default, &mut rng));
            let teachers: Option<Vec<SplicedRow>> = chosen
                .iter()
                .map(|example| example.teacher.clone())
                .collect();
            let comparison = Comparison {
                partners: partners.as_deref(),
                teachers: teachers
                    .as_deref()
                    .filter(|_| recipe.loss.distill_weight > 0.0),
            };
            let batch = earlier.batch(decoder, &rows)?;
            let frozen = prefix.clone().inner();
            let scale = LossScale {
                token_weight: 1.0 / n_targets as f32,
                row_weight: 1.0 / n_rows as f32,
            };
            let loss = batch_loss(
                decoder,
                &batch,
                frozen,
                &recipe.loss,
                &comparison,
                scale,
                keep,
            )?;
            let mut surrogate = (prefix.clone() * loss.d_prefix).sum();
            if let (Some(d_partner), Some(partners)) = (loss.d_partner, &partners) {
                let rows: Vec<i32> = partners.iter().map(|row| *row as i32).collect();
                let rows =
                    Tensor::from_data(TensorData::new(rows, [partners.len()]), decoder.device());
                surrogate = surrogate + (prefix.select(0, rows) * d_partner).sum();
            }
            accumulator.accumulate(
                &projector,
                GradientsParams::from_grads(surrogate.backward(), &projector),
            );
            nll += loss.nll;
            extra += loss.extra;
            tokens += rows
                .iter()
                .map(|row| row.len() + projector.n_prefix())
                .sum::<usize>();
        }
        let mut gradients = accumulator.grads();
        let norm = grad_norm(&projector, &gradients);
        let loss = nll / n_targets as f64;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(TrainError::Diverged {
                step: state.step + 1,
                loss,
            });
        }
        clip(&projector, &mut gradients, norm, recipe.optim.max_grad_norm);
        let lr = learning_rate(&recipe.optim, state.step, total_steps);
        if recipe.method == Method::E2p {
            projector = projector.with_weights_scaled(1.0 - lr as f32 * recipe.optim.weight_decay);
        }
        let shared = ParamGroup::from_ids(projector.shared_parameters());
        let rates = ModuleLrScheduler::new(lr)
            .with_group(shared, lr * recipe.optim.shared_lr_ratio)
            .step();
        projector = optimizer.step(rates, projector, gradients);
        state.step += 1;

        let report = StepReport {
            step: state.step,
            total_steps,
            epoch: state.step as f64 / steps_per_epoch as f64,
            loss,
            extra_loss: extra,
            grad_norm: norm,
            lr,
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        };
        run.log(&MetricsLine::Step(report.clone()))?;
        observer.step(&report);

        let is_last = state.step == total_steps;
        if !validation.is_empty() && (state.step.is_multiple_of(eval_every) || is_last) {
            let report = validate(
                recipe,
                inputs,
                &projector,
                &users,
                &validation,
                &mut earlier,
                &mut state,
            )?;
            if report.is_best {
                best = projector.clone();
            }
            run.log(&MetricsLine::Valid(report.clone()))?;
            observer.validated(&report);
            state.is_finished =
                recipe.train.patience > 0 && state.bad_validations >= recipe.train.patience;
        }
        state.is_finished |= is_last;
        if validation.is_empty() {
            best = projector.clone();
        }
        let is_stopped = observer.should_stop();
        if is_stopped
            || state.is_finished
            || state.step.is_multiple_of(recipe.train.checkpoint_every)
        {
            observer.checkpoint(&run.save(&state, &projector, &best, &optimizer)?);
        }
        if is_stopped && !state.is_finished {
            return Ok(TrainSummary {
                steps: state.step,
                total_steps,
                is_interrupted: true,
                best_valid: state.best_valid,
            });
        }
    }

    let adapter = Adapter {
        config: AdapterConfig {
            format_version: FORMAT_VERSION,
            peft_type: "E2P".into(),
            method: recipe.method,
            base_model_name_or_path: recipe.backbone.clone(),
            backbone: inputs.backbone.clone(),
            projector: config,
            prompt: recipe.prompt.clone(),
            prompt_format: Some(training.format),
            embedding_space: users.space().clone(),
            recipe_hash: recipe.hash(),
        },
        projector: best,
    };
    run.save_adapter(&adapter)?;
    Ok(TrainSummary {
        steps: state.step,
        total_steps,
        is_interrupted: false,
        best_valid: state.best_valid,
    })
}

/// AdamW as the recipe says; clipping is done over all parameters at once, in [`clip`], and decay on the weight matrices alone, in
/// [`Projector::with_weights_scaled`].
fn optimizer(recipe: &Recipe) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_beta_1(recipe.optim.beta_1)
        .with_beta_2(recipe.optim.beta_2)
        .with_epsilon(1e-8)
        .with_weight_decay(0.0)
        .init()
}

/// The soft tokens of a batch, under autodiff: each user's own, the default where dropped.
fn prefixes(
    projector: &Projector,
    users: &UserTable,
    chosen: &[&TokenizedExample],
    is_default: &[bool],
    recipe: &Recipe,
    rng: &mut ChaCha8Rng,
) -> Tensor<3> {
    let device = projector.default_prefix(1).device().inner();
    if is_default.iter().all(|is_default| *is_default) {
        return projector.default_prefix(chosen.len());
    }
    let numbers: Vec<usize> = chosen.iter().map(|example| example.user).collect();
    let mut embeddings = users.batch(&numbers, &device);
    if recipe.loss.embedding_noise > 0.0 {
        let shape = embeddings.dims();
        let noise = (0..shape[0] * shape[1])
            .map(|_| recipe.loss.embedding_noise * normal(rng))
            .collect::<Vec<f32>>();
        embeddings = embeddings + Tensor::from_data(TensorData::new(noise, shape), &device);
    }
    let width = projector.d_hidden();
    let p = recipe.projector.dropout;
    let dropout = (p > 0.0 && width > 0).then(|| {
        let kept = (1.0 / (1.0 - p)) as f32;
        let factors: Vec<f32> = (0..chosen.len() * width)
            .map(|_| if rng.random_bool(p) { 0.0 } else { kept })
            .collect();
        Tensor::from_data(TensorData::new(factors, [chosen.len(), width]), &device)
    });
    let mask = Tensor::<1, Bool>::from_data(
        TensorData::new(is_default.to_vec(), [is_default.len()]),
        &device,
    );
    projector.forward_or_default(embeddings, dropout, mask)
}

/// A standard normal number (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

/// For each row a row with another user, or the row itself where there is none or a default prefix is involved.
fn partners(chosen: &[&TokenizedExample], is_default: &[bool], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let n = chosen.len();
    (0..n)
        .map(|row| {
            let first = rng.random_range(0..n);
            let is_partner = |other: &usize| {
                chosen[*other].user != chosen[row].user && !is_default[*other] && !is_default[row]
            };
            (0..n)
                .map(|offset| (first + offset) % n)
                .find(is_partner)
                .unwrap_or(row)
        })
        .collect()
}

fn validate(
    recipe: &Recipe,
    inputs: &Inputs,
    projector: &Projector,
    users: &UserTable,
    validation: &[TokenizedExample],
    earlier: &mut PrefillCache,
    state: &mut State,
) -> Result<ValidReport> {
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
            earlier,
            prefix,
            |_| true,
        )?))
    };
    let valid_nll = nll(&|user| user)?;
    let valid_shuffled_nll = if recipe.method == Method::SoftPrompt {
        valid_nll
    } else {
        // Among the users of the validation examples, so that strangers are compared with strangers.
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

/// SHA-256 over every training row: ids, user number, place of the prefix.
fn fingerprint(examples: &[TokenizedExample]) -> String {
    let mut hash = Sha256::new();
    for example in examples {
        hash.update((example.user as u64).to_le_bytes());
        for part in [&example.row.before, &example.row.after] {
            hash.update((part.len() as u64).to_le_bytes());
            for id in part {
                hash.update(id.to_le_bytes());
            }
        }
        hash.update((example.row.n_targets as u64).to_le_bytes());
    }
    format!("{:x}", hash.finalize())
}
