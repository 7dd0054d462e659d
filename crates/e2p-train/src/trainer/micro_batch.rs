//! The gradient of one step: its batches in parts that fit into memory, one forward and backward
//! pass each.
//!
//! Gradients of parts add up to that of the whole step, because every part divides by the step's
//! target tokens.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Bool, Tensor, TensorData};
use e2p_data::normal;
use e2p_model::Keep;
use e2p_prefix::{Method, PrefillCache, Projector, SplicedRow};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::plan::Setup;
use crate::error::Result;
use crate::inputs::TokenizedExample;
use crate::loss::{Comparison, LossScale, batch_loss};
use crate::memory::parts;

/// What a step found. Preferred variable name: `found`.
pub(super) struct StepGradient {
    pub(super) gradients: GradientsParams,
    /// Mean over the step's target tokens, nats.
    pub(super) loss: f64,
    /// Contrast and distillation terms, weighted.
    pub(super) extra: f64,
    /// Tokens run through the backbone, soft ones and targets included, padding not.
    pub(super) tokens: usize,
}

/// The gradient of step `step` over `batches`, indices of the training examples.
pub(super) fn step_gradient(
    setup: &Setup<'_>,
    projector: &Projector,
    batches: &[Vec<usize>],
    step: usize,
    prefills: &mut PrefillCache,
) -> Result<StepGradient> {
    // Everything random of a step follows from the seed and the step.
    let mut rng = ChaCha8Rng::seed_from_u64(setup.recipe.seed ^ 0x5eed);
    rng.set_stream(step as u64);
    let micro_batches = micro_batches(setup, projector, batches);
    let examples = &setup.training.examples;
    let chosen = || micro_batches.iter().copied().flatten();
    let n_targets: usize = chosen().map(|index| examples[*index].row.n_targets).sum();
    let scale = LossScale {
        token_weight: 1.0 / n_targets as f32,
        row_weight: 1.0 / chosen().count() as f32,
    };

    let mut accumulator = GradientsAccumulator::new();
    let (mut nll, mut extra, mut tokens) = (0.0, 0.0, 0);
    for indices in micro_batches {
        let chosen: Vec<&TokenizedExample> =
            indices.iter().map(|index| &examples[*index]).collect();
        let (gradients, loss) = micro_batch(setup, projector, &chosen, scale, prefills, &mut rng)?;
        accumulator.accumulate(projector, gradients);
        nll += loss.0;
        extra += loss.1;
        let n_prefix = projector.n_prefix();
        tokens += chosen
            .iter()
            .map(|example| example.row.len() + n_prefix)
            .sum::<usize>();
    }
    Ok(StepGradient {
        gradients: accumulator.grads(),
        loss: nll / n_targets as f64,
        extra,
        tokens,
    })
}

/// The batches, cut into what fits into the memory that the recipe allows.
fn micro_batches<'b>(
    setup: &'b Setup<'_>,
    projector: &Projector,
    batches: &'b [Vec<usize>],
) -> Vec<&'b [usize]> {
    if setup.recipe.train.pass_mib == 0 {
        return batches.iter().map(Vec::as_slice).collect();
    }
    let budget = setup.recipe.train.pass_mib << 20;
    let row = |index: usize| &setup.training.examples[index].row;
    let config = setup.inputs.decoder.config();
    let cut = |batch| {
        parts(
            batch,
            row,
            config,
            projector.n_prefix(),
            keep(setup),
            budget,
        )
    };
    batches.iter().flat_map(|batch| cut(batch)).collect()
}

/// One forward and backward pass: the projector's gradients, and the summed negative log-likelihood
/// with the additions to the loss.
fn micro_batch(
    setup: &Setup<'_>,
    projector: &Projector,
    chosen: &[&TokenizedExample],
    scale: LossScale,
    prefills: &mut PrefillCache,
    rng: &mut ChaCha8Rng,
) -> Result<(GradientsParams, (f64, f64))> {
    let (recipe, decoder) = (setup.recipe, &setup.inputs.decoder);
    let rows: Vec<SplicedRow> = chosen.iter().map(|example| example.row.clone()).collect();
    let is_soft_prompt = recipe.method == Method::SoftPrompt;
    let is_default: Vec<bool> = chosen
        .iter()
        .map(|_| is_soft_prompt || rng.random_bool(recipe.train.prefix_dropout))
        .collect();
    let prefix = prefixes(setup, projector, chosen, &is_default, rng);
    let partners = (recipe.loss.contrast_weight > 0.0).then(|| partners(chosen, &is_default, rng));
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
    let batch = prefills.batch(decoder, &rows)?;
    let frozen = prefix.clone().inner();
    let loss = batch_loss(
        decoder,
        &batch,
        frozen,
        &recipe.loss,
        &comparison,
        scale,
        keep(setup),
    )?;

    // The frozen stack is not under autodiff: `sum(prefix * gradient)` has its gradient.
    let mut surrogate = (prefix.clone() * loss.d_prefix).sum();
    if let (Some(d_partner), Some(partners)) = (loss.d_partner, &partners) {
        let rows: Vec<i32> = partners.iter().map(|row| *row as i32).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [partners.len()]), decoder.device());
        surrogate = surrogate + (prefix.select(0, rows) * d_partner).sum();
    }
    let gradients = GradientsParams::from_grads(surrogate.backward(), projector);
    Ok((gradients, (loss.nll, loss.extra)))
}

fn keep(setup: &Setup<'_>) -> Keep {
    if setup.recipe.train.recompute {
        Keep::LayerInputs
    } else {
        Keep::Activations
    }
}

/// The soft tokens of a batch, under autodiff: each user's own, the default where dropped.
fn prefixes(
    setup: &Setup<'_>,
    projector: &Projector,
    chosen: &[&TokenizedExample],
    is_default: &[bool],
    rng: &mut ChaCha8Rng,
) -> Tensor<3> {
    let recipe = setup.recipe;
    let device = projector.default_prefix(1).device().inner();
    if is_default.iter().all(|is_default| *is_default) {
        return projector.default_prefix(chosen.len());
    }
    let numbers: Vec<usize> = chosen.iter().map(|example| example.user).collect();
    let mut embeddings = setup.users.batch(&numbers, &device);
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

/// For each row a row with another user, or the row itself where there is none or a default prefix
/// is involved.
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
