//! A small Llama-style backbone from scratch: byte-level BPE, next-token training, saved as an
//! ordinary Hugging Face directory.
//!
//! For the quick start, for tests, and for catalogues whose names no small public model can spell.
//! Unlike everything else in this crate it trains weights, so it runs the decoder under plain
//! autodiff.

mod recipe;
mod tokenizer;
mod weights;

use std::path::Path;
use std::time::Instant;

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use e2p_model::TargetScores;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

pub use self::recipe::PretrainRecipe;
use self::tokenizer::train_tokenizer;
use self::weights::{Parameters, save};
use crate::error::{Result, TrainError, io};
use crate::gradients::{clip, grad_norm};
use crate::recipe::Schedule;
use crate::schedule::LearningRates;

/// One step of pre-training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PretrainReport {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Mean loss of the batch, nats per token.
    pub loss: f64,
    /// Tokens of the batch.
    pub tokens: usize,
    /// Wall time of the step.
    pub seconds: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PretrainSummary {
    /// Steps done.
    pub steps: usize,
    /// Mean loss over the last tenth of the steps, nats per token.
    pub loss: f64,
    /// Parameters of the model.
    pub n_parameters: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Size of the vocabulary, which a small text may leave below the one asked for.
    pub vocab_size: usize,
}

/// Trains tokenizer and backbone on `documents` and writes the Hugging Face directory `out`.
///
/// `observe` sees every step and says whether to go on; when it does not, what there is by then is
/// saved.
///
/// # Errors
/// Too little text, an unwritable directory, sizes that do not fit.
pub fn pretrain(
    recipe: &PretrainRecipe,
    documents: &[String],
    out: &Path,
    device: &Device,
    mut observe: impl FnMut(&PretrainReport) -> bool,
) -> Result<PretrainSummary> {
    let problems = recipe.problems();
    if !problems.is_empty() {
        return Err(TrainError::Recipe {
            origin: "pretrain".into(),
            problems,
        });
    }
    std::fs::create_dir_all(out).map_err(io(out))?;
    let tokenizer = train_tokenizer(recipe.vocab_size, documents, out)?;
    let mut stream = Vec::new();
    for document in documents {
        let encoding = tokenizer
            .encode(document.as_str(), false)
            .map_err(|error| TrainError::Tokenizer {
                reason: error.to_string(),
            })?;
        stream.extend(encoding.get_ids().iter().map(|id| *id as i32));
        stream.push(0);
    }
    if stream.len() <= recipe.window {
        return Err(TrainError::TextTooSmall {
            found: stream.len(),
            expected: recipe.window + 1,
        });
    }
    let vocab_size = tokenizer.get_vocab_size(true);
    let config = recipe.decoder_config(vocab_size);
    config.validate()?;

    let training = device.clone().autodiff();
    let (names, mut module) = Parameters::init(&config, recipe.seed, &training)?;
    let rates = LearningRates {
        peak: recipe.lr,
        warmup_steps: recipe.warmup_steps,
        schedule: Schedule::Cosine,
        total_steps: recipe.steps,
    };
    let mut optimizer = AdamWConfig::new()
        .with_beta_2(0.95)
        .with_epsilon(1e-8)
        .with_weight_decay(recipe.weight_decay)
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x7e47);
    let mut recent = Vec::new();
    let mut steps = 0;
    for step in 0..recipe.steps {
        let began = Instant::now();
        let starts: Vec<usize> = (0..recipe.batch_size)
            .map(|_| rng.random_range(0..stream.len() - recipe.window))
            .collect();
        let shape = [recipe.batch_size, recipe.window];
        let inputs: Vec<i32> = starts
            .iter()
            .flat_map(|start| stream[*start..start + recipe.window].iter().copied())
            .collect();
        let targets: Vec<u32> = starts
            .iter()
            .flat_map(|start| {
                stream[start + 1..=start + recipe.window]
                    .iter()
                    .map(|id| *id as u32)
            })
            .collect();

        let decoder = module.decoder(&config, &names, device)?;
        let inputs = Tensor::<2, Int>::from_data(TensorData::new(inputs, shape), device);
        let hidden = decoder
            .forward_tokens(inputs)?
            .reshape([shape[0] * shape[1], config.d_model]);
        let loss = TargetScores::new(decoder.logits(hidden), &targets)
            .log_likelihood()
            .mean()
            .neg();
        let value: f32 = loss.clone().inner().into_scalar();
        if !value.is_finite() {
            return Err(TrainError::Diverged {
                step: step + 1,
                loss: value.into(),
            });
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), &module);
        let norm = grad_norm(&module, &gradients);
        clip(&module, &mut gradients, norm, 1.0);
        module = optimizer.step(rates.at(step), module, gradients);

        steps = step + 1;
        recent.push(f64::from(value));
        let tokens = shape[0] * shape[1];
        let report = PretrainReport {
            step: steps,
            total_steps: recipe.steps,
            loss: value.into(),
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        };
        if !observe(&report) {
            break;
        }
    }
    save(&config, &module, &names, out)?;
    let tail = &recent[recent.len() - recent.len().div_ceil(10)..];
    let loss = tail.iter().sum::<f64>() / tail.len() as f64;
    Ok(PretrainSummary {
        steps,
        loss,
        n_parameters: config.n_parameters(),
        tokens: stream.len(),
        vocab_size,
    })
}
