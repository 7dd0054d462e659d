//! A frozen linear map.

use burn::tensor::Tensor;

use crate::load::WeightSource;
use crate::matrix::Matrix;

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[d_out, d_in]`
    weight: Matrix,
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
            weight: load_matrix(source, &named("weight"), d_in, transposed),
            bias: bias.then(|| source.vector(&named("bias"))),
        }
    }

    /// A map that shares `weight`, such as a tied head.
    pub(crate) fn tied(weight: Matrix) -> Self {
        Self { weight, bias: None }
    }

    /// `[rows, d_in]` to `[rows, d_out]`.
    pub(crate) fn forward_rows(&self, x: Tensor<2>) -> Tensor<2> {
        self.weight.matmul_transposed(x, self.bias.as_ref())
    }

    /// `[batch_size, seq_len, d_in]` to `[batch_size, seq_len, d_out]`, as one product over all
    /// rows.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        over_rows(x, |x| self.forward_rows(x))
    }

    /// Gradient with respect to the input; the weights are constants.
    pub(crate) fn backward_rows(&self, dy: Tensor<2>) -> Tensor<2> {
        self.weight.matmul(dy)
    }

    /// [`Self::backward_rows`] over `[batch_size, seq_len, d_out]`.
    pub(crate) fn backward(&self, dy: Tensor<3>) -> Tensor<3> {
        over_rows(dy, |dy| self.backward_rows(dy))
    }
}

/// A matrix in the width that `source` asks for.
pub(crate) fn load_matrix(
    source: &mut dyn WeightSource,
    parts: &[(String, usize)],
    d_in: usize,
    transposed: bool,
) -> Matrix {
    let weight = source.matrix(parts, d_in, transposed);
    let matrix = if source.is_int8() {
        Matrix::int8(weight)
    } else {
        Matrix::plain(weight)
    };
    matrix.with_precision(source.matmul_precision())
}

/// Applies a function of rows to a batch of sequences.
fn over_rows(x: Tensor<3>, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch_size, seq_len, width] = x.dims();
    let y = f(x.reshape([batch_size * seq_len, width]));
    let width = y.dims()[1];
    y.reshape([batch_size, seq_len, width])
}
