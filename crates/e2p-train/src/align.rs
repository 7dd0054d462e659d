//! An affine map between two versions of an embedding space with a small network on top: the
//! aligner for a space that no matrix maps back.
//!
//! `mapped = affine(x) + std_to * mlp((x - mean_from) / std_from)`. The network starts at zero, is
//! trained on what the affine map misses, and the state that is kept is the best on users held out
//! for that: it never does worse than the affine map there.

use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData, activation};
use e2p_data::UserEmbeddings;
use e2p_data::embeddings::{
    AlignMethod, AlignReport, Aligner, EmbeddingStatistics, alignment_error, held_out_users,
    users_in_common,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Result, TrainError};
use crate::recipe::Schedule;
use crate::schedule::LearningRates;

/// Steps between two looks at the held-out users.
const EVAL_EVERY: usize = 100;
/// Looks without gain after which training stops.
const PATIENCE: usize = 5;
/// Users at a step.
const BATCH: usize = 256;
/// Hidden layer, in multiples of the larger of the two dimensions.
const WIDENING: usize = 2;
/// Below this deviation a dimension counts as constant.
const MIN_STD: f32 = 1e-6;

/// How the network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpAlignerOptions {
    /// Steps of 256 users at most; training stops early when held-out users gain no more.
    pub steps: usize,
    /// Learning rate of AdamW, falling along half a cosine.
    pub lr: f64,
    /// Of the first weights and the order of users.
    pub seed: u64,
}

impl Default for MlpAlignerOptions {
    fn default() -> Self {
        Self {
            steps: 3000,
            lr: 2e-3,
            seed: 0,
        }
    }
}

/// A fitted map. Preferred variable name: `aligner`.
#[derive(Debug)]
pub struct MlpAligner {
    affine: Aligner,
    mlp: ResidualMlp,
    from: EmbeddingStatistics,
    to: EmbeddingStatistics,
    device: Device,
}

#[derive(Module, Debug)]
struct ResidualMlp {
    /// `[d_from, d_hidden]`
    input: Linear,
    /// `[d_hidden, d_to]`
    output: Linear,
}

impl ResidualMlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(activation::gelu(self.input.forward(x)))
    }
}

