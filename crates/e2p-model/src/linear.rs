//! A frozen linear map: weights as plain tensors in the checkpoint's `[out, in]` layout.

use burn::tensor::Tensor;

use crate::kernels;
use crate::load::WeightSource;

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[d_out, d_in]`, as in PyTorch checkpoints. The product takes a transposed view: for one row (decoding) that reads the weights
    /// in order, for many rows the layout makes no difference (measured on flex).
    weight: Tensor<2>,
    /// `[d_out]`
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes a projection from `source`, stacked from `parts` of `(module path, rows)`.
    pub(crate) fn load(
        source: &mut dyn WeightSource,
        parts: &[(String, usize)],
        d_in: usize,
        bias: bool,
        transposed: bool,
    ) -> Self {
        let named = |kind: &str| {
            parts
                .iter()
                .map(|(path, rows)| (format!("{path}.{kind}"), *rows))
                .collect::<Vec<_>>()
        };
        Self {
            weight: source.matrix(&named("weight"), d_in, transposed),
            bias: bias.then(|| source.vector(&named("bias"))),
        }
    }

    /// A map that shares `weight`, such as a tied head.
    pub(crate) fn tied(weight: Tensor<2>) -> Self {
        Self { weight, bias: None }
    }

    /// `[rows, d_in]` to `[rows, d_out]`.
    pub(crate) fn forward_rows(&self, x: Tensor<2>) -> Tensor<2> {
        if self.is_kernel(&x) {
            return kernels::times_transposed(x, &self.weight, self.bias.as_ref());
        }
        let weight = self.weight.clone().cast(x.dtype());
        let y = x.matmul(weight.transpose());
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }

    /// `[batch_size, seq_len, d_in]` to `[batch_size, seq_len, d_out]`, as one product over all rows.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        over_rows(x, |x| self.forward_rows(x))
    }

    /// Gradient with respect to the input; the weights are constants.
    pub(crate) fn backward_rows(&self, dy: Tensor<2>) -> Tensor<2> {
        if self.is_kernel(&dy) {
            return kernels::times(dy, &self.weight, None);
        }
        let weight = self.weight.clone().cast(dy.dtype());
        dy.matmul(weight)
    }

    fn is_kernel(&self, x: &Tensor<2>) -> bool {
        kernels::serves(x)
            && kernels::serves_weights(&self.weight)
            && self.bias.as_ref().is_none_or(kernels::serves)
    }

    /// [`Self::backward_rows`] over `[batch_size, seq_len, d_out]`.
    pub(crate) fn backward(&self, dy: Tensor<3>) -> Tensor<3> {
        over_rows(dy, |dy| self.backward_rows(dy))
    }
}

/// Applies a function of rows to a batch of sequences.
fn over_rows(x: Tensor<3>, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch_size, seq_len, width] = x.dims();
    let y = f(x.reshape([batch_size * seq_len, width]));
    let width = y.dims()[1];
    y.reshape([batch_size, seq_len, width])
}
