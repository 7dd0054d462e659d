//! Products of a few rows with a frozen matrix, whose weights are read once, in order, in the width
//! they are stored in.
//!
//! For one user's next token a product costs what it takes to read the weights, so each row of them
//! is one stream that the processor fetches ahead: [`Dots`]. With several users the sums begin to
//! count. From half a vector of rows on, a lane holds a user: [`RowPerLane`] multiplies each weight
//! with a vector of all users, and no sum over lanes is left to make. The weights are not packed;
//! the few rows are.
//!
//! [`Dots`] are always in `f32`: they wait for the weights, so that a faster product would gain
//! nothing.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::arithmetic::{Arithmetic, InF32};
use super::matrix::Matrix;
use super::rows::for_single_rows;
use super::stored::Stored;

/// Rows up to which this beats `product`.
pub(crate) const FEW: usize = 96;
/// Rows that share a load of weights in [`Dots`], where there is more than one row.
const ROWS: usize = 4;
/// Sums side by side in [`Dots`], enough to hide how long an addition takes.
const SUMS: usize = 8;
/// Rows of weights whose sums [`RowPerLane`] holds in registers; with AVX2's sixteen this leaves
/// what it needs.
const WEIGHTS: usize = 12;

/// Rows of `x` in the order in which a kernel reads them, group by group. What is not there is
/// zero.
struct Groups {
    words: Vec<u32>,
    /// Words of one group.
    len: usize,
}

impl Groups {
    /// For [`Dots`]: in a group, for each vector of the weights' words, each part of the words (see
    /// [`Stored::part`]), each row, a vector.
    fn of_vectors<T: Stored>(x: &[u32], d_in: usize, group: usize, lanes: usize) -> Self {
        let n_vectors = d_in.div_ceil(T::PER_LANE * lanes) * T::PER_LANE;
        let load = T::PER_LANE * lanes;
        Self::new(x, d_in, load, group, n_vectors * lanes, |vector, i, row| {
            let (lane, part) = (i / T::PER_LANE, i % T::PER_LANE);
            ((vector * T::PER_LANE + part) * group + row) * lanes + lane
        })
    }

    /// For [`RowPerLane`]: in a group, for each word, each row, as many as there are lanes.
    fn of_lanes(x: &[u32], d_in: usize, lanes: usize) -> Self {
        Self::new(x, d_in, d_in, lanes, d_in, |_, i, row| i * lanes + row)
    }

    /// `place(part, word of the part, row)` in a group of `group` rows, each taken in parts of
    /// `step` words and with room for `width`.
    fn new(
        x: &[u32],
        d_in: usize,
        step: usize,
        group: usize,
        width: usize,
        place: impl Fn(usize, usize, usize) -> usize,
    ) -> Self {
        let len = width * group;
        let mut words = vec![0; (x.len() / d_in).div_ceil(group) * len];
        for (row, x) in x.chunks_exact(d_in).enumerate() {
            let words = &mut words[row / group * len..][..len];
            for (part, x) in x.chunks(step).enumerate() {
                for (i, x) in x.iter().enumerate() {
                    words[place(part, i, row % group)] = *x;
                }
            }
        }
        Self { words, len }
    }
}

/// What one task computes: the products of a block of weight rows with all rows of `x`.
struct Task<'a, T> {
    groups: &'a Groups,
    n_rows: usize,
    weights: &'a [T],
    /// A factor for each row of weights.
    scales: Option<&'a [f32]>,
    d_in: usize,
    /// `[weight rows, rows of x]`
    y: &'a mut [f32],
}

impl<T> Task<'_, T> {
    #[inline(always)]
    fn scale(self) {
        if let Some(scales) = self.scales {
            for (y, scale) in self.y.chunks_exact_mut(self.n_rows).zip(scales) {
                for y in y {
                    *y *= scale;
                }
            }
        }
    }
}

/// A [`Task`] as dot products, one row of weights after the other.
struct Dots<'a, T>(Task<'a, T>);

impl<T: Stored> WithSimd for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.0.n_rows == 1 {
            self.run::<S, 1, SUMS>(simd);
        } else {
            self.run::<S, ROWS, { SUMS / ROWS }>(simd);
        }
    }
}

impl<T: Stored> Dots<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const GROUP: usize, const STEPS: usize>(self, simd: S) {
        let Task {
            groups,
            n_rows,
            weights,
            d_in,
            ..
        } = self.0;
        let y_rows = self.0.y.chunks_exact_mut(n_rows);
        for (weights, y) in weights.chunks_exact(d_in).zip(y_rows) {
            let words = T::words(weights);
            let groups = groups.words.chunks_exact(groups.len);
            for (y, x) in y.chunks_mut(GROUP).zip(groups) {
                let sums = dots::<S, T, GROUP, STEPS>(simd, words, x);
                y.copy_from_slice(&sums[..y.len()]);
            }
        }
        self.0.scale();
    }
}

