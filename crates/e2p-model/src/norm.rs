//! RMS norm and layer norm over the last dimension, forward and backward.
//!
//! Both compute in f32 whatever the weights' data type, as transformers does.

use burn::tensor::{DType, Tensor};

use crate::config::NormKind;
use crate::kernels;
use crate::load::WeightSource;

/// A frozen normalisation.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    weight: Tensor<1>,
    /// Present for layer norm only.
    bias: Option<Tensor<1>>,
    kind: NormKind,
    eps: f64,
}

impl Norm {
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        path: &str,
        width: usize,
        kind: NormKind,
        eps: f64,
    ) -> Self {
        let mut vector = |name: &str| source.vector(&[(format!("{path}.{name}"), width)]);
        let weight = vector("weight");
        let bias = (kind == NormKind::LayerNorm).then(|| vector("bias"));
        Self {
            weight,
            bias,
            kind,
            eps,
        }
    }

    /// Same shape in and out, last dimension normalised.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if kernels::serves(&x) && kernels::serves(&self.weight) {
            return kernels::norm(x, &self.weight, self.bias.as_ref(), self.eps);
        }
        self.forward_composed(x)
    }

    pub(crate) fn forward_composed<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let (normalised, _) = self.normalise(x.cast(DType::F32));
        // Hugging Face casts back before scaling; with f32 weights the order makes no difference.
        let y = normalised.cast(dtype) * self.weight.clone().unsqueeze();
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    /// Gradient with respect to the input `x` of [`Self::forward`].
    ///
    /// With `z = x / rms(x)` (or `(x - mean) / std`) and `g = weight * dy`:
    /// `dx = (g - z mean(g z)) / rms`, and for layer norm also `- mean(g)` inside the bracket.
    pub(crate) fn backward<const D: usize>(&self, x: Tensor<D>, dy: Tensor<D>) -> Tensor<D> {
        if kernels::serves(&x) && kernels::serves(&dy) && kernels::serves(&self.weight) {
            return kernels::norm_backward(x, dy, &self.weight, self.bias.as_ref(), self.eps);
        }
        self.backward_composed(x, dy)
    }

    pub(crate) fn backward_composed<const D: usize>(
        &self,
        x: Tensor<D>,
        dy: Tensor<D>,
    ) -> Tensor<D> {
        let dtype = x.dtype();
        let (normalised, inverse) = self.normalise(x.cast(DType::F32));
        let g = (dy * self.weight.clone().unsqueeze()).cast(DType::F32);
        let along = (g.clone() * normalised.clone()).mean_dim(D - 1);
        let g = match self.kind {
            NormKind::RmsNorm => g,
            NormKind::LayerNorm => {
                let mean = g.clone().mean_dim(D - 1);
                g - mean
            }
        };
        ((g - normalised * along) * inverse).cast(dtype)
    }

    /// The input over its root mean square (or centred, over its standard deviation), and the factor `1 / rms` per row.
    fn normalise<const D: usize>(&self, x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        let x = match self.kind {
            NormKind::RmsNorm => x,
            NormKind::LayerNorm => {
                let mean = x.clone().mean_dim(D - 1);
                x - mean
            }
        };
        let inverse = x
            .clone()
            .square()
            .mean_dim(D - 1)
            .add_scalar(self.eps)
            .sqrt()
            .recip();
        (x * inverse.clone(), inverse)
    }
}
