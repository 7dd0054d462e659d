//! Attention of many queries, forward only: a query in each lane.
//!
//! Scores and mixture are products of a weight that is broadcast with a vector of all queries, so
//! that no sum over lanes is left, the softmax is a loop over vectors, and only keys that some
//! query of the block sees are touched: half of them in a causal prompt. Sums run over the keys in
//! order and hidden keys add exact zeros, so that a query's result does not depend on the others of
//! its block.

use std::cell::Cell;

use pulp::{Simd, WithSimd};

use super::math::exp;

/// Keys whose scores are summed side by side.
const KEYS: usize = 12;

/// Up to as many queries of heads with the same keys as there are lanes, over the keys that any of
/// them sees. Preferred variable name: `block`.
pub(super) struct QueryBlock<'a> {
    pub(super) scale: f32,
    /// `[n_queries, head_dim]`
    pub(super) q: &'a [f32],
    /// Keys and values of the slots seen, piece by piece.
    pub(super) pieces: &'a [[&'a [f32]; 2]],
    /// The keys that each query sees, counted from the first of the pieces.
    pub(super) seen: &'a [std::ops::Range<usize>],
    /// `[n_queries, head_dim]`
    pub(super) y: &'a mut [f32],
}

thread_local! {
    /// Queries as columns, and scores of each key.
    static ROOM: Cell<[Vec<f32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
}

impl WithSimd for QueryBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.q.len() / self.seen.len();
        if S::REGISTER_COUNT >= 32 && width > 8 {
            self.run::<S, 16>(simd);
        } else {
            self.run::<S, 8>(simd);
        }
    }
}

impl QueryBlock<'_> {
    /// `DIMS` values of the output in registers at a time.
    #[inline(always)]
    fn run<S: Simd, const DIMS: usize>(self, simd: S) {
        let lanes = S::F32_LANES;
        let n_queries = self.seen.len();
        let width = self.q.len() / n_queries;
        let n_keys: usize = self.pieces.iter().map(|[k, _]| k.len() / width).sum();
        // Taken and given back: in a closure of `with` the loops would be compiled without the
        // CPU's instructions.
        let [mut columns, mut scores] = ROOM.take();
        columns.clear();
        columns.resize(width * lanes, 0.0);
        for (lane, q) in self.q.chunks_exact(width).enumerate() {
            for (column, q) in columns.chunks_exact_mut(lanes).zip(q) {
                column[lane] = *q;
            }
        }
        scores.resize(scores.len().max(n_keys * lanes), 0.0);
        {
            let columns = S::as_simd_f32s(&columns).0;
            let scores = S::as_mut_simd_f32s(&mut scores[..n_keys * lanes]).0;

            let mut first = 0;
            for [k, _] in self.pieces {
                for k in k.chunks(KEYS * width) {
                    let n = k.len() / width;
                    scores[first..first + n].copy_from_slice(&products(simd, k, columns)[..n]);
                    first += n;
                }
            }
            let inverse = self.probabilities(simd, scores);
            for from in (0..width).step_by(DIMS) {
                let mut sums = [simd.splat_f32s(0.0); DIMS];
                let mut p = scores.iter();
                for [_, v] in self.pieces {
                    for (v, p) in v.chunks_exact(width).zip(p.by_ref()) {
                        // Values that are not there repeat the last one, and their sums are
                        // dropped.
                        match v[from..].first_chunk::<DIMS>() {
                            Some(v) => {
                                for (sum, v) in sums.iter_mut().zip(v) {
                                    *sum = simd.mul_add_e_f32s(simd.splat_f32s(*v), *p, *sum);
                                }
                            }
                            None => {
                                for (i, sum) in sums.iter_mut().enumerate() {
                                    let v = v[(from + i).min(width - 1)];
                                    *sum = simd.mul_add_e_f32s(simd.splat_f32s(v), *p, *sum);
                                }
                            }
                        }
                    }
                }
                for (dim, sum) in (from..width).zip(sums) {
                    let sum = [simd.mul_f32s(sum, inverse)];
                    let sum: &[f32] = bytemuck::cast_slice(&sum);
                    for (y, sum) in self.y.chunks_exact_mut(width).zip(sum) {
                        y[dim] = *sum;
                    }
                }
            }
        }
        ROOM.set([columns, scores]);
    }

    /// Scores to `exp(scale (score - largest))`, 0 for keys that a query does not see; one over
    /// their sums.
    #[inline(always)]
    fn probabilities<S: Simd>(&self, simd: S, scores: &mut [S::f32s]) -> S::f32s {
        let bound = |of: fn(&std::ops::Range<usize>) -> usize| {
            // Lanes without a query see what the last one sees.
            let last = of(&self.seen[self.seen.len() - 1]);
            let mut bounds = [simd.splat_f32s(last as f32)];
            let lanes: &mut [f32] = bytemuck::cast_slice_mut(&mut bounds);
            for (lane, seen) in lanes.iter_mut().zip(self.seen) {
                *lane = of(seen) as f32;
            }
            bounds[0]
        };
        let (start, end) = (bound(|seen| seen.start), bound(|seen| seen.end));
        // Between these everybody sees everything.
        let from = self.seen.iter().map(|seen| seen.start).max().unwrap_or(0);
        let to = self.seen.iter().map(|seen| seen.end).min().unwrap_or(0);
        let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
        for (key, score) in scores.iter_mut().enumerate() {
            if key < from || key >= to {
                let at = simd.splat_f32s(key as f32);
                let hidden = simd.splat_f32s(f32::NEG_INFINITY);
                *score = simd.select_f32s(simd.less_than_f32s(at, end), *score, hidden);
                *score = simd.select_f32s(simd.less_than_f32s(at, start), hidden, *score);
            }
            largest = simd.max_f32s(largest, *score);
        }
        let scale = simd.splat_f32s(self.scale);
        let mut sum = simd.splat_f32s(0.0);
        for score in scores {
            let x = simd.mul_f32s(simd.sub_f32s(*score, largest), scale);
            *score = exp(simd, x);
            sum = simd.add_f32s(sum, *score);
        }
        simd.div_f32s(simd.splat_f32s(1.0), sum)
    }
}

/// The products of up to [`KEYS`] keys with the queries in `columns`; those of keys that are not
/// there say nothing.
#[inline(always)]
fn products<S: Simd>(simd: S, k: &[f32], columns: &[S::f32s]) -> [S::f32s; KEYS] {
    let width = columns.len();
    let last = k.len() / width - 1;
    let mut rows: [&[f32]; KEYS] = [&[]; KEYS];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &k[i.min(last) * width..][..width];
    }
    let mut sums = [simd.splat_f32s(0.0); KEYS];
    for (dim, column) in columns.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip(&rows) {
            *sum = simd.mul_add_e_f32s(simd.splat_f32s(row[dim]), *column, *sum);
        }
    }
    sums
}