/// Dot products of a row of words with a group of rows; `STEPS` vectors have sums of their own.
/// Loops only: `array::map` is not always inlined, and vectors would go through memory.
#[inline(always)]
fn dots<S: Simd, T: Stored, const GROUP: usize, const STEPS: usize>(
    simd: S,
    words: &[u32],
    x: &[u32],
) -> [f32; GROUP] {
    let (vectors, tail) = S::as_simd_u32s(words);
    let x: &[f32] = bytemuck::cast_slice(x);
    let x = S::as_simd_f32s(x).0.as_chunks::<GROUP>().0;
    let (x, x_tail) = x.split_at(vectors.len() * T::PER_LANE);
    let mut sums = [[simd.splat_f32s(0.0); GROUP]; STEPS];
    // Vectors that are read at a step; narrow words hold several parts.
    let at_once = (STEPS / T::PER_LANE).max(1);
    let steps = vectors.chunks_exact(at_once);
    let left = steps.remainder();
    let (x, x_left) = x.split_at((vectors.len() - left.len()) * T::PER_LANE);
    for (vectors, x) in steps.zip(x.chunks_exact(at_once * T::PER_LANE)) {
        for (i, x) in x.iter().enumerate() {
            let weight = T::part(simd, vectors[i / T::PER_LANE], i % T::PER_LANE);
            for (sum, x) in sums[i % STEPS].iter_mut().zip(x) {
                *sum = simd.mul_add_e_f32s(weight, *x, *sum);
            }
        }
    }
    let last = simd.partial_load_u32s(tail);
    for (vector, x) in left
        .iter()
        .zip(x_left.chunks_exact(T::PER_LANE))
        .chain((!tail.is_empty()).then_some((&last, x_tail)))
    {
        for (part, x) in x.iter().enumerate() {
            let weight = T::part(simd, *vector, part);
            for (sum, x) in sums[part % STEPS].iter_mut().zip(x) {
                *sum = simd.mul_add_e_f32s(weight, *x, *sum);
            }
        }
    }
    let mut out = [0.0; GROUP];
    for (row, out) in out.iter_mut().enumerate() {
        let mut sum = sums[0][row];
        for other in &sums[1..] {
            sum = simd.add_f32s(sum, other[row]);
        }
        *out = simd.reduce_sum_f32s(sum);
    }
    out
}

/// A [`Task`] with a row of `x` in each lane.
struct RowPerLane<'a, A, T> {
    arithmetic: A,
    task: Task<'a, T>,
}

impl<A: Arithmetic, T: Stored> WithSimd for RowPerLane<'_, A, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { arithmetic, task } = self;
        let (n_rows, d_in) = (task.n_rows, task.d_in);
        let n_words = d_in.div_ceil(A::TERMS);
        // Words of the weights as they are stored serve pairs of values that are bf16, and products
        // of values that widen for nothing.
        let is_packed = !(A::TERMS == T::PER_LANE && T::IS_BF16 || A::TERMS == 1 && T::IS_CHEAP);
        let mut packed = vec![0; if is_packed { WEIGHTS * n_words } else { 0 }];
        let y_tiles = task.y.chunks_mut(WEIGHTS * n_rows);
        let tile = WEIGHTS * d_in;
        for (index, y) in y_tiles.enumerate() {
            let (weights, later) =
                task.weights[index * tile..].split_at(tile.min(task.weights.len() - index * tile));
            let later = T::words(&later[..tile.min(later.len())]);
            let next = Next::new(bytemuck::cast_slice(later), n_words);
            if is_packed {
                let rows = packed.chunks_exact_mut(n_words);
                for (words, weights) in rows.zip(weights.chunks_exact(d_in)) {
                    A::pack(weights, 1.0, words);
                }
            }
            let n_weights = weights.len() / d_in;
            let groups = task.groups.words.chunks_exact(task.groups.len);
            for (x, first) in groups.zip((0..).step_by(S::F32_LANES)) {
                let x = S::as_simd_u32s(x).0;
                let sums = if is_packed || A::TERMS > 1 {
                    let words = if is_packed {
                        &packed
                    } else {
                        T::words(weights)
                    };
                    words_by_lanes(
                        arithmetic,
                        simd,
                        &words[..n_weights * n_words],
                        n_words,
                        x,
                        next,
                    )
                } else {
                    parts_by_lanes::<S, T>(simd, weights, d_in, x, next)
                };
                let n = S::F32_LANES.min(n_rows - first);
                for (sum, y) in sums.into_iter().zip(y.chunks_exact_mut(n_rows)) {
                    simd.partial_store_f32s(&mut y[first..first + n], sum);
                }
            }
        }
        task.scale();
    }
}

/// The weights of the tile after this one, fetched into the cache while this one is multiplied:
/// twelve rows are twelve short streams, which processors do not fetch ahead.
#[derive(Clone, Copy)]
pub(super) struct Next<'a> {
    bytes: &'a [u8],
    /// Bytes for each step.
    step: usize,
}

impl<'a> Next<'a> {
    /// To be fetched in `steps` steps.
    pub(super) fn new(bytes: &'a [u8], steps: usize) -> Self {
        Self {
            bytes,
            step: bytes.len().div_ceil(steps),
        }
    }

