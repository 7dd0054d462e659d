//! A frozen matrix in the width that it is stored in.

use std::sync::Arc;

use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels;

/// How exactly products with frozen matrices are computed, in PyTorch's words (`torch.set_float32_matmul_precision`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatmulPrecision {
    /// In `f32`, or in the data type of the weights on devices that compute in it.
    #[default]
    Highest,
    /// Where a CPU multiplies bf16 (AVX-512 BF16), both factors of products with the weights are rounded to bf16 and the sums are `f32`.
    /// Everything else stays as it is: forward products of up to eight rows, which wait for memory, those of up to 96 rows with 8-bit weights
    /// where the CPU has AVX-512 VNNI, norms, attention, and every product on other devices and CPUs.
    Medium,
}

impl MatmulPrecision {
    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::Medium => "medium",
        }
    }
}

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

/// A value is `scale (code - 128)`, with a scale for each row: symmetric, so that 0 stays 0, and nearest, so that a value is off by half a
/// scale at most.
#[derive(Debug)]
pub(crate) struct Int8 {
    pub(crate) codes: Vec<u8>,
    /// `[d_out]`
    pub(crate) scales: Vec<f32>,
    pub(crate) d_in: usize,
}

impl Int8 {
    /// The code of 0.
    pub(crate) const ZERO: u8 = 128;
    /// The largest distance of a code from [`Self::ZERO`].
    const LARGEST: f32 = 127.0;

    fn new(values: &[f32], d_in: usize) -> Self {
        let mut codes = vec![Self::ZERO; values.len()];
        let mut scales = vec![0.0; values.len() / d_in];
        let rounded = codes.par_chunks_exact_mut(d_in).zip(&mut scales);
        let rows = values.par_chunks_exact(d_in).zip(rounded);
        rows.for_each(|(row, (codes, scale))| {
            let largest = row
                .iter()
                .fold(0f32, |largest, value| largest.max(value.abs()));
            *scale = largest / Self::LARGEST;
            let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
            for (code, value) in codes.iter_mut().zip(row) {
                let step = (value * inverse)
                    .round()
                    .clamp(-Self::LARGEST, Self::LARGEST);
                *code = (step as i16 + i16::from(Self::ZERO)) as u8;
            }
        });
        Self {
            codes,
            scales,
            d_in,
        }
    }

    /// The values of one row.
    fn row(&self, row: usize) -> impl Iterator<Item = f32> {
        let scale = self.scales[row];
        self.codes[row * self.d_in..][..self.d_in]
            .iter()
            .map(move |code| scale * (f32::from(*code) - f32::from(Self::ZERO)))
    }
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
    pub(crate) fn times_transposed(&self, x: Tensor<2>, bias: Option<&Tensor<1>>) -> Tensor<2> {
        match &self.values {
            Values::Plain(weight) if is_kernel(&x, weight, bias) => {
                kernels::times_transposed(x, weight, bias, self.precision)
            }
            Values::Plain(weight) => {
                // A transposed view: for one row (decoding) that reads the weights in order, for many the layout makes no difference.
                let y = x.clone().matmul(weight.clone().cast(x.dtype()).transpose());
                match bias {
                    Some(bias) => y + bias.clone().unsqueeze(),
                    None => y,
                }
            }
            Values::Int8(weight) => kernels::times_int8_transposed(x, weight, bias, self.precision),
        }
    }

    /// `dy W`: `[rows, d_out]` to `[rows, d_in]`.
    pub(crate) fn times(&self, dy: Tensor<2>) -> Tensor<2> {
        match &self.values {
            Values::Plain(weight) if is_kernel(&dy, weight, None) => {
                kernels::times(dy, weight, None, self.precision)
            }
            Values::Plain(weight) => dy.clone().matmul(weight.clone().cast(dy.dtype())),
            Values::Int8(weight) => kernels::times_int8(dy, weight, self.precision),
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

/// Whether the kernels serve this product of tensors.
fn is_kernel(x: &Tensor<2>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> bool {
    kernels::serves(x) && kernels::serves_weights(weight) && bias.is_none_or(kernels::serves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_off_by_half_a_step_at_most_and_zero_stays_zero() {
        let values: Vec<f32> = (0..60)
            .map(|i| ((i * 37 % 61) as f32 - 30.0) * 0.013)
            .collect();
        let mut values = [values, vec![0.0; 20]].concat();
        values[3] = 0.0;
        let matrix = Int8::new(&values, 20);
        for (row, expected) in values.chunks(20).enumerate() {
            let step = expected.iter().fold(0f32, |a, b| a.max(b.abs())) / 127.0;
            for (found, expected) in matrix.row(row).zip(expected) {
                assert!(
                    (found - expected).abs() <= 0.5001 * step,
                    "{found}, {expected}"
                );
                assert!(*expected != 0.0 || found == 0.0);
            }
        }
    }
}
