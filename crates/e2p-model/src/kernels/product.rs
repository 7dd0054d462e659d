//! Products of many rows with a frozen matrix.
//!
//! The classical scheme (Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication", 2008) cut down to what frozen weights need. The matrix is packed into panels of
//! [`VECTORS`] vectors' width, as words of the [`Arithmetic`], all threads together; then every
//! thread takes rows of the output and goes through the panels, a slice of [`DEPTH`] at a time, so
//! that a slice stays in the first-level cache while the rows pass by. The rows themselves are read
//! in place. A tile of the output lives in registers: 8 rows by 3 vectors where there are 32
//! registers, 4 by 3 where there are 16.

use std::cell::Cell;
use std::marker::PhantomData;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::arithmetic::Arithmetic;
use super::matrix::{Matrix, Side};
use super::stored::Stored;

/// Vectors side by side in a tile.
const VECTORS: usize = 3;
/// Words of terms between two visits of the output: a panel's slice of 192 x 48 words takes 37 KB.
const DEPTH: usize = 192;
/// Packed words held at a time, 2 MB.
const PACKED: usize = 1 << 19;

/// Words transposed at a time by the portable packing.
const WORDS: usize = 64;

impl<T: Stored> Matrix<'_, T> {
    /// Writes terms of columns `column ..` as rows of `width` words; columns that are not there as
    /// zeros. `first` counts words of terms.
    fn pack<A: Arithmetic>(self, first: usize, column: usize, width: usize, panel: &mut [u32]) {
        let (terms, columns) = self.depth_and_width();
        let n = width.min(columns - column);
        match self.side {
            Side::Plain => {
                for (word, to) in panel.chunks_exact_mut(width).enumerate() {
                    let term = (first + word) * A::TERMS;
                    let rows = (term..terms.min(term + A::TERMS)).map(|row| {
                        let values = &self.values[row * self.d_in + column..][..n];
                        (values, self.scale(row))
                    });
                    A::pack_across(rows, &mut to[..n]);
                    to[n..].fill(0);
                }
            }
            Side::Transposed => {
                let depth = panel.len() / width;
                if n < width {
                    panel.fill(0);
                }
                #[cfg(target_arch = "x86_64")]
                if let Some(simd) = pulp::x86::V4::try_new() {
                    super::transpose::pack::<A, T>(simd, self, first, column, n, width, panel);
                    return;
                }
                // Four rows of the matrix become four columns of the panel, a block of [`WORDS`]
                // words at a time.
                let mut block = [[0; WORDS]; 4];
                for at in (0..n).step_by(4) {
                    for word in (0..depth).step_by(WORDS) {
                        let words = WORDS.min(depth - word);
                        for (row, block) in block.iter_mut().enumerate() {
                            // Rows that are not there repeat the last one; what they give is
                            // overwritten or left out.
                            let row = column + (at + row).min(n - 1);
                            self.pack_row::<A>(row, first + word, &mut block[..words]);
                        }
                        let rows = panel[word * width..].chunks_exact_mut(width);
                        transpose_block(&block, words, at, (n - at).min(4), rows);
                    }
                }
            }
        }
    }
}

/// Writes columns of `block` into `rows` from column `at` on, `n` values each.
#[inline(always)]
fn transpose_block<'a>(
    block: &[[u32; WORDS]; 4],
    words: usize,
    at: usize,
    n: usize,
    mut rows: impl Iterator<Item = &'a mut [u32]>,
) {
    let [a, b, c, d] = block.each_ref().map(|row| row.as_chunks::<4>().0);
    for (index, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
        if 4 * index >= words {
            return;
        }
        // Written out, so that it becomes shuffles of vectors.
        let transposed = [
            [a[0], b[0], c[0], d[0]],
            [a[1], b[1], c[1], d[1]],
            [a[2], b[2], c[2], d[2]],
            [a[3], b[3], c[3], d[3]],
        ];
        for (transposed, row) in transposed
            .iter()
            .zip(rows.by_ref().take((words - 4 * index).min(4)))
        {
            if n == 4 {
                row[at..at + 4].copy_from_slice(transposed);
            } else {
                row[at..at + n].copy_from_slice(&transposed[..n]);
            }
        }
    }
}

/// Packs one panel with the CPU's vector instructions.
struct Pack<'a, A, T> {
    arithmetic: PhantomData<A>,
    matrix: Matrix<'a, T>,
    first: usize,
    column: usize,
    width: usize,
    panel: &'a mut [u32],
}

impl<A: Arithmetic, T: Stored> WithSimd for Pack<'_, A, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.matrix
            .pack::<A>(self.first, self.column, self.width, self.panel);
    }
}

/// Rows of the output of one thread, through all packed panels.
struct Rows<'a, A> {
    arithmetic: A,
    /// Rows of `x_width` words, of which those from `first` on are multiplied.
    x: &'a [u32],
    x_width: usize,
    first: usize,
    /// Panels of `depth` rows each.
    packed: &'a [u32],
    depth: usize,
    /// Rows of `y_width` values; the panels' first column is `column`.
    y: &'a mut [f32],
    y_width: usize,
    column: usize,
    /// What `y` holds is added to.
    adds: bool,
}

