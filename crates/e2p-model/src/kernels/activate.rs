//! Activations of the feed-forward block, gated (SwiGLU) and plain (GELU). The formulas stand in
//! `crate::ops`.

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::flex::{make, read};
use super::math::{exp, normal_cdf, sigmoid};
use super::rows::{for_rows, map};
use crate::config::MlpKind;

struct Forward<'a> {
    kind: MlpKind,
    width: usize,
    /// Rows of `2 width` (gate, then up) where gated, of `width` otherwise.
    up: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.kind {
            MlpKind::GatedSilu => {
                let rows = self.up.chunks_exact(2 * self.width);
                for (row, y) in rows.zip(self.y.chunks_exact_mut(self.width)) {
                    let (gate, up) = row.split_at(self.width);
                    map(
                        simd,
                        y,
                        [gate, up],
                        #[inline(always)]
                        |_, [gate, up]| simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up),
                    );
                }
            }
            MlpKind::GeluTanh => map(
                simd,
                self.y,
                [self.up],
                #[inline(always)]
                |_, [x]| simd.mul_f32s(x, sigmoid(simd, twice_u(simd, x).0)),
            ),
            MlpKind::Gelu => map(
                simd,
                self.y,
                [self.up],
                #[inline(always)]
                |_, [x]| simd.mul_f32s(x, normal_cdf(simd, x)),
            ),
        }
    }
}

/// `1 / sqrt(2 pi)`, the peak of the standard normal density.
const PEAK: f32 = 0.398_942_3;

/// `2 u` and `2 du/dx` of `u = c (x + a x^3)`: `(1 + tanh u) / 2` is the sigmoid of `2 u`.
#[inline(always)]
fn twice_u<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    const A: f32 = 0.044_715;
    /// `2 sqrt(2 / pi)`
    const C: f32 = 1.595_769;
    let square = simd.mul_f32s(x, x);
    let base = simd.splat_f32s(C);
    let value = simd.mul_add_e_f32s(square, simd.splat_f32s(A * C), base);
    let slope = simd.mul_add_e_f32s(square, simd.splat_f32s(3.0 * A * C), base);
    (simd.mul_f32s(x, value), slope)
}

struct Backward<'a> {
    kind: MlpKind,
    width: usize,
    up: &'a [f32],
    dy: &'a [f32],
    /// As `up`.
    d_up: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let one = simd.splat_f32s(1.0);
        match self.kind {
            MlpKind::GatedSilu => {
                let rows = self.up.chunks_exact(2 * self.width);
                let dy = self.dy.chunks_exact(self.width);
                let d_rows = self.d_up.chunks_exact_mut(2 * self.width);
                for ((row, dy), d_row) in rows.zip(dy).zip(d_rows) {
                    let (gate, up) = row.split_at(self.width);
                    let (d_gate, d_up) = d_row.split_at_mut(self.width);
                    // The sigmoid on its way from one loop to the next.
                    map(
                        simd,
                        d_up,
                        [gate],
                        #[inline(always)]
                        |_, [gate]| sigmoid(simd, gate),
                    );
                    map(
                        simd,
                        d_gate,
                        [gate, up, dy, d_up],
                        #[inline(always)]
                        |_, [gate, up, dy, s]| {
                            // silu' = s (1 + gate (1 - s))
                            let slope = simd
                                .mul_f32s(s, simd.mul_add_e_f32s(gate, simd.sub_f32s(one, s), one));
                            simd.mul_f32s(simd.mul_f32s(dy, up), slope)
                        },
                    );
                    map(
                        simd,
                        d_up,
                        [gate, dy],
                        #[inline(always)]
                        |s, [gate, dy]| simd.mul_f32s(simd.mul_f32s(gate, s), dy),
                    );
                }
            }
            MlpKind::GeluTanh => map(
                simd,
                self.d_up,
                [self.up, self.dy],
                #[inline(always)]
                |_, [x, dy]| {
                    let (u, du) = twice_u(simd, x);
                    let s = sigmoid(simd, u);
                    // gelu = x s, s' = s (1 - s) 2 du
                    let slope = simd.mul_f32s(simd.mul_f32s(x, simd.sub_f32s(one, s)), du);
                    simd.mul_f32s(dy, simd.mul_f32s(s, simd.add_f32s(slope, one)))
                },
            ),
            MlpKind::Gelu => map(
                simd,
                self.d_up,
                [self.up, self.dy],
                #[inline(always)]
                |_, [x, dy]| {
                    let half_square = simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5));
                    let pdf = simd.mul_f32s(exp(simd, half_square), simd.splat_f32s(PEAK));
                    simd.mul_f32s(dy, simd.mul_add_e_f32s(x, pdf, normal_cdf(simd, x)))
                },
            ),
        }
    }
}

/// Width of the output for an input of `width`.
fn output_width(kind: MlpKind, width: usize) -> usize {
    if kind == MlpKind::GatedSilu {
        width / 2
    } else {
        width
    }
}

/// `[.., d_ff]` from `[.., d_ff]`, or from `[.., 2 d_ff]` where gated.
pub(crate) fn activate<const D: usize>(kind: MlpKind, up: Tensor<D>) -> Tensor<D> {
    let mut shape = up.dims();
    let up_width = shape[D - 1];
    let width = output_width(kind, up_width);
    shape[D - 1] = width;
    let up = read(up);
    make(shape, |y| {
        for_rows(y, width, |first, y| {
            let up = &up[first * up_width..][..y.len() / width * up_width];
            Arch::new().dispatch(Forward { kind, width, up, y });
        });
    })
}

/// Gradient of [`activate`] with respect to `up`.
pub(crate) fn activate_backward(kind: MlpKind, up: Tensor<3>, dy: Tensor<3>) -> Tensor<3> {
    let shape = up.dims();
    let up_width = shape[2];
    let width = output_width(kind, up_width);
    let (up, dy) = (read(up), read(dy));
    make(shape, |d_up| {
        for_rows(d_up, up_width, |first, d_up| {
            let n_rows = d_up.len() / up_width;
            Arch::new().dispatch(Backward {
                kind,
                width,
                up: &up[first * up_width..][..d_up.len()],
                dy: &dy[first * width..][..n_rows * width],
                d_up,
            });
        });
    })
}
