//! A frozen norm, RMS norm or layer norm, over the last dimension.

use burn::tensor::Tensor;

use crate::config::NormKind;
use crate::load::WeightSource;
use crate::ops::{self, NormWeights};

/// A frozen normalisation.
#[derive(Debug, Clone)]
pub(crate) struct Norm(NormWeights);

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
        Self(NormWeights { weight, bias, eps })
    }

    /// Same shape in and out, last dimension normalised.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::norm(x, &self.0)
    }

    /// Gradient with respect to the input `x` of [`Self::forward`].
    pub(crate) fn backward<const D: usize>(&self, x: Tensor<D>, dy: Tensor<D>) -> Tensor<D> {
        ops::norm_backward(x, dy, &self.0)
    }

    #[cfg(all(test, feature = "flex"))]
    pub(crate) fn weights(&self) -> &NormWeights {
        &self.0
    }
}
