//! Softmax cross-entropy over a vocabulary: one read of the logits forward, one change in place
//! backward.

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::flex::{change, read};
use super::math::exp;
use super::rows::{fold, for_rows, for_single_rows, map, max};

/// Logarithm of the sum of exponentials of a row.
struct LogSum<'a>(&'a [f32]);

impl WithSimd for LogSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let largest = max(simd, self.0);
        let shift = simd.splat_f32s(largest);
        // The end of a row that does not fill a vector would count padding.
        let (whole, tail) = self.0.split_at(self.0.len() - self.0.len() % S::F32_LANES);
        let sum = fold(
            simd,
            [whole],
            #[inline(always)]
            |sum, [x]| simd.add_f32s(sum, exp(simd, simd.sub_f32s(x, shift))),
        );
        let tail: f32 = tail.iter().map(|x| (x - largest).exp()).sum();
        largest + (sum + tail).ln()
    }
}

/// `weight softmax` in the place of the logits.
struct Softmax<'a> {
    row: &'a mut [f32],
    log_sum: f32,
    weight: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (shift, weight) = (simd.splat_f32s(self.log_sum), simd.splat_f32s(self.weight));
        map(
            simd,
            self.row,
            [],
            #[inline(always)]
            |x, []| simd.mul_f32s(exp(simd, simd.sub_f32s(x, shift)), weight),
        );
    }
}

/// Log of the sum of exponentials of each row of logits, `[rows, vocab_size]`, and the logit of
/// each row's target.
pub(crate) fn log_sums(logits: &Tensor<2>, targets: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let vocab_size = logits.dims()[1];
    let logits = read(logits.clone());
    let mut found = vec![0.0; 2 * targets.len()];
    // Two values a row, but a whole row of logits to read for them.
    for_single_rows(&mut found, 2, vocab_size, |row, out| {
        let logits = &logits[row * vocab_size..][..vocab_size];
        out[0] = Arch::new().dispatch(LogSum(logits));
        out[1] = logits[targets[row] as usize];
    });
    found.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip()
}

/// `weights[i] (softmax(logits[i]) - one_hot(targets[i]))`, in the place of the logits.
pub(crate) fn softmax_minus_targets(
    logits: Tensor<2>,
    log_sums: &[f32],
    targets: &[u32],
    weights: &[f32],
) -> Tensor<2> {
    let vocab_size = logits.dims()[1];
    change(logits, |logits| {
        for_rows(logits, vocab_size, |first, rows| {
            for (index, row) in rows.chunks_exact_mut(vocab_size).enumerate() {
                let index = first + index;
                Arch::new().dispatch(Softmax {
                    row,
                    log_sum: log_sums[index],
                    weight: weights[index],
                });
                row[targets[index] as usize] -= weights[index];
            }
        });
    })
}
