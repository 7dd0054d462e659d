//! Scaled softmax over visible keys, forward and backward, in place. The formulas stand in
//! `crate::ops`.

use std::ops::Range;

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::flex::{change, read};
use super::math::exp;
use super::rows::{dot, fold, for_rows, map, max};
use crate::mask::Visible;

struct Forward<'a> {
    scale: f32,
    visible: Range<usize>,
    row: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (before, rest) = self.row.split_at_mut(self.visible.start);
        let (row, after) = rest.split_at_mut(self.visible.len());
        before.fill(0.0);
        after.fill(0.0);
        let inverse = simd.splat_f32s(1.0 / exponentials(simd, row, self.scale));
        map(
            simd,
            row,
            [],
            #[inline(always)]
            |x, []| simd.mul_f32s(x, inverse),
        );
    }
}

/// Scores to `exp(scale (score - largest))`, in place; their sum.
#[inline(always)]
pub(super) fn exponentials<S: Simd>(simd: S, row: &mut [f32], scale: f32) -> f32 {
    let largest = simd.splat_f32s(max(simd, row));
    let scale = simd.splat_f32s(scale);
    map(
        simd,
        row,
        [],
        #[inline(always)]
        |x, []| exp(simd, simd.mul_f32s(simd.sub_f32s(x, largest), scale)),
    );
    fold(
        simd,
        [row],
        #[inline(always)]
        |sum, [x]| simd.add_f32s(sum, x),
    )
}

struct Backward<'a> {
    scale: f32,
    visible: Range<usize>,
    probabilities: &'a [f32],
    /// The gradient with respect to the probabilities; that with respect to the scores takes its
    /// place.
    row: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (before, rest) = self.row.split_at_mut(self.visible.start);
        let (row, after) = rest.split_at_mut(self.visible.len());
        before.fill(0.0);
        after.fill(0.0);
        let p = &self.probabilities[self.visible];
        let along = simd.splat_f32s(dot(simd, p, row));
        let scale = simd.splat_f32s(self.scale);
        map(
            simd,
            row,
            [p],
            #[inline(always)]
            |dp, [p]| simd.mul_f32s(simd.mul_f32s(p, simd.sub_f32s(dp, along)), scale),
        );
    }
}

/// Probabilities from unscaled scores, `[batch_size, n_heads, n_queries, n_keys]`; 0 where a query
/// does not look.
pub(crate) fn softmax(scores: Tensor<4>, visible: &Visible, scale: f32) -> Tensor<4> {
    let [_, n_heads, n_queries, n_keys] = scores.dims();
    change(scores, |scores| {
        for_rows(scores, n_keys, |first, rows| {
            for (index, row) in rows.chunks_exact_mut(n_keys).enumerate() {
                let index = first + index;
                let visible = visible.range(index / (n_heads * n_queries), index % n_queries);
                Arch::new().dispatch(Forward {
                    scale,
                    visible,
                    row,
                });
            }
        });
    })
}

/// Gradient of [`softmax`] with respect to the scores.
pub(crate) fn softmax_backward(
    probabilities: Tensor<4>,
    d_probabilities: Tensor<4>,
    visible: &Visible,
    scale: f32,
) -> Tensor<4> {
    let [_, n_heads, n_queries, n_keys] = probabilities.dims();
    let probabilities = read(probabilities);
    change(d_probabilities, |d_scores| {
        for_rows(d_scores, n_keys, |first, rows| {
            for (index, row) in rows.chunks_exact_mut(n_keys).enumerate() {
                let index = first + index;
                Arch::new().dispatch(Backward {
                    scale,
                    visible: visible.range(index / (n_heads * n_queries), index % n_queries),
                    probabilities: &probabilities[index * n_keys..][..n_keys],
                    row,
                });
            }
        });
    })
}