impl MlpAligner {
    /// Fits a map from the space of `from` to that of `to`.
    ///
    /// Of the users that both files know, a tenth measures the error that is returned, a tenth
    /// decides when training stops, and the others are fitted. `observe(step, of steps)` hears of
    /// every step and may end training by returning `false`; the best map so far is kept.
    ///
    /// # Errors
    /// Fewer than 20 users in common, numbers that are not finite, and a loss that is not.
    pub fn fit(
        from: &UserEmbeddings,
        to: &UserEmbeddings,
        options: &MlpAlignerOptions,
        device: &Device,
        mut observe: impl FnMut(usize, usize) -> bool,
    ) -> Result<(Self, AlignReport)> {
        let common = users_in_common(from, to)?;
        let (held_out, others) = held_out_users(&common);
        let (judges, fitted) = held_out_users(&others);

        let training = device.clone().autodiff();
        let mut mlp = ResidualMlp::init(from.dim(), to.dim(), options.seed, &training);
        let mut aligner = Self {
            affine: Aligner::fit_users(from, to, &fitted, AlignMethod::Affine)?,
            mlp: mlp.valid(),
            from: deviations(from.statistics_of(fitted.iter().copied())?),
            to: deviations(to.statistics_of(fitted.iter().copied())?),
            device: device.clone(),
        };
        let error =
            |aligner: &Self, users| alignment_error(from, to, users, |rows| aligner.map(rows));
        let mut best = (error(&aligner, &judges)?, aligner.mlp.clone());
        let mut waited = 0;

        let rates = LearningRates {
            peak: options.lr,
            warmup_steps: EVAL_EVERY.min(options.steps / 10),
            schedule: Schedule::Cosine,
            total_steps: options.steps,
        };
        let mut optimizer = AdamWConfig::new().with_weight_decay(0.01).init();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed ^ 0xa116);
        for step in 0..options.steps {
            let users: Vec<&str> = (0..BATCH.min(fitted.len()))
                .map(|_| fitted[rng.random_range(0..fitted.len())])
                .collect();
            let (input, missed) = aligner.batch(from, to, &users)?;
            let missed = Tensor::from_data(missed, &training);
            let difference = mlp.forward(Tensor::from_data(input, &training)) - missed;
            let loss = difference.square().mean();
            let value = f64::from(loss.clone().inner().into_scalar::<f32>());
            if !value.is_finite() {
                return Err(TrainError::Diverged {
                    step: step + 1,
                    loss: value,
                });
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &mlp);
            mlp = optimizer.step(rates.at(step), mlp, gradients);

            let goes_on = observe(step + 1, options.steps);
            let is_last = !goes_on || step + 1 == options.steps;
            if is_last || (step + 1) % EVAL_EVERY == 0 {
                aligner.mlp = mlp.valid();
                let error = error(&aligner, &judges)?;
                waited += 1;
                if error < best.0 {
                    best = (error, aligner.mlp.clone());
                    waited = 0;
                }
            }
            if is_last || waited == PATIENCE {
                break;
            }
        }
        aligner.mlp = best.1;
        let report = AlignReport {
            users_in_common: common.len(),
            held_out: held_out.len(),
            error: error(&aligner, &held_out)?,
        };
        Ok((aligner, report))
    }

    /// Embeddings of the new space as those of the old, any number of rows one after the other.
    ///
    /// # Panics
    /// If `rows` are not rows of the space that was mapped.
    pub fn map(&self, rows: &[f32]) -> Vec<f32> {
        let mut mapped = self.affine.map(rows);
        if mapped.is_empty() {
            return mapped;
        }
        let added = self
            .mlp
            .forward(Tensor::from_data(self.input(rows), &self.device))
            .into_data()
            .try_into_vec_as::<f32>()
            .expect("floating-point numbers");
        let d_to = self.to.std.len();
        for (mapped, added) in mapped.chunks_exact_mut(d_to).zip(added.chunks_exact(d_to)) {
            for ((mapped, added), std) in mapped.iter_mut().zip(added).zip(&self.to.std) {
                *mapped += std * added;
            }
        }
        mapped
    }

    /// Rows as the network reads them, `[rows, d_from]`.
    fn input(&self, rows: &[f32]) -> TensorData {
        let d_from = self.from.std.len();
        let standardised = rows.chunks_exact(d_from).flat_map(|row| {
            let scales = self.from.mean.iter().zip(&self.from.std);
            row.iter()
                .zip(scales)
                .map(|(x, (mean, std))| (x - mean) / std)
        });
        TensorData::new(standardised.collect(), [rows.len() / d_from, d_from])
    }

    /// The network's input for `users`, and what it should say: what the affine map misses, in
    /// deviations of the old space.
    fn batch(
        &self,
        from: &UserEmbeddings,
        to: &UserEmbeddings,
        users: &[&str],
    ) -> Result<(TensorData, TensorData)> {
        let mut rows = Vec::with_capacity(users.len() * from.dim());
        let mut missed = Vec::with_capacity(users.len() * to.dim());
        for user in users {
            rows.extend_from_slice(&from.get(user)?);
            missed.extend_from_slice(&to.get(user)?);
        }
        let d_to = to.dim();
        let mapped = self.affine.map(&rows);
        for (missed, mapped) in missed.chunks_exact_mut(d_to).zip(mapped.chunks_exact(d_to)) {
            for ((missed, mapped), std) in missed.iter_mut().zip(mapped).zip(&self.to.std) {
                *missed = (*missed - mapped) / std;
            }
        }
        let missed = TensorData::new(missed, [users.len(), d_to]);
        Ok((self.input(&rows), missed))
    }
}

impl ResidualMlp {
    /// Weights uniform within `1 / sqrt(fan_in)`, as in PyTorch, and an output of zero.
    fn init(d_from: usize, d_to: usize, seed: u64, device: &Device) -> Self {
        let d_hidden = WIDENING * d_from.max(d_to);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let half_width = 1.0 / (d_from as f32).sqrt();
        let mut uniform = |n: usize| -> Vec<f32> {
            (0..n)
                .map(|_| half_width * (2.0 * rng.random::<f32>() - 1.0))
                .collect()
        };
        let mut next_id = 0;
        let mut linear = |weight: Vec<f32>, bias: Vec<f32>, shape: [usize; 2]| {
            next_id += 2;
            Linear {
                weight: Param::initialized(
                    ParamId::from(next_id),
                    Tensor::from_data(TensorData::new(weight, shape), device).require_grad(),
                ),
                bias: Some(Param::initialized(
                    ParamId::from(next_id + 1),
                    Tensor::from_data(TensorData::new(bias, [shape[1]]), device).require_grad(),
                )),
            }
        };
        Self {
            input: linear(
                uniform(d_from * d_hidden),
                uniform(d_hidden),
                [d_from, d_hidden],
            ),
            output: linear(
                vec![0.0; d_hidden * d_to],
                vec![0.0; d_to],
                [d_hidden, d_to],
            ),
        }
    }
}

/// The statistics with 1 for the deviation of a dimension that never changes.
fn deviations(mut statistics: EmbeddingStatistics) -> EmbeddingStatistics {
    for std in &mut statistics.std {
        if *std < MIN_STD {
            *std = 1.0;
        }
    }
    statistics
}
