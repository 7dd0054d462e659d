//! The loss of a batch and its gradient with respect to the prefix.
//!
//! The plain loss is the mean negative log-likelihood over target tokens. Two additions, both off
//! by default: contrast with another user of the batch, and distillation from the same backbone
//! reading the profile as text.

use burn::tensor::{Tensor, TensorData, activation};
use e2p_model::{Decoder, Keep, TargetScores};
use e2p_prefix::{SplicedBatch, SplicedRow};

use crate::error::Result;
use crate::recipe::LossRecipe;

/// What one forward and backward pass found.
#[derive(Debug)]
pub struct BatchLoss {
    /// Sum of negative log-likelihoods over the target tokens, nats.
    pub nll: f64,
    /// Weighted contrast and distillation terms, on the scale of the mean loss.
    pub extra: f64,
    /// Gradient with respect to the prefix of each row, `[batch_size, n_prefix, d_model]`.
    pub d_prefix: Tensor<3>,
    /// Gradient with respect to the prefix of each row's contrast partner; the same shape.
    pub d_partner: Option<Tensor<3>>,
}

/// What a batch is compared with.
#[derive(Debug, Default)]
pub struct Comparison<'a> {
    /// For each row another row of the batch with another user, or its own number for no contrast.
    pub partners: Option<&'a [usize]>,
    /// For each row the same target behind the profile text.
    pub teachers: Option<&'a [SplicedRow]>,
}

/// What a micro-batch contributes to the mean of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// One over the target tokens of the step.
    pub token_weight: f32,
    /// One over the rows of the step.
    pub row_weight: f32,
}

/// Runs a batch forward and backward.
///
/// Gradients are those of `nll * token_weight + extra`, so that micro-batches of unequal token
/// counts add up to one mean; `row_weight` does the same for terms that are means over rows.
///
/// # Errors
/// A row longer than the context.
pub fn batch_loss(
    decoder: &Decoder,
    batch: &SplicedBatch,
    prefix: Tensor<3>,
    recipe: &LossRecipe,
    comparison: &Comparison<'_>,
    scale: LossScale,
    keep: Keep,
) -> Result<BatchLoss> {
    let (logits, tape) = batch.forward(decoder, Some(prefix.clone()), keep)?;
    let scores = TargetScores::new(logits, batch.targets());
    let likelihood = to_vec(scores.log_likelihood());
    let target_rows: Vec<usize> = batch.target_rows().collect();
    let n_rows = prefix.dims()[0];
    let mut weights = vec![scale.token_weight; likelihood.len()];
    let mut extra = 0.0;

    // Contrast: the right user must beat the partner by a margin, per target token.
    let mut d_partner = None;
    if let Some(partners) = comparison.partners {
        let rows: Vec<i32> = partners.iter().map(|row| *row as i32).collect();
        let partner_prefix = prefix.clone().select(
            0,
            Tensor::from_data(TensorData::new(rows, [n_rows]), &prefix.device()),
        );
        let (logits, partner_tape) = batch.forward(decoder, Some(partner_prefix), keep)?;
        let partner_scores = TargetScores::new(logits, batch.targets());
        let partner_likelihood = to_vec(partner_scores.log_likelihood());
        let mut gap = vec![0.0; n_rows];
        let mut count = vec![0usize; n_rows];
        for ((row, right), wrong) in target_rows.iter().zip(&likelihood).zip(&partner_likelihood) {
            gap[*row] += right - wrong;
            count[*row] += 1;
        }
        let mut partner_weights = vec![0.0; likelihood.len()];
        let is_active = |row: usize| {
            partners[row] != row && gap[row] / (count[row] as f32) < recipe.contrast_margin
        };
        for row in (0..n_rows).filter(|row| is_active(*row)) {
            extra += f64::from(
                recipe.contrast_weight
                    * scale.row_weight
                    * (recipe.contrast_margin - gap[row] / count[row] as f32),
            );
        }
        for (target, row) in target_rows
            .iter()
            .enumerate()
            .filter(|(_, row)| is_active(**row))
        {
            let weight = recipe.contrast_weight * scale.row_weight / count[*row] as f32;
            weights[target] += weight;
            partner_weights[target] -= weight;
        }
        d_partner = Some(batch.backward(
            decoder,
            partner_tape,
            partner_scores.backward(&partner_weights),
        ));
    }

    // Distillation: forward divergence from the teacher's next-token distributions.
    let mut d_extra_logits = None;
    if let Some(teachers) = comparison.teachers {
        let teacher = SplicedBatch::new(decoder, teachers, None)?;
        let (logits, _) = teacher.forward(decoder, None, Keep::LayerInputs)?;
        let teacher = activation::log_softmax(logits.cast(burn::tensor::DType::F32), 1);
        let student = scores.log_probabilities().clone();
        let weight = recipe.distill_weight * scale.token_weight;
        let divergence = (teacher.clone().exp() * (teacher.clone() - student.clone()))
            .sum()
            .into_scalar::<f32>();
        extra += f64::from(weight * divergence);
        d_extra_logits = Some((student.exp() - teacher.exp()).mul_scalar(weight));
    }

    let nll = -likelihood
        .iter()
        .map(|value| f64::from(*value))
        .sum::<f64>();
    let mut d_logits = scores.backward(&weights);
    if let Some(d_extra) = d_extra_logits {
        d_logits = d_logits + d_extra;
    }
    Ok(BatchLoss {
        nll,
        extra,
        d_prefix: batch.backward(decoder, tape, d_logits),
        d_partner,
    })
}

fn to_vec(tensor: Tensor<1>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec_as::<f32>()
        .expect("log-likelihoods are f32")
}
