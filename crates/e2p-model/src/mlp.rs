//! The feed-forward block, gated or plain.

use burn::tensor::{Tensor, activation, s};

use crate::config::{DecoderConfig, MlpKind};
use crate::families::Names;
use crate::kernels;
use crate::linear::Linear;
use crate::load::WeightSource;

#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    /// `gate_proj` and `up_proj` stacked where the block is gated: one product instead of two.
    up_proj: Linear,
    down_proj: Linear,
    kind: MlpKind,
}

/// The output of `up_proj`: what the backward pass needs.
#[derive(Debug, Clone)]
pub(crate) struct MlpRecord(Tensor<3>);

impl Mlp {
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        config: &DecoderConfig,
        names: &Names,
        layer: &str,
    ) -> Self {
        let up: Vec<_> = names
            .up_proj
            .iter()
            .map(|name| (format!("{layer}{name}"), config.d_ff))
            .collect();
        let down = [(format!("{layer}{}", names.down_proj), config.d_model)];
        Self {
            up_proj: Linear::load(
                source,
                &up,
                config.d_model,
                config.mlp_bias,
                names.transposed,
            ),
            down_proj: Linear::load(
                source,
                &down,
                config.d_ff,
                config.mlp_bias,
                names.transposed,
            ),
            kind: config.mlp,
        }
    }

    /// `[batch_size, seq_len, d_model]` in and out.
    pub(crate) fn forward(&self, x: Tensor<3>, keep: bool) -> (Tensor<3>, Option<MlpRecord>) {
        let up = self.up_proj.forward(x);
        let record = keep.then(|| MlpRecord(up.clone()));
        (self.down_proj.forward(activate(self.kind, up)), record)
    }

    /// Gradient with respect to the input of [`Self::forward`].
    pub(crate) fn backward(&self, record: MlpRecord, dy: Tensor<3>) -> Tensor<3> {
        let d_hidden = self.down_proj.backward(dy);
        self.up_proj
            .backward(activate_backward(self.kind, record.0, d_hidden))
    }
}

/// The block's activation: `[.., d_ff]` from `[.., d_ff]`, or from `[.., 2 d_ff]` (gate, then up) where gated.
fn activate(kind: MlpKind, up: Tensor<3>) -> Tensor<3> {
    if kernels::serves(&up) {
        return kernels::activate(kind, up);
    }
    activate_composed(kind, up)
}

pub(crate) fn activate_composed(kind: MlpKind, up: Tensor<3>) -> Tensor<3> {
    match kind {
        MlpKind::GatedSilu => {
            let (gate, up) = halves(up);
            activation::silu(gate) * up
        }
        MlpKind::GeluTanh => activation::gelu_approximate(up),
        MlpKind::Gelu => activation::gelu(up),
    }
}

/// Gradient of [`activate`] with respect to `up`.
fn activate_backward(kind: MlpKind, up: Tensor<3>, dy: Tensor<3>) -> Tensor<3> {
    if kernels::serves(&up) && kernels::serves(&dy) {
        return kernels::activate_backward(kind, up, dy);
    }
    activate_backward_composed(kind, up, dy)
}

pub(crate) fn activate_backward_composed(kind: MlpKind, up: Tensor<3>, dy: Tensor<3>) -> Tensor<3> {
    match kind {
        MlpKind::GatedSilu => {
            let (gate, up) = halves(up);
            let sigmoid = activation::sigmoid(gate.clone());
            let silu = gate * sigmoid.clone();
            // silu' = sigmoid + silu (1 - sigmoid)
            let slope = sigmoid.clone() + silu.clone() - silu.clone() * sigmoid;
            Tensor::cat(vec![dy.clone() * up * slope, dy * silu], 2)
        }
        MlpKind::GeluTanh => {
            // gelu = x/2 (1 + t), t = tanh(u), u = c (x + a x^3); gelu' = (1 + t)/2 + x/2 (1 - t^2) c (1 + 3 a x^2)
            const A: f64 = 0.044_715;
            let c = (2.0 / std::f64::consts::PI).sqrt();
            let square = up.clone().square();
            let t = (up.clone() * square.clone().mul_scalar(A).add_scalar(1.0))
                .mul_scalar(c)
                .tanh();
            let du = square.mul_scalar(3.0 * A).add_scalar(1.0).mul_scalar(c);
            let slope = t.clone().add_scalar(1.0) + up * (t.square().neg().add_scalar(1.0)) * du;
            dy * slope.mul_scalar(0.5)
        }
        MlpKind::Gelu => {
            // gelu' = cdf(x) + x pdf(x) of the standard normal distribution
            let cdf = up
                .clone()
                .mul_scalar(std::f64::consts::FRAC_1_SQRT_2)
                .erf()
                .add_scalar(1.0)
                .mul_scalar(0.5);
            let pdf = up
                .clone()
                .square()
                .mul_scalar(-0.5)
                .exp()
                .mul_scalar(1.0 / std::f64::consts::TAU.sqrt());
            dy * (cdf + up * pdf)
        }
    }
}

/// The two halves of the last dimension.
fn halves(x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let half = x.dims()[2] / 2;
    (
        x.clone().slice(s![.., .., ..half]),
        x.slice(s![.., .., half..]),
    )
}
