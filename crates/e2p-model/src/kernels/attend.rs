//! Attention without a record for the backward pass: scores, softmax and mixture in one pass, keys
//! and values read where they lie.
//!
//! As products of matrices the attention of one query a head is thousands of tiny ones, whose
//! packing costs more than their sums; and continuations of one prompt would each need a copy of
//! its keys and values. Here every row of the batch and every key/value head is a task that reads
//! each key and value once, from up to three places: those of a prompt that several rows share,
//! those of the row's own earlier slots, those of this pass. With several queries a lane holds one
//! ([`super::attend_lanes`]); few are taken one after the other.

use std::cell::RefCell;
use std::ops::Range;

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::attend_lanes::QueryBlock;
use super::flex::{Values, make, read};
use super::rows::for_single_rows;
use super::softmax::exponentials;
use crate::mask::Visible;

/// Keys of some slots and their values. Preferred variable name: `segment`.
pub(crate) struct Segment<'a> {
    k: Values,
    v: Values,
    /// Slots there is room for.
    capacity: usize,
    /// Slots that count.
    len: usize,
    /// The row of `k` and `v` that each row of the batch reads; its own where there is none.
    rows: Option<&'a [usize]>,
}

impl<'a> Segment<'a> {
    /// The first `len` slots of keys and values `[n_rows, n_kv_heads, capacity, head_dim]`.
    pub(crate) fn new(k: Tensor<4>, v: Tensor<4>, len: usize, rows: Option<&'a [usize]>) -> Self {
        Self {
            capacity: k.dims()[2],
            len,
            k: read(k),
            v: read(v),
            rows,
        }
    }

    /// Keys and values that row `row` of the batch sees with key/value head `head`.
    fn of(&self, row: usize, head: usize, n_heads: usize, head_dim: usize) -> [&[f32]; 2] {
        let row = self.rows.map_or(row, |rows| rows[row]);
        let from = (row * n_heads + head) * self.capacity * head_dim;
        let len = self.len * head_dim;
        [&self.k[from..][..len], &self.v[from..][..len]]
    }
}

/// One query of one head over the keys that it sees.
struct Query<'a> {
    scale: f32,
    q: &'a [f32],
    /// Keys and values of the slots seen, piece by piece.
    pieces: &'a [[&'a [f32]; 2]],
    /// Room for a score of each.
    scores: &'a mut [f32],
    y: &'a mut [f32],
}

impl WithSimd for Query<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.q.len();
        let mut scores = &mut *self.scores;
        for [k, _] in self.pieces {
            let (own, rest) = scores.split_at_mut(k.len() / width);
            products(simd, self.q, k, own);
            scores = rest;
        }
        let inverse = 1.0 / exponentials(simd, self.scores, self.scale);
        // Four vectors of the output at a time, in registers.
        let step = 4 * S::F32_LANES;
        for from in (0..width).step_by(step) {
            let to = (from + step).min(width);
            let mut sums = [simd.splat_f32s(0.0); 4];
            let mut p = self.scores.iter();
            for [_, v] in self.pieces {
                for (v, p) in v.chunks_exact(width).zip(p.by_ref()) {
                    let p = simd.splat_f32s(*p);
                    let (vectors, tail) = S::as_simd_f32s(&v[from..to]);
                    for (sum, v) in sums.iter_mut().zip(vectors) {
                        *sum = simd.mul_add_e_f32s(p, *v, *sum);
                    }
                    if !tail.is_empty() {
                        let sum = &mut sums[vectors.len()];
                        *sum = simd.mul_add_e_f32s(p, simd.partial_load_f32s(tail), *sum);
                    }
                }
            }
            let inverse = simd.splat_f32s(inverse);
            let (vectors, tail) = S::as_mut_simd_f32s(&mut self.y[from..to]);
            let n = vectors.len();
            for (y, sum) in vectors.iter_mut().zip(sums) {
                *y = simd.mul_f32s(sum, inverse);
            }
            if !tail.is_empty() {
                simd.partial_store_f32s(tail, simd.mul_f32s(sums[n], inverse));
            }
        }
    }
}

