//! The loop, readable top to bottom: batches, gradient, step, observe, validate, save.
//!
//! The projector is under autodiff, the frozen stack is not (`micro_batch.rs`). Everything random
//! (order, dropout, noise, partners) follows from the seed and the step number, so a resumed run
//! repeats an uninterrupted one bit by bit on the CPU.

mod micro_batch;
mod plan;
mod validate;

use std::path::Path;
use std::time::Instant;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use e2p_prefix::{Adapter, AdapterConfig, FORMAT_VERSION, Method, PrefillCache, Projector};

use self::micro_batch::step_gradient;
use self::plan::{Plan, Setup};
use self::validate::validate;
use crate::error::{Result, TrainError};
use crate::gradients::{clip, grad_norm};
use crate::inputs::Inputs;
use crate::observe::{Observer, StepReport};
use crate::recipe::Recipe;
use crate::run_dir::{MetricsLine, RunDir, State};

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
    let setup = Setup::new(recipe, inputs)?;
    let mut plan = Plan::new(&setup);
    let decoder = &inputs.decoder;
    let config = recipe.projector_config(setup.users.space().dim, decoder.config().d_model);
    config.validate()?;
    let fresh = config.init(
        decoder.token_rms(),
        recipe.projector.output_gain,
        recipe.seed,
        &decoder.device().clone().autodiff(),
    );
    let mut run = match start {
        Start::Resume => RunDir::resume(run_path, recipe, &setup.run_inputs())?,
        Start::Fresh | Start::Force => {
            let force = start == Start::Force;
            RunDir::create(run_path, recipe, &setup.run_inputs(), force)?
        }
    };
    let optimizer = optimizer(recipe);
    let (mut state, mut projector, mut best, mut optimizer) = run
        .latest(&fresh, optimizer.clone())?
        .unwrap_or_else(|| (State::default(), fresh.clone(), fresh.clone(), optimizer));
    run.rewind_metrics(state.step)?;
    let (n_examples, skipped) = (setup.training.examples.len(), setup.training.skipped);
    observer.started(n_examples, skipped, fresh.num_params());
    if state.step == 0 {
        // Written before the first step, so that a disk that cannot take a checkpoint is found out
        // now.
        run.save(&state, &projector, &best, &optimizer)?;
    }

    let mut prefills = PrefillCache::new(recipe.train.earlier_cache_mib << 20);
    while state.step < plan.total_steps && !state.is_finished {
        let began = Instant::now();
        let batches = plan.batches(state.step);
        let found = step_gradient(&setup, &projector, batches, state.step, &mut prefills)?;
        let norm = grad_norm(&projector, &found.gradients);
        if !(found.loss.is_finite() && norm.is_finite()) {
            return Err(TrainError::Diverged {
                step: state.step + 1,
                loss: found.loss,
            });
        }
        let lr = plan.rates.at(state.step);
        projector = update(recipe, &mut optimizer, projector, found.gradients, norm, lr);
        state.step += 1;

        let report = StepReport {
            step: state.step,
            total_steps: plan.total_steps,
            epoch: state.step as f64 / plan.steps_per_epoch as f64,
            loss: found.loss,
            extra_loss: found.extra,
            grad_norm: norm,
            lr,
            tokens: found.tokens,
            seconds: began.elapsed().as_secs_f64(),
        };
        run.log(&MetricsLine::Step(report.clone()))?;
        observer.step(&report);

        if setup.validation.is_empty() {
            best = projector.clone();
        } else if plan.validates_after(state.step) {
            let report = validate(&setup, &projector, &mut prefills, &mut state)?;
            if report.is_best {
                best = projector.clone();
            }
            run.log(&MetricsLine::Valid(report.clone()))?;
            observer.validated(&report);
            let patience = recipe.train.patience;
            state.is_finished = patience > 0 && state.bad_validations >= patience;
        }
        state.is_finished |= state.step == plan.total_steps;
        let is_stopped = observer.should_stop();
        let is_due = state.step.is_multiple_of(recipe.train.checkpoint_every);
        if is_stopped || state.is_finished || is_due {
            observer.checkpoint(&run.save(&state, &projector, &best, &optimizer)?);
        }
        if is_stopped && !state.is_finished {
            return Ok(summary(&state, &plan, true));
        }
    }

    run.save_adapter(&Adapter {
        config: AdapterConfig {
            format_version: FORMAT_VERSION,
            peft_type: "E2P".into(),
            method: recipe.method,
            base_model_name_or_path: recipe.backbone.clone(),
            backbone: inputs.backbone.clone(),
            projector: config,
            prompt: recipe.prompt.clone(),
            prompt_format: Some(setup.training.format),
            embedding_space: setup.users.space().clone(),
            recipe_hash: recipe.hash(),
        },
        projector: best,
    })?;
    Ok(summary(&state, &plan, false))
}

fn summary(state: &State, plan: &Plan<'_>, is_interrupted: bool) -> TrainSummary {
    TrainSummary {
        steps: state.step,
        total_steps: plan.total_steps,
        is_interrupted,
        best_valid: state.best_valid,
    }
}

/// One step of the optimizer with clipped gradients, whose common norm is `norm`.
fn update(
    recipe: &Recipe,
    optimizer: &mut ModuleOptimizer,
    mut projector: Projector,
    mut gradients: GradientsParams,
    norm: f64,
    lr: f64,
) -> Projector {
    clip(&projector, &mut gradients, norm, recipe.optim.max_grad_norm);
    if recipe.method == Method::E2p {
        projector = projector.with_weights_scaled(1.0 - lr as f32 * recipe.optim.weight_decay);
    }
    let shared = ParamGroup::from_ids(projector.shared_parameters());
    let rates = ModuleLrScheduler::new(lr)
        .with_group(shared, lr * recipe.optim.shared_lr_ratio)
        .step();
    optimizer.step(rates, projector, gradients)
}

/// AdamW as the recipe says; clipping is done over all parameters at once, in [`clip`], and decay
/// on the weight matrices alone, in [`Projector::with_weights_scaled`].
fn optimizer(recipe: &Recipe) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_beta_1(recipe.optim.beta_1)
        .with_beta_2(recipe.optim.beta_2)
        .with_epsilon(1e-8)
        .with_weight_decay(0.0)
        .init()
}