impl<A: Arithmetic> WithSimd for Rows<'_, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.run::<S, 8>(simd);
        } else {
            self.run::<S, 4>(simd);
        }
    }
}

impl<A: Arithmetic> Rows<'_, A> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let width = VECTORS * S::F32_LANES;
        for first in (0..self.depth).step_by(DEPTH) {
            let depth = DEPTH.min(self.depth - first);
            let adds = self.adds || first > 0;
            for (panel, packed) in self.packed.chunks_exact(self.depth * width).enumerate() {
                let packed = &packed[first * width..][..depth * width];
                let packed = S::as_simd_u32s(packed).0.as_chunks::<VECTORS>().0;
                let column = self.column + panel * width;
                let n = width.min(self.y_width - column);
                let from = self.first + first;
                let y_tiles = self.y.chunks_mut(ROWS * self.y_width);
                let x_tiles = self.x.chunks(ROWS * self.x_width);
                for (x, y) in x_tiles.zip(y_tiles) {
                    let n_rows = y.len() / self.y_width;
                    // Rows that are not there repeat the last one, and their results are dropped.
                    let x: [&[u32]; ROWS] = std::array::from_fn(|row| {
                        &x[row.min(n_rows - 1) * self.x_width + from..][..depth]
                    });
                    let sums = tile::<A, S, ROWS>(self.arithmetic, simd, x, packed);
                    for (sums, y) in sums.iter().zip(y.chunks_exact_mut(self.y_width)) {
                        let y = &mut y[column..][..n];
                        let sums: &[f32] = bytemuck::cast_slice(sums);
                        if n == width {
                            let y = S::as_mut_simd_f32s(y).0;
                            let sums = S::as_simd_f32s(sums).0;
                            for (y, sum) in y.iter_mut().zip(sums) {
                                *y = if adds { simd.add_f32s(*y, *sum) } else { *sum };
                            }
                        } else {
                            for (y, sum) in y.iter_mut().zip(sums) {
                                *y = if adds { *y + sum } else { *sum };
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `ROWS` rows times one panel's slice, in registers.
#[inline(always)]
fn tile<A: Arithmetic, S: Simd, const ROWS: usize>(
    arithmetic: A,
    simd: S,
    x: [&[u32]; ROWS],
    packed: &[[S::u32s; VECTORS]],
) -> [[S::f32s; VECTORS]; ROWS] {
    let n = packed.len();
    let x = x.map(|x| &x[..n]);
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for (word, packed) in packed.iter().enumerate() {
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = simd.splat_u32s(x[word]);
            for (sum, packed) in sums.iter_mut().zip(packed) {
                *sum = arithmetic.mul_add(simd, x, *packed, *sum);
            }
        }
    }
    sums
}

/// Lanes of the vectors that the CPU has.
pub(super) struct LaneCount;

impl WithSimd for LaneCount {
    type Output = usize;

    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

thread_local! {
    /// Packed panels, kept from product to product: a new allocation of this size is a page fault
    /// every 4 KB.
    static SCRATCH: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// `y = x W^T` or `y = x W`, or added to what `y` holds. `x` has rows of as many values as the sums
/// have terms.
pub(crate) fn product<A: Arithmetic, T: Stored>(
    arithmetic: A,
    x: &[f32],
    matrix: Matrix<'_, T>,
    y: &mut [f32],
    adds: bool,
) {
    let (terms, columns) = matrix.depth_and_width();
    if y.is_empty() {
        return;
    }
    let x = A::of_rows(x, terms);
    let words = terms.div_ceil(A::TERMS);
    let width = VECTORS * arithmetic.dispatch(LaneCount);
    let n_rows = y.len() / columns;
    // Two tasks a thread, of whole tiles.
    let task_rows = n_rows
        .div_ceil(2 * rayon::current_num_threads())
        .next_multiple_of(8);
    let depth_limit = words.min(PACKED / width);
    let depth_limit = if depth_limit < words {
        depth_limit / DEPTH * DEPTH
    } else {
        words
    };
    let panels_limit = (PACKED / (depth_limit * width)).max(1);
    let mut scratch = SCRATCH.take();
    for first in (0..words).step_by(depth_limit) {
        let depth = depth_limit.min(words - first);
        for column in (0..columns).step_by(panels_limit * width) {
            let n_panels = (columns - column).div_ceil(width).min(panels_limit);
            let len = n_panels * depth * width;
            if scratch.len() < len {
                scratch.resize(len, 0);
            }
            let packed = &mut scratch[..len];
            packed
                .par_chunks_exact_mut(depth * width)
                .enumerate()
                .for_each(|(panel, packed)| {
                    arithmetic.dispatch(Pack {
                        arithmetic: PhantomData::<A>,
                        matrix,
                        first,
                        column: column + panel * width,
                        width,
                        panel: packed,
                    });
                });
            let packed = &*packed;
            y.par_chunks_mut(task_rows * columns)
                .zip(x.par_chunks(task_rows * words))
                .for_each(|(y, x)| {
                    arithmetic.dispatch(Rows {
                        arithmetic,
                        x,
                        x_width: words,
                        first,
                        packed,
                        depth,
                        y,
                        y_width: columns,
                        column,
                        adds: adds || first > 0,
                    });
                });
        }
    }
    SCRATCH.set(scratch);
}
