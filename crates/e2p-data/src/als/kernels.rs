//! Sums over short vectors, in what registers the processor has.
//!
//! Everything is generic over pulp's `Simd`, which brings the instructions that the compiler may
//! not assume, above all fused multiply-add. Four vectors go side by side, so that sums do not wait
//! for each other and the common operand is loaded once.

use pulp::{Simd, WithSimd};

/// `a · b`.
#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_e_f32s(*a, *b, sum);
    }
    let mut rest = simd.reduce_sum_f32s(sum);
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    rest
}

/// `x · row` of four rows.
#[inline(always)]
pub(super) fn dot4<S: Simd>(simd: S, x: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    let [a, b, c, d] = rows;
    let (x, x_rest) = S::as_simd_f32s(x);
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((c, c_rest), (d, d_rest)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
    let zero = simd.splat_f32s(0.0);
    let (mut sum_a, mut sum_b, mut sum_c, mut sum_d) = (zero, zero, zero, zero);
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        sum_a = simd.mul_add_e_f32s(*a, *x, sum_a);
        sum_b = simd.mul_add_e_f32s(*b, *x, sum_b);
        sum_c = simd.mul_add_e_f32s(*c, *x, sum_c);
        sum_d = simd.mul_add_e_f32s(*d, *x, sum_d);
    }
    let mut sums = [
        simd.reduce_sum_f32s(sum_a),
        simd.reduce_sum_f32s(sum_b),
        simd.reduce_sum_f32s(sum_c),
        simd.reduce_sum_f32s(sum_d),
    ];
    for ((((x, a), b), c), d) in x_rest
        .iter()
        .zip(a_rest)
        .zip(b_rest)
        .zip(c_rest)
        .zip(d_rest)
    {
        sums[0] += a * x;
        sums[1] += b * x;
        sums[2] += c * x;
        sums[3] += d * x;
    }
    sums
}

/// `out += scale · x`.
#[inline(always)]
pub(super) fn add_scaled<S: Simd>(simd: S, out: &mut [f32], scale: f32, x: &[f32]) {
    let ((out, out_rest), (x, x_rest)) = (S::as_mut_simd_f32s(out), S::as_simd_f32s(x));
    let scales = simd.splat_f32s(scale);
    for (out, x) in out.iter_mut().zip(x) {
        *out = simd.mul_add_e_f32s(scales, *x, *out);
    }
    for (out, x) in out_rest.iter_mut().zip(x_rest) {
        *out += scale * x;
    }
}

/// `out += Σ scale · row` of four rows.
#[inline(always)]
pub(super) fn add_scaled4<S: Simd>(simd: S, out: &mut [f32], scales: [f32; 4], rows: [&[f32]; 4]) {
    let [a, b, c, d] = rows;
    let (out, out_rest) = S::as_mut_simd_f32s(out);
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((c, c_rest), (d, d_rest)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
    let (scale_a, scale_b) = (simd.splat_f32s(scales[0]), simd.splat_f32s(scales[1]));
    let (scale_c, scale_d) = (simd.splat_f32s(scales[2]), simd.splat_f32s(scales[3]));
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let sum = simd.mul_add_e_f32s(scale_a, *a, *out);
        let sum = simd.mul_add_e_f32s(scale_b, *b, sum);
        let sum = simd.mul_add_e_f32s(scale_c, *c, sum);
        *out = simd.mul_add_e_f32s(scale_d, *d, sum);
    }
    let rest = out_rest
        .iter_mut()
        .zip(a_rest)
        .zip(b_rest)
        .zip(c_rest)
        .zip(d_rest);
    for ((((out, a), b), c), d) in rest {
        *out += scales[0] * a + scales[1] * b + scales[2] * c + scales[3] * d;
    }
}

/// `out = symmetric · x`, as a sum of scaled rows.
#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, out: &mut [f32], symmetric: &[f32], x: &[f32]) {
    let dim = x.len();
    out.fill(0.0);
    let blocks = dim / 4 * 4;
    let fours = symmetric[..blocks * dim].chunks_exact(4 * dim);
    for (rows, scales) in fours.zip(x.as_chunks::<4>().0) {
        let (a, rest) = rows.split_at(dim);
        let (b, rest) = rest.split_at(dim);
        let (c, d) = rest.split_at(dim);
        add_scaled4(simd, out, *scales, [a, b, c, d]);
    }
    let rest = symmetric[blocks * dim..].chunks_exact(dim);
    for (row, scale) in rest.zip(&x[blocks..]) {
        add_scaled(simd, out, *scale, row);
    }
}

/// The dot products of `vector` with every row of `rows`.
pub(super) struct Scores<'a> {
    pub(super) rows: &'a [f32],
    pub(super) vector: &'a [f32],
}

impl WithSimd for Scores<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let dim = self.vector.len();
        let mut scores = Vec::with_capacity(self.rows.len() / dim);
        for row in self.rows.chunks_exact(dim) {
            scores.push(dot(simd, row, self.vector));
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    struct Check<'a>(&'a [f32], usize);

    impl WithSimd for Check<'_> {
        type Output = (f32, [f32; 4], Vec<f32>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(values, dim) = self;
            let row = |at: usize| &values[at * dim..][..dim];
            let rows = [row(1), row(2), row(3), row(4)];
            let mut product = vec![7.0; dim];
            multiply(simd, &mut product, &values[..dim * dim], row(0));
            (dot(simd, row(0), row(1)), dot4(simd, row(0), rows), product)
        }
    }

    #[test]
    fn kernels_are_the_sums_they_say_at_every_length() {
        for dim in [5, 8, 13, 16, 31, 64] {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(dim as u64);
            let values: Vec<f32> = (0..dim * dim).map(|_| rng.random::<f32>() - 0.5).collect();
            let row = |at: usize| &values[at * dim..][..dim];
            let plain = |a: &[f32], b: &[f32]| -> f64 {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum()
            };
            let close = |found: f32, expected: f64| {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5,
                    "{dim}: {found} {expected}"
                );
            };
            let (one, four, product) = pulp::Arch::new().dispatch(Check(&values, dim));
            close(one, plain(row(0), row(1)));
            for (at, found) in four.into_iter().enumerate() {
                close(found, plain(row(0), row(at + 1)));
            }
            for (column, found) in product.into_iter().enumerate() {
                let of_column: Vec<f32> = (0..dim).map(|at| values[at * dim + column]).collect();
                close(found, plain(row(0), &of_column));
            }
        }
    }
}
