//! The projector: the only trained part.
//!
//! `prefix = s * g(e) / rms(g(e))`, with `g` one of the presets and `s` a learned scale that starts
//! at the mean RMS of the backbone's token embeddings: a soft token is as large as a token from the
//! first step on (PPlug, arXiv 2409.11901, matches norms by a constant). Beside `g` there is a
//! learned default prefix. It is the cold-start user, the unconditional branch of guidance, what
//! prefix dropout puts in a row's place, and, with the projector unused, the `soft_prompt`
//! baseline.

use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Bool, Device, Tensor, TensorData, activation};
use e2p_model::ops::{self, gelu, rms_norm};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::{Preset, ProjectorConfig};

/// Maps user embeddings to soft tokens. Preferred variable name: `projector`.
#[derive(Module, Debug)]
pub struct Projector {
    /// `[d_user, d_hidden]`; absent from the `linear` preset.
    input: Option<Linear>,
    /// `[d_hidden or d_user, n_prefix * d_model]`
    output: Linear,
    /// `[d_user, n_prefix * d_model]`; only in the `glide` preset.
    residual: Option<Linear>,
    /// The RMS of each soft token, `[n_prefix]`.
    scale: Param<Tensor<1>>,
    /// The prefix of an unknown user, `[n_prefix, d_model]`.
    default_prefix: Param<Tensor<2>>,
    #[module(skip)]
    n_prefix: usize,
    #[module(skip)]
    is_gelu: bool,
}

impl ProjectorConfig {
    /// A projector with seeded random weights whose soft tokens have the RMS `token_rms`.
    ///
    /// Weights are uniform within `1 / sqrt(fan_in)` as in PyTorch. The output bias starts as the
    /// default prefix and the weights leading to it are scaled by `token_rms * output_gain`: small
    /// values start near one prefix for all users.
    ///
    /// The same seed gives the same weights on every device. Parameter ids are fixed, so that
    /// optimizer state saved beside an adapter finds its parameters again.
    pub fn init(&self, token_rms: f32, output_gain: f32, seed: u64, device: &Device) -> Projector {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut next_id = 0;
        let mut id = || {
            next_id += 1;
            ParamId::from(next_id)
        };
        let mut uniform = |n: usize, half_width: f32| -> Vec<f32> {
            (0..n)
                .map(|_| half_width * (2.0 * rng.random::<f32>() - 1.0))
                .collect()
        };
        let width = self.n_prefix * self.d_model;
        // Uniform within sqrt(3) has the RMS 1. What is projected starts as large as a token too:
        // it is normalised, so that its size decides nothing but how far a step of the optimizer
        // turns it, and so it turns as fast as the default prefix.
        let direction = uniform(width, token_rms * 3f32.sqrt());
        let output_gain = token_rms * output_gain;
        // Weights are learned on a device under autodiff and constants elsewhere.
        let is_learned = device.is_autodiff();
        let mut linear = |d_in: usize, d_out: usize, gain: f32, bias: Option<Vec<f32>>| {
            let half_width = 1.0 / (d_in as f32).sqrt();
            let weight = uniform(d_in * d_out, gain * half_width);
            let bias = bias.unwrap_or_else(|| uniform(d_out, half_width));
            Linear {
                weight: Param::initialized(
                    id(),
                    Tensor::from_data(TensorData::new(weight, [d_in, d_out]), device)
                        .set_require_grad(is_learned),
                ),
                bias: Some(Param::initialized(
                    id(),
                    Tensor::from_data(TensorData::new(bias, [d_out]), device)
                        .set_require_grad(is_learned),
                )),
            }
        };
        let has_hidden = self.preset != Preset::Linear;
        let input = has_hidden.then(|| linear(self.d_user, self.d_hidden, 1.0, None));
        let output = linear(
            if has_hidden {
                self.d_hidden
            } else {
                self.d_user
            },
            width,
            output_gain,
            Some(direction.clone()),
        );
        let residual = (self.preset == Preset::Glide)
            .then(|| linear(self.d_user, width, output_gain, Some(vec![0.0; width])));
        Projector {
            input,
            output,
            residual,
            scale: Param::initialized(
                id(),
                Tensor::<1>::from_data(
                    TensorData::new(vec![token_rms; self.n_prefix], [self.n_prefix]),
                    device,
                )
                .set_require_grad(is_learned),
            ),
            default_prefix: Param::initialized(
                id(),
                Tensor::<2>::from_data(
                    TensorData::new(direction, [self.n_prefix, self.d_model]),
                    device,
                )
                .set_require_grad(is_learned),
            ),
            n_prefix: self.n_prefix,
            is_gelu: self.preset == Preset::Mlp,
        }
    }
}

