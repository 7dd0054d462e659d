//! Products of a few rows with a frozen matrix, as dot products with its rows.
//!
//! For one user's next token a product costs what it takes to read the weights, so they are read once, in order, in the width they are
//! stored in. With more rows (several users), a tile of weights by rows shares each load. Nothing is packed.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::stored::Stored;

/// Rows up to which this beats `product`, measured on 576 x 3072 weights.
pub(crate) const FEW: usize = 24;

/// Rows of `x` as the weights' words want them: for each row, `PER_LANE` interleaved parts, one after the other.
struct Parts {
    values: Vec<f32>,
    /// Values of one part.
    len: usize,
}

impl Parts {
    fn new<T: Stored>(x: &[f32], d_in: usize) -> Self {
        let len = d_in / T::PER_LANE;
        let mut values = Vec::with_capacity(x.len());
        for row in x.chunks_exact(d_in) {
            for part in 0..T::PER_LANE {
                values.extend(row[part..].iter().step_by(T::PER_LANE).take(len));
            }
        }
        Self { values, len }
    }

    fn row<T: Stored>(&self, row: usize, part: usize) -> &[f32] {
        &self.values[(row * T::PER_LANE + part) * self.len..][..self.len]
    }
}

/// Dot products of a block of weight rows with all rows of `x`.
struct Block<'a, T> {
    parts: &'a Parts,
    n_rows: usize,
    weights: &'a [T],
    d_in: usize,
    /// `[weight rows, rows of x]`
    y: &'a mut [f32],
}

impl<T: Stored> WithSimd for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.n_rows == 1 {
            self.run::<S, 4, 1>(simd);
        } else if S::REGISTER_COUNT >= 32 {
            self.run::<S, 6, 4>(simd);
        } else {
            self.run::<S, 2, 4>(simd);
        }
    }
}

impl<T: Stored> Block<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const WEIGHTS: usize, const ROWS: usize>(mut self, simd: S) {
        let n_rows = self.n_rows;
        let y = std::mem::take(&mut self.y);
        let weight_tiles = self.weights.chunks(WEIGHTS * self.d_in);
        for (weights, y) in weight_tiles.zip(y.chunks_mut(WEIGHTS * n_rows)) {
            let n_weights = y.len() / n_rows;
            // Rows that are not there repeat the last one, and their results are dropped.
            let weights: [&[T]; WEIGHTS] =
                std::array::from_fn(|i| &weights[i.min(n_weights - 1) * self.d_in..][..self.d_in]);
            for first in (0..n_rows).step_by(ROWS) {
                let n = ROWS.min(n_rows - first);
                let rows: [usize; ROWS] = std::array::from_fn(|i| first + i.min(n - 1));
                let sums = self.tile::<S, WEIGHTS, ROWS>(simd, weights, rows);
                for (sums, y) in sums.iter().zip(y.chunks_exact_mut(n_rows)) {
                    y[first..first + n].copy_from_slice(&sums[..n]);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const WEIGHTS: usize, const ROWS: usize>(
        &self,
        simd: S,
        weights: [&[T]; WEIGHTS],
        rows: [usize; ROWS],
    ) -> [[f32; ROWS]; WEIGHTS] {
        let len = self.parts.len;
        let words = weights.map(|row| S::as_simd_u32s(&T::words(row)[..len]));
        let whole = words[0].0.len();
        let vectors = words.map(|(vectors, _)| &vectors[..whole]);
        let x: [[&[S::f32s]; 2]; ROWS] = rows.map(|row| {
            [0, 1].map(|part| {
                let part = self.parts.row::<T>(row, part.min(T::PER_LANE - 1));
                &S::as_simd_f32s(part).0[..whole]
            })
        });
        let mut sums = [[simd.splat_f32s(0.0); ROWS]; WEIGHTS];
        // Loops only: `array::map` is not always inlined, and vectors would go through memory.
        for at in 0..whole {
            for part in 0..T::PER_LANE {
                let mut now = [simd.splat_f32s(0.0); ROWS];
                for (now, x) in now.iter_mut().zip(&x) {
                    *now = x[part][at];
                }
                for (sums, vectors) in sums.iter_mut().zip(&vectors) {
                    let weight = T::load(simd, vectors[at])[part];
                    for (sum, now) in sums.iter_mut().zip(&now) {
                        *sum = simd.mul_add_e_f32s(weight, *now, *sum);
                    }
                }
            }
        }
        if whole * S::F32_LANES < len {
            for (sums, (_, tail)) in sums.iter_mut().zip(words) {
                let weight = T::load(simd, simd.partial_load_u32s(tail));
                for (part, weight) in weight.into_iter().enumerate().take(T::PER_LANE) {
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        let x = &self.parts.row::<T>(row, part)[whole * S::F32_LANES..];
                        *sum = simd.mul_add_e_f32s(weight, simd.partial_load_f32s(x), *sum);
                    }
                }
            }
        }
        let mut out = [[0.0; ROWS]; WEIGHTS];
        for (out, sums) in out.iter_mut().zip(&sums) {
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = simd.reduce_sum_f32s(*sum);
            }
        }
        out
    }
}

/// `y = x W^T` for the matrix `weights`, `[d_out, d_in]`: `[rows, d_in]` to `[rows, d_out]`. Rows of weights must fill words
/// ([`super::stored::are_words`]).
pub(crate) fn few_rows<T: Stored>(x: &[f32], weights: &[T], d_in: usize, y: &mut [f32]) {
    if y.is_empty() {
        return;
    }
    let n_rows = x.len() / d_in;
    let d_out = y.len() / n_rows;
    let parts = Parts::new::<T>(x, d_in);
    let arch = Arch::new();
    // Two tasks a thread, of whole tiles.
    let block = d_out
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(12);
    let run = |y: &mut [f32]| {
        y.par_chunks_mut(block * n_rows)
            .zip(weights.par_chunks(block * d_in))
            .for_each(|(y, weights)| {
                arch.dispatch(Block {
                    parts: &parts,
                    n_rows,
                    weights,
                    d_in,
                    y,
                });
            });
    };
    if n_rows == 1 {
        return run(y);
    }
    let mut turned = vec![0.0; y.len()];
    run(&mut turned);
    for (row, y) in y.chunks_exact_mut(d_out).enumerate() {
        for (y, turned) in y.iter_mut().zip(turned.chunks_exact(n_rows)) {
            *y = turned[row];
        }
    }
}