/// The product of `q` with each row of `k`, four rows at a time.
#[inline(always)]
fn products<S: Simd>(simd: S, q: &[f32], k: &[f32], out: &mut [f32]) {
    const ROWS: usize = 4;
    let width = q.len();
    let (q, q_tail) = S::as_simd_f32s(q);
    let q_tail = (!q_tail.is_empty()).then(|| simd.partial_load_f32s(q_tail));
    for (k, out) in k.chunks(ROWS * width).zip(out.chunks_mut(ROWS)) {
        let mut sums = [simd.splat_f32s(0.0); ROWS];
        for (sum, k) in sums.iter_mut().zip(k.chunks_exact(width)) {
            let (k, k_tail) = S::as_simd_f32s(k);
            for (q, k) in q.iter().zip(k) {
                *sum = simd.mul_add_e_f32s(*q, *k, *sum);
            }
            if let Some(q) = q_tail {
                *sum = simd.mul_add_e_f32s(q, simd.partial_load_f32s(k_tail), *sum);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = simd.reduce_sum_f32s(sum);
        }
    }
}

thread_local! {
    /// Scores of one query.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// How the queries of a key/value head of one row are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queries {
    /// One after the other.
    Few,
    /// One in each lane.
    Many,
}

impl Queries {
    /// What is faster for `n_queries` of one key/value head: an empty lane costs as much as a full
    /// one, and a narrow head leaves lanes empty in the other way. Ours, measured (`docs/LOG.md`).
    pub(crate) fn fastest(n_queries: usize, head_dim: usize) -> Self {
        let few = match head_dim {
            ..16 => 1,
            16..32 => 2,
            32..64 => 3,
            64.. => 4,
        };
        if n_queries <= few {
            Self::Few
        } else {
            Self::Many
        }
    }
}

/// Mixtures of values, `[batch_size, n_heads, n_queries, head_dim]`, of queries of that shape over
/// the slots of `segments` in turn.
pub(crate) fn attend(
    queries: Queries,
    q: Tensor<4>,
    n_kv_heads: usize,
    segments: &[Segment<'_>],
    visible: &Visible,
    scale: f32,
) -> Tensor<4> {
    let shape = q.dims();
    let [_, n_heads, n_queries, head_dim] = shape;
    let pass = Attend {
        q: &read(q),
        n_heads,
        n_kv_heads,
        n_queries,
        head_dim,
        segments,
        visible,
        scale,
    };
    make(shape, |y| match queries {
        Queries::Few => pass.few(y),
        Queries::Many => pass.many(y),
    })
}

/// What a pass attends with, and to what.
struct Attend<'a> {
    q: &'a [f32],
    n_heads: usize,
    n_kv_heads: usize,
    n_queries: usize,
    head_dim: usize,
    segments: &'a [Segment<'a>],
    visible: &'a Visible,
    scale: f32,
}

impl Attend<'_> {
    fn many(&self, y: &mut [f32]) {
        if y.is_empty() {
            return;
        }
        let (group, head_dim) = (self.n_heads / self.n_kv_heads, self.head_dim);
        let arch = Arch::new();
        let lanes = arch.dispatch(super::product::LaneCount);
        // Queries of heads with the same keys fill up a block together; those of a prompt would
        // only see each other's.
        let heads = if self.n_queries < lanes { group } else { 1 };
        // Tasks of so many heads, and within them of a block.
        let task = heads * self.n_queries * head_dim;
        y.par_chunks_mut(task)
            .zip(self.q.par_chunks(task))
            .enumerate()
            .for_each(|(index, (y, q))| {
                let (row, head) = (
                    index * heads / self.n_heads,
                    index * heads % self.n_heads / group,
                );
                y.par_chunks_mut(lanes * head_dim)
                    .zip(q.par_chunks(lanes * head_dim))
                    .enumerate()
                    .for_each(|(block, (y, q))| {
                        let first = block * lanes;
                        let mut seen: Vec<_> = (first..first + q.len() / head_dim)
                            .map(|query| self.visible.range(row, query % self.n_queries))
                            .collect();
                        let from = seen.iter().map(|seen| seen.start).min().unwrap_or(0);
                        let to = seen.iter().map(|seen| seen.end).max().unwrap_or(0);
                        for seen in &mut seen {
                            *seen = seen.start - from..seen.end - from;
                        }
                        let mut pieces = Vec::with_capacity(self.segments.len());
                        cut(self.slots(row, head), head_dim, &(from..to), &mut pieces);
                        arch.dispatch(QueryBlock {
                            scale: self.scale,
                            q,
                            pieces: &pieces,
                            seen: &seen,
                            y,
                        });
                    });
            });
    }

    fn few(&self, y: &mut [f32]) {
        let head_dim = self.head_dim;
        let n_keys: usize = self.segments.iter().map(|segment| segment.len).sum();
        let task = self.n_heads / self.n_kv_heads * self.n_queries * head_dim;
        // Two sums over the keys for each value, sixteen or so terms in the time of a write.
        for_single_rows(y, task, task * n_keys / 8, |index, y| {
            let (row, head) = (index / self.n_kv_heads, index % self.n_kv_heads);
            let mut pieces = Vec::with_capacity(self.segments.len());
            SCORES.with_borrow_mut(|scores| {
                scores.resize(scores.len().max(n_keys), 0.0);
                let queries = self.q[index * task..][..task].chunks_exact(head_dim);
                for (i, (q, y)) in queries.zip(y.chunks_exact_mut(head_dim)).enumerate() {
                    let seen = self.visible.range(row, i % self.n_queries);
                    cut(self.slots(row, head), head_dim, &seen, &mut pieces);
                    Arch::new().dispatch(Query {
                        scale: self.scale,
                        q,
                        pieces: &pieces,
                        scores: &mut scores[..seen.len()],
                        y,
                    });
                }
            });
        });
    }

    /// Keys and values that row `row` of the batch sees with key/value head `head`, segment by
    /// segment.
    fn slots(&self, row: usize, head: usize) -> impl Iterator<Item = [&[f32]; 2]> {
        self.segments
            .iter()
            .map(move |segment| segment.of(row, head, self.n_kv_heads, self.head_dim))
    }
}

/// The part `seen` of the slots of `all`, piece by piece.
fn cut<'a>(
    all: impl Iterator<Item = [&'a [f32]; 2]>,
    head_dim: usize,
    seen: &Range<usize>,
    pieces: &mut Vec<[&'a [f32]; 2]>,
) {
    pieces.clear();
    let mut first = 0;
    for [k, v] in all {
        let len = k.len() / head_dim;
        let from = seen.start.clamp(first, first + len) - first;
        let to = seen.end.clamp(first, first + len) - first;
        let part = from * head_dim..to * head_dim;
        pieces.push([&k[part.clone()], &v[part]]);
        first += len;
    }
}