impl Projector {
    /// Soft tokens of users.
    ///
    /// # Shapes
    /// - `user_embedding`: `[batch_size, d_user]`, standardised by the embedding space
    /// - output: `[batch_size, n_prefix, d_model]`
    pub fn forward(&self, user_embedding: Tensor<2>) -> Tensor<3> {
        self.forward_dropped(user_embedding, None)
    }

    /// [`Self::forward`] with the hidden layer multiplied by `dropout`: 0 for what is dropped, `1 /
    /// (1 - p)` for what stays. Presets without a hidden layer have nothing to drop.
    ///
    /// The caller draws the factors: a generator that others in the process use too could not
    /// repeat a training run.
    ///
    /// # Shapes
    /// - `user_embedding`: `[batch_size, d_user]`
    /// - `dropout`: `[batch_size, d_hidden]`
    /// - output: `[batch_size, n_prefix, d_model]`
    pub fn forward_dropped(
        &self,
        user_embedding: Tensor<2>,
        dropout: Option<Tensor<2>>,
    ) -> Tensor<3> {
        let batch_size = user_embedding.dims()[0];
        let hidden = match &self.input {
            None => user_embedding.clone(),
            Some(input) => {
                let hidden = linear(input, user_embedding.clone());
                let hidden = if self.is_gelu {
                    gelu(hidden)
                } else {
                    activation::silu(hidden)
                };
                match dropout {
                    Some(dropout) => hidden * dropout,
                    None => hidden,
                }
            }
        };
        let projected = linear(&self.output, hidden);
        let projected = match &self.residual {
            Some(residual) => projected + linear(residual, user_embedding),
            None => projected,
        };
        let d_model = projected.dims()[1] / self.n_prefix;
        let rows = projected.reshape([batch_size * self.n_prefix, d_model]);
        let ones = Tensor::ones([d_model], &rows.device());
        let rows = rms_norm(rows, ones, 1e-8).reshape([batch_size, self.n_prefix, d_model]);
        rows * self.scale.val().reshape([1, self.n_prefix, 1])
    }

    /// The prefix of an unknown user, repeated: `[batch_size, n_prefix, d_model]`.
    pub fn default_prefix(&self, batch_size: usize) -> Tensor<3> {
        let prefix = self.default_prefix.val();
        let [n_prefix, d_model] = prefix.dims();
        prefix
            .unsqueeze::<3>()
            .expand([batch_size, n_prefix, d_model])
    }

    /// [`Self::forward_dropped`] with the default prefix in the rows where `is_default` is set
    /// (`[batch_size]`).
    pub fn forward_or_default(
        &self,
        user_embedding: Tensor<2>,
        dropout: Option<Tensor<2>>,
        is_default: Tensor<1, Bool>,
    ) -> Tensor<3> {
        let own = self.forward_dropped(user_embedding, dropout);
        let dims = own.dims();
        let mask = is_default.reshape([dims[0], 1, 1]).expand(dims);
        own.mask_where(mask, self.default_prefix(dims[0]))
    }

    /// The projector with its weight matrices multiplied by `factor`: decoupled weight decay.
    ///
    /// Biases, the scale and the default prefix stay as they are: they hold what all users share,
    /// and a scale that decays silences the prefix.
    #[must_use]
    pub fn with_weights_scaled(mut self, factor: f32) -> Self {
        let layers = [
            self.input.as_mut(),
            Some(&mut self.output),
            self.residual.as_mut(),
        ];
        for layer in layers.into_iter().flatten() {
            layer.weight = layer.weight.clone().map(|weight| {
                let is_learned = weight.is_require_grad();
                Tensor::from_inner(weight.inner().mul_scalar(factor)).set_require_grad(is_learned)
            });
        }
        self
    }

    /// The parameters whose effect is the same for all users: output biases, scale and default
    /// prefix.
    pub fn shared_parameters(&self) -> Vec<ParamId> {
        let layers = [Some(&self.output), self.residual.as_ref()];
        let biases = layers
            .into_iter()
            .flatten()
            .filter_map(|layer| layer.bias.as_ref());
        biases
            .map(|bias| bias.id)
            .chain([self.scale.id, self.default_prefix.id])
            .collect()
    }

    /// Width of the hidden layer; 0 in the `linear` preset.
    pub fn d_hidden(&self) -> usize {
        self.input
            .as_ref()
            .map_or(0, |input| input.weight.dims()[1])
    }

    /// Soft tokens per user.
    pub fn n_prefix(&self) -> usize {
        self.n_prefix
    }

    /// The learned RMS of the soft tokens, their mean.
    pub fn scale(&self) -> f32 {
        self.scale.val().inner().mean().into_scalar()
    }
}

fn linear(layer: &Linear, x: Tensor<2>) -> Tensor<2> {
    ops::linear(x, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}
