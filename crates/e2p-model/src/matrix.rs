//! A frozen matrix in the width that it is stored in.

use std::sync::Arc;

use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::int8::Int8;
use crate::precision::MatmulPrecision;
use crate::{kernels, ops};

/// `[d_out, d_in]`, as in PyTorch checkpoints. Preferred variable name: `weight`.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    values: Values,
    precision: MatmulPrecision,
}

#[derive(Debug, Clone)]
enum Values {
    /// In the data type of the tensor.
    Plain(Tensor<2>),
    /// In 8 bits, for the CPU kernels.
    Int8(Arc<Int8>),
}

impl Matrix {
    /// `weight` as it is.
    pub(crate) fn plain(weight: Tensor<2>) -> Self {
        Self {
            values: Values::Plain(weight),
            precision: MatmulPrecision::Highest,
        }
    }

    /// The same values, whose products are computed in `precision`.
    #[must_use]
    pub(crate) fn with_precision(self, precision: MatmulPrecision) -> Self {
        Self { precision, ..self }
    }

    /// `weight` rounded to 8 bits.
    pub(crate) fn int8(weight: Tensor<2>) -> Self {
        let d_in = weight.dims()[1];
        let values = weight
            .into_data()
            .try_into_vec_as::<f32>()
            .expect("weights are numbers");
        Self {
            values: Values::Int8(Arc::new(Int8::new(&values, d_in))),
            precision: MatmulPrecision::Highest,
        }
    }

    /// `x W^T + b`: `[rows, d_in]` to `[rows, d_out]`.
    pub(crate) fn matmul_transposed(&self, x: Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<2> {
        match &self.values {
            Values::Plain(weight) => ops::matmul_transposed(x, weight, bias, self.precision),
            // Stored on the CPU only, where the kernels always serve.
            Values::Int8(weight) => {
                kernels::matmul_int8_transposed(x, weight, bias, self.precision)
            }
        }
    }

    /// `dy W`: `[rows, d_out]` to `[rows, d_in]`.
    pub(crate) fn matmul(&self, dy: Tensor<2>) -> Tensor<2> {
        match &self.values {
            Values::Plain(weight) => ops::matmul(dy, weight, None, self.precision),
            Values::Int8(weight) => kernels::matmul_int8(dy, weight, self.precision),
        }
    }

    /// The rows `ids` (`[n]`), `[n, d_in]` in `dtype`.
    pub(crate) fn rows(&self, ids: Tensor<1, Int>, dtype: DType) -> Tensor<2> {
        match &self.values {
            Values::Plain(weight) => weight.clone().select(0, ids).cast(dtype),
            Values::Int8(weight) => {
                let device = ids.device();
                let ids = ids
                    .into_data()
                    .try_into_vec_as::<i32>()
                    .expect("ids are integers");
                let values: Vec<f32> = ids.iter().flat_map(|id| weight.row(*id as usize)).collect();
                let data = TensorData::new(values, [ids.len(), weight.d_in]);
                Tensor::from_data(data, (&device, dtype))
            }
        }
    }

    pub(crate) fn precision(&self) -> MatmulPrecision {
        self.precision
    }

    pub(crate) fn dtype_name(&self) -> &'static str {
        match &self.values {
            Values::Plain(weight) => weight.dtype().name(),
            Values::Int8(_) => "int8",
        }
    }

    /// Mean over the rows of the root mean square of a row.
    pub(crate) fn row_rms(&self) -> f32 {
        match &self.values {
            Values::Plain(weight) => weight
                .clone()
                .cast(DType::F32)
                .square()
                .mean_dim(1)
                .sqrt()
                .mean()
                .into_scalar(),
            Values::Int8(weight) => {
                let rms = |row| {
                    let squares: f64 = weight.row(row).map(|x| f64::from(x * x)).sum();
                    (squares / weight.d_in as f64).sqrt()
                };
                let n_rows = weight.scales.len();
                ((0..n_rows).map(rms).sum::<f64>() / n_rows as f64) as f32
            }
        }
    }
}