    #[inline(always)]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "a hint that this processor is not given")
    )]
    #[allow(unsafe_code)]
    pub(super) fn fetch(self, step: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(byte) = self.bytes.get(step * self.step) {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: a hint; it reads nothing, and the address is that of a byte.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(byte).cast()) };
        }
    }
}

/// The rows of `words`, `len` words each; rows that are not there repeat the last one.
#[inline(always)]
fn rows_of(words: &[u32], len: usize) -> [&[u32]; WEIGHTS] {
    let n = words.len() / len;
    let mut rows: [&[u32]; WEIGHTS] = [&[]; WEIGHTS];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &words[i.min(n - 1) * len..][..len];
    }
    rows
}

/// The sums, a row of `x` in each lane, of up to `WEIGHTS` rows of words. Sums of rows that are not
/// there say nothing.
#[inline(always)]
fn words_by_lanes<A: Arithmetic, S: Simd>(
    arithmetic: A,
    simd: S,
    words: &[u32],
    len: usize,
    x: &[S::u32s],
    next: Next<'_>,
) -> [S::f32s; WEIGHTS] {
    let rows = rows_of(words, len);
    let mut sums = [simd.splat_f32s(0.0); WEIGHTS];
    for (at, x) in x.iter().enumerate().take(len) {
        next.fetch(at);
        for (sum, row) in sums.iter_mut().zip(&rows) {
            *sum = arithmetic.mul_add(simd, simd.splat_u32s(row[at]), *x, *sum);
        }
    }
    sums
}

/// The same of rows of weights, whose words are widened a part at a time.
#[inline(always)]
fn parts_by_lanes<S: Simd, T: Stored>(
    simd: S,
    weights: &[T],
    d_in: usize,
    x: &[S::u32s],
    next: Next<'_>,
) -> [S::f32s; WEIGHTS] {
    let len = d_in / T::PER_LANE;
    let rows = rows_of(T::words(weights), len);
    let mut sums = [simd.splat_f32s(0.0); WEIGHTS];
    for (at, x) in x.chunks_exact(T::PER_LANE).enumerate().take(len) {
        next.fetch(at);
        for (sum, row) in sums.iter_mut().zip(&rows) {
            let word = simd.splat_u32s(row[at]);
            for (part, x) in x.iter().enumerate() {
                let x = simd.transmute_f32s_u32s(*x);
                *sum = simd.mul_add_e_f32s(T::part(simd, word, part), x, *sum);
            }
        }
    }
    sums
}

/// `y = x W^T` for a matrix `[d_out, d_in]`: `[rows, d_in]` to `[rows, d_out]`. Rows of weights
/// must fill words ([`super::stored::are_words`]).
pub(crate) fn few_rows<A: Arithmetic, T: Stored>(
    arithmetic: A,
    x: &[f32],
    matrix: Matrix<'_, T>,
    y: &mut [f32],
) {
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
    let n_lanes = arithmetic.dispatch(super::product::LaneCount);
    let has_lanes = n_rows > n_lanes / 2 && n_rows > 1;
    let groups = if has_lanes {
        Groups::of_lanes(&A::of_rows(x, d_in), d_in.div_ceil(A::TERMS), n_lanes)
    } else {
        let group = if n_rows == 1 { 1 } else { ROWS };
        Groups::of_vectors::<T>(bytemuck::cast_slice(x), d_in, group, n_lanes)
    };
    by_blocks(y, n_rows, d_out, WEIGHTS, |first, y| {
        let n = y.len() / n_rows;
        let task = Task {
            groups: &groups,
            n_rows,
            weights: &weights[first * d_in..][..n * d_in],
            scales: scales.map(|scales| &scales[first..][..n]),
            d_in,
            y,
        };
        if has_lanes {
            arithmetic.dispatch(RowPerLane { arithmetic, task });
        } else {
            InF32::new().dispatch(Dots(task));
        }
    });
}

/// Fills `y`, `[rows, d_out]`, by `run(first row of weights, [weight rows, rows])` for blocks of
/// whole tiles of rows of weights, on all threads.
pub(super) fn by_blocks(
    y: &mut [f32],
    n_rows: usize,
    d_out: usize,
    tile: usize,
    run: impl Fn(usize, &mut [f32]) + Sync,
) {
    if y.is_empty() {
        return;
    }
    // Two tasks a thread.
    let block = d_out
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(tile);
    let all = |y: &mut [f32]| {
        y.par_chunks_mut(block * n_rows)
            .enumerate()
            .for_each(|(index, y)| run(index * block, y));
    };
    if n_rows == 1 {
        return all(y);
    }
    let mut transposed = vec![0.0; y.len()];
    all(&mut transposed);
    let transpose = |row: usize, y: &mut [f32]| {
        for (y, transposed) in y.iter_mut().zip(transposed.chunks_exact(n_rows)) {
            *y = transposed[row];
        }
    };
    // The output of a layer is transposed before another thread is awake, that of a head is not.
    for_single_rows(y, d_out, d_out / 16, transpose);
}
