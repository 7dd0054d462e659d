//! RMS norm and layer norm of rows. The formulas stand in `crate::ops`.

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::flex::{change, make, read};
use super::rows::{dot, fold, for_rows, map, sum};

/// What all rows share.
#[derive(Clone, Copy)]
struct Scale<'a> {
    weight: &'a [f32],
    /// Present for layer norm: rows are then centred.
    bias: Option<&'a [f32]>,
    eps: f32,
}

impl Scale<'_> {
    /// Mean (0 for RMS norm) and `1 / rms` of a row.
    #[inline(always)]
    fn moments<S: Simd>(self, simd: S, x: &[f32]) -> (f32, f32) {
        let n = x.len() as f32;
        let (mean, square) = match self.bias {
            None => (0.0, dot(simd, x, x)),
            Some(_) => {
                let mean = sum(simd, x) / n;
                let m = simd.splat_f32s(mean);
                // The padding of a vector counts as x = mean.
                let (whole, tail) = x.split_at(x.len() - x.len() % S::F32_LANES);
                let square = fold(
                    simd,
                    [whole],
                    #[inline(always)]
                    |sum, [x]| {
                        let x = simd.sub_f32s(x, m);
                        simd.mul_add_e_f32s(x, x, sum)
                    },
                );
                (
                    mean,
                    square + tail.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>(),
                )
            }
        };
        (mean, 1.0 / (square / n + self.eps).sqrt())
    }
}

struct Forward<'a> {
    scale: Scale<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.scale.weight.len();
        for (x, y) in self
            .x
            .chunks_exact(width)
            .zip(self.y.chunks_exact_mut(width))
        {
            let (mean, inverse) = self.scale.moments(simd, x);
            let (mean, inverse) = (simd.splat_f32s(mean), simd.splat_f32s(inverse));
            match self.scale.bias {
                None => map(
                    simd,
                    y,
                    [x, self.scale.weight],
                    #[inline(always)]
                    |_, [x, w]| simd.mul_f32s(simd.mul_f32s(x, inverse), w),
                ),
                Some(bias) => map(
                    simd,
                    y,
                    [x, self.scale.weight, bias],
                    #[inline(always)]
                    |_, [x, w, b]| {
                        simd.mul_add_e_f32s(simd.mul_f32s(simd.sub_f32s(x, mean), inverse), w, b)
                    },
                ),
            }
        }
    }
}

/// `dx` takes the place of `dy`.
struct Backward<'a> {
    scale: Scale<'a>,
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let weight = self.scale.weight;
        let width = weight.len();
        for (x, dy) in self
            .x
            .chunks_exact(width)
            .zip(self.dy.chunks_exact_mut(width))
        {
            let (mean, inverse) = self.scale.moments(simd, x);
            let n = width as f32;
            // g = weight dy in place, then dx = (g - mean(g) - z mean(g z)) inverse with z = (x -
            // mean) inverse.
            map(
                simd,
                dy,
                [weight],
                #[inline(always)]
                |dy, [w]| simd.mul_f32s(dy, w),
            );
            let mean_g = match self.scale.bias {
                None => 0.0,
                Some(_) => sum(simd, dy) / n,
            };
            let along = (dot(simd, dy, x) - mean * mean_g * n) * inverse * inverse / n;
            let (mean, inverse) = (simd.splat_f32s(mean), simd.splat_f32s(inverse));
            let (mean_g, along) = (simd.splat_f32s(mean_g), simd.splat_f32s(-along));
            map(
                simd,
                dy,
                [x],
                #[inline(always)]
                |g, [x]| {
                    let centred = simd.sub_f32s(x, mean);
                    let g = simd.sub_f32s(g, mean_g);
                    simd.mul_f32s(simd.mul_add_e_f32s(centred, along, g), inverse)
                },
            );
        }
    }
}

/// Normalises the last dimension: RMS norm, or layer norm where there is a bias.
pub(crate) fn norm<const D: usize>(
    x: Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let shape = x.dims();
    let (x, weight) = (read(x), read(weight.clone()));
    let bias = bias.cloned().map(read);
    let width = weight.len();
    let scale = Scale {
        weight: &weight,
        bias: bias.as_deref(),
        eps: eps as f32,
    };
    make(shape, |y| {
        for_rows(y, width, |first, y| {
            let x = &x[first * width..][..y.len()];
            Arch::new().dispatch(Forward { scale, x, y });
        });
    })
}

/// Gradient of [`norm`] with respect to `x`.
pub(crate) fn norm_backward<const D: usize>(
    x: Tensor<D>,
    dy: Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let (x, weight) = (read(x), read(weight.clone()));
    let bias = bias.cloned().map(read);
    let width = weight.len();
    let scale = Scale {
        weight: &weight,
        bias: bias.as_deref(),
        eps: eps as f32,
    };
    change(dy, |dy| {
        for_rows(dy, width, |first, dy| {
            let x = &x[first * width..][..dy.len()];
            Arch::new().dispatch(Backward { scale, x, dy });
        });
    })
}
