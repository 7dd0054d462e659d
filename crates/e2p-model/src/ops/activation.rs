//! Activations of the feed-forward block: gated (SwiGLU) and plain (GELU).

use burn::tensor::{Tensor, activation};

use crate::config::MlpKind;
use crate::kernels;

/// `[.., d_ff]` from `[.., d_ff]`, or from `[.., 2 d_ff]` (gate, then up) where gated.
pub(crate) fn activate<const D: usize>(kind: MlpKind, up: Tensor<D>) -> Tensor<D> {
    if kernels::serves(&up) {
        return kernels::activate(kind, up);
    }
    activate_composed(kind, up)
}

pub(crate) fn activate_composed<const D: usize>(kind: MlpKind, up: Tensor<D>) -> Tensor<D> {
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
pub(crate) fn activate_backward(kind: MlpKind, up: Tensor<3>, dy: Tensor<3>) -> Tensor<3> {
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
            // gelu = x/2 (1 + t), t = tanh(u), u = c (x + a x^3);
            // gelu' = (1 + t)/2 + x/2 (1 - t^2) c (1 + 3 a x^2)
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
fn halves<const D: usize>(x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let half = x.dims()[D - 1] / 2;
    (
        x.clone().narrow(D - 1, 0, half),
        x.narrow(D - 1, half, half),
    )
}

/// The exact GELU, `x` times the normal distribution function of `x`, on `[rows, width]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    activate(MlpKind::Gelu, x)
}
