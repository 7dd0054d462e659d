//! Products of a few rows with a frozen matrix, as dot products with its rows.
//!
//! For one user's next token a product costs what it takes to read the weights, so they are read once, in order, in the width they are
//! stored in. With more rows (several users), a tile of weights by rows shares each load. The weights are not packed; the few rows are.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::Matrix;
use super::rows::for_single_rows;
use super::stored::Stored;

/// Rows up to which this beats `product`.
pub(crate) const FEW: usize = 48;
/// Rows that share a load of weights, where there is more than one row.
const ROWS: usize = 4;

/// Rows of `x` in the order in which a tile reads them: group by group, and in a group, for each vector of the weights' words, each part
/// of the words, each row, a vector. What is not there is zero.
struct Groups {
    values: Vec<f32>,
    /// Values of one group.
    len: usize,
}

impl Groups {
    fn new<T: Stored>(x: &[f32], d_in: usize, group: usize, lanes: usize) -> Self {
        let n_vectors = d_in.div_ceil(T::PER_LANE * lanes);
        let len = n_vectors * T::PER_LANE * group * lanes;
        let n_rows = x.len() / d_in;
        let mut values = vec![0.0; n_rows.div_ceil(group) * len];
        for (row, x) in x.chunks_exact(d_in).enumerate() {
            let values = &mut values[row / group * len..][..len];
            for (vector, x) in x.chunks(T::PER_LANE * lanes).enumerate() {
                for (i, x) in x.iter().enumerate() {
                    let (lane, part) = (i / T::PER_LANE, i % T::PER_LANE);
                    let at = (vector * T::PER_LANE + part) * group + row % group;
                    values[at * lanes + lane] = *x;
                }
            }
        }
        Self { values, len }
    }
}

/// Dot products of a block of weight rows with all rows of `x`.
struct Block<'a, T> {
    groups: &'a Groups,
    n_rows: usize,
    weights: &'a [T],
    /// A factor for each row of weights.
    scales: Option<&'a [f32]>,
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
        } else if S::REGISTER_COUNT >= 32 && T::PER_LANE == 1 {
            self.run::<S, 6, ROWS>(simd);
        } else if S::REGISTER_COUNT >= 32 {
            // Several vectors of each row are live at a time.
            self.run::<S, 4, ROWS>(simd);
        } else {
            self.run::<S, 2, ROWS>(simd);
        }
    }
}

impl<T: Stored> Block<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const WEIGHTS: usize, const GROUP: usize>(self, simd: S) {
        let n_rows = self.n_rows;
        let weight_tiles = self.weights.chunks(WEIGHTS * self.d_in);
        let y_tiles = self.y.chunks_mut(WEIGHTS * n_rows);
        for (index, (weights, y)) in weight_tiles.zip(y_tiles).enumerate() {
            let n_weights = y.len() / n_rows;
            // Rows that are not there repeat the last one, and their results are dropped.
            let mut words: [&[u32]; WEIGHTS] = [&[]; WEIGHTS];
            for (i, words) in words.iter_mut().enumerate() {
                let from = i.min(n_weights - 1) * self.d_in;
                *words = T::words(&weights[from..][..self.d_in]);
            }
            let groups = self.groups.values.chunks_exact(self.groups.len);
            for (group, x) in groups.enumerate() {
                let first = group * GROUP;
                let n = GROUP.min(n_rows - first);
                let sums = tile::<S, T, WEIGHTS, GROUP>(simd, words, x);
                for (sums, y) in sums.iter().zip(y.chunks_exact_mut(n_rows)) {
                    y[first..first + n].copy_from_slice(&sums[..n]);
                }
            }
            if let Some(scales) = self.scales {
                let scales = &scales[index * WEIGHTS..];
                for (y, scale) in y.chunks_exact_mut(n_rows).zip(scales) {
                    for y in y {
                        *y *= scale;
                    }
                }
            }
        }
    }
}

/// Dot products of `WEIGHTS` rows of words with a group of rows, in registers. Loops only: `array::map` is not always inlined, and
/// vectors would go through memory.
#[inline(always)]
fn tile<S: Simd, T: Stored, const WEIGHTS: usize, const GROUP: usize>(
    simd: S,
    words: [&[u32]; WEIGHTS],
    x: &[f32],
) -> [[f32; GROUP]; WEIGHTS] {
    let len = words[0].len();
    let whole = len / S::U32_LANES;
    let mut vectors: [&[S::u32s]; WEIGHTS] = [&[]; WEIGHTS];
    for (vectors, words) in vectors.iter_mut().zip(words) {
        *vectors = &S::as_simd_u32s(&words[..len]).0[..whole];
    }
    let x = S::as_simd_f32s(x).0.as_chunks::<GROUP>().0;
    let (whole_x, tail_x) = x.split_at(whole * T::PER_LANE);
    let mut sums = [[simd.splat_f32s(0.0); GROUP]; WEIGHTS];
    for (at, x) in whole_x.chunks_exact(T::PER_LANE).enumerate() {
        for (sums, vectors) in sums.iter_mut().zip(&vectors) {
            for part in 0..T::PER_LANE {
                let weight = T::part(simd, vectors[at], part);
                for (sum, x) in sums.iter_mut().zip(&x[part]) {
                    *sum = simd.mul_add_e_f32s(weight, *x, *sum);
                }
            }
        }
    }
    if !tail_x.is_empty() {
        for (sums, words) in sums.iter_mut().zip(words) {
            let last = simd.partial_load_u32s(&words[whole * S::U32_LANES..]);
            for (part, x) in tail_x.iter().enumerate() {
                let weight = T::part(simd, last, part);
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = simd.mul_add_e_f32s(weight, *x, *sum);
                }
            }
        }
    }
    let mut out = [[0.0; GROUP]; WEIGHTS];
    for (out, sums) in out.iter_mut().zip(&sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = simd.reduce_sum_f32s(*sum);
        }
    }
    out
}

/// `y = x W^T` for a matrix `[d_out, d_in]`: `[rows, d_in]` to `[rows, d_out]`. Rows of weights must fill words
/// ([`super::stored::are_words`]).
pub(crate) fn few_rows<T: Stored>(x: &[f32], matrix: Matrix<'_, T>, y: &mut [f32]) {
    let Matrix {
        values: weights,
        scales,
        d_in,
        ..
    } = matrix;
    if y.is_empty() {
        return;
    }
    let n_rows = x.len() / d_in;
    let d_out = y.len() / n_rows;
    let arch = Arch::new();
    let group = if n_rows == 1 { 1 } else { ROWS };
    let groups = Groups::new::<T>(x, d_in, group, arch.dispatch(super::product::Lanes));
    // Two tasks a thread, of whole tiles.
    let block = d_out
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(12);
    let run = |y: &mut [f32]| {
        y.par_chunks_mut(block * n_rows)
            .zip(weights.par_chunks(block * d_in))
            .enumerate()
            .for_each(|(index, (y, weights))| {
                arch.dispatch(Block {
                    groups: &groups,
                    n_rows,
                    weights,
                    scales: scales.map(|scales| &scales[index * block..]),
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
    let turn = |row: usize, y: &mut [f32]| {
        for (y, turned) in y.iter_mut().zip(turned.chunks_exact(n_rows)) {
            *y = turned[row];
        }
    };
    // The output of a layer is turned before another thread is awake, that of a head is not.
    for_single_rows(y, d_out, d_out / 16, turn);
}
