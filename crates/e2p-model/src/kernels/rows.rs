//! Rows spread over the threads, and the vector loops over one row.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use pulp::Simd;
use rayon::Yield;
use rayon::prelude::*;

use super::flex::are_on;

/// Values a task should write: some microseconds of work, several times what it costs to hand a
/// task over.
const TASK: usize = 16 * 1024;

/// How long a thread looks for work before it may fall asleep: longer than what stands between two
/// products of a pass.
const PATIENCE: Duration = Duration::from_micros(200);

thread_local! {
    /// Whether this thread runs a pass or looks for the work of one.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, many small parallel loops one after the other, on one of the pool's threads where this
/// is a device of the kernels, and keeps the others awake meanwhile.
///
/// From any other thread each loop costs two hand-overs, of the work and of the result, between
/// threads that have fallen asleep: a fifth of the time of a decoding step. Waking those that slept
/// between two loops costs another twentieth.
pub(crate) fn on_workers<R: Send>(device: &Device, f: impl FnOnce() -> R + Send) -> R {
    if !are_on(device) {
        return f();
    }
    rayon::scope(|_| {
        if IS_BUSY.replace(true) {
            return f();
        }
        let is_running = Arc::new(AtomicBool::new(true));
        let also = is_running.clone();
        rayon::spawn_broadcast(move |_| stay_awake(&also));
        let result = f();
        is_running.store(false, Ordering::Relaxed);
        IS_BUSY.set(false);
        result
    })
}

/// Does what work there is as long as `is_running`, and looks for it without falling asleep.
///
/// Not for ever without work: this thread may have been waiting for a part of the same pass when it
/// came here.
fn stay_awake(is_running: &AtomicBool) {
    if IS_BUSY.replace(true) {
        return;
    }
    let mut last = Instant::now();
    while is_running.load(Ordering::Relaxed) {
        match rayon::yield_now() {
            Some(Yield::Executed) => last = Instant::now(),
            _ if last.elapsed() < PATIENCE => std::hint::spin_loop(),
            _ => break,
        }
    }
    IS_BUSY.set(false);
}

/// Calls `f(first row, rows)` for blocks of whole rows of `width` values, on all threads when there
/// is enough to do.
pub(crate) fn for_rows(values: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if values.is_empty() {
        return;
    }
    if values.len() <= TASK {
        return f(0, values);
    }
    let block = TASK.div_ceil(width);
    values
        .par_chunks_mut(block * width)
        .enumerate()
        .for_each(|(index, rows)| f(index * block, rows));
}

/// Calls `f(index, row)` for every row of `width` values, on all threads when there is enough to
/// do: a row takes as long as writing `work` values.
pub(crate) fn for_single_rows(
    values: &mut [f32],
    width: usize,
    work: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) {
    if values.is_empty() {
        return;
    }
    if values.len() / width * work <= TASK {
        // Waking another thread takes longer.
        return values
            .chunks_mut(width)
            .enumerate()
            .for_each(|(index, row)| f(index, row));
    }
    values
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(index, row)| f(index, row));
}

/// Vector `i` of each input. A loop: `array::map` is not always inlined, and vectors would go
/// through memory.
#[inline(always)]
fn gather<S: Simd, const N: usize>(simd: S, inputs: [&[S::f32s]; N], i: usize) -> [S::f32s; N] {
    let mut out = [simd.splat_f32s(0.0); N];
    for (out, input) in out.iter_mut().zip(inputs) {
        *out = input[i];
    }
    out
}

/// `out = f(out, inputs)` over vectors; the end of a row is padded with zeros.
#[inline(always)]
pub(crate) fn map<S: Simd, const N: usize>(
    simd: S,
    out: &mut [f32],
    inputs: [&[f32]; N],
    f: impl Fn(S::f32s, [S::f32s; N]) -> S::f32s,
) {
    let len = out.len();
    let (out, out_tail) = S::as_mut_simd_f32s(out);
    let inputs = inputs.map(|input| S::as_simd_f32s(&input[..len]));
    let vectors = inputs.map(|(vectors, _)| &vectors[..out.len()]);
    for (i, out) in out.iter_mut().enumerate() {
        *out = f(*out, gather(simd, vectors, i));
    }
    if !out_tail.is_empty() {
        let tails = inputs.map(|(_, tail)| simd.partial_load_f32s(tail));
        let last = f(simd.partial_load_f32s(out_tail), tails);
        simd.partial_store_f32s(out_tail, last);
    }
}

/// `sum` folded over vectors by `sum = f(sum, inputs)`, in four interleaved parts that are added at
/// the end.
///
/// The end of a row is padded with zeros, which must leave the sum as it is.
#[inline(always)]
pub(crate) fn fold<S: Simd, const N: usize>(
    simd: S,
    inputs: [&[f32]; N],
    f: impl Fn(S::f32s, [S::f32s; N]) -> S::f32s,
) -> f32 {
    let len = inputs[0].len();
    let inputs = inputs.map(|input| S::as_simd_f32s(&input[..len]));
    let n = inputs[0].0.len();
    let vectors = inputs.map(|(vectors, _)| &vectors[..n]);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let whole = n - n % 4;
    for i in (0..whole).step_by(4) {
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = f(*sum, gather(simd, vectors, i + j));
        }
    }
    for i in whole..n {
        sums[0] = f(sums[0], gather(simd, vectors, i));
    }
    if !inputs[0].1.is_empty() {
        sums[1] = f(
            sums[1],
            inputs.map(|(_, tail)| simd.partial_load_f32s(tail)),
        );
    }
    simd.reduce_sum_f32s(simd.add_f32s(
        simd.add_f32s(sums[0], sums[1]),
        simd.add_f32s(sums[2], sums[3]),
    ))
}

/// Sum of products of two rows.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    fold(
        simd,
        [a, b],
        #[inline(always)]
        |sum, [a, b]| simd.mul_add_e_f32s(a, b, sum),
    )
}

/// Sum of a row.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, a: &[f32]) -> f32 {
    fold(
        simd,
        [a],
        #[inline(always)]
        |sum, [a]| simd.add_f32s(sum, a),
    )
}

/// Largest value of a row, negative infinity when it is empty.
#[inline(always)]
pub(crate) fn max<S: Simd>(simd: S, a: &[f32]) -> f32 {
    let (a, tail) = S::as_simd_f32s(a);
    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); 4];
    let (fours, rest) = a.as_chunks::<4>();
    for four in fours {
        for (largest, a) in largest.iter_mut().zip(four) {
            *largest = simd.max_f32s(*largest, *a);
        }
    }
    for a in rest {
        largest[0] = simd.max_f32s(largest[0], *a);
    }
    let largest = simd.max_f32s(
        simd.max_f32s(largest[0], largest[1]),
        simd.max_f32s(largest[2], largest[3]),
    );
    tail.iter()
        .copied()
        .fold(simd.reduce_max_f32s(largest), f32::max)
}
