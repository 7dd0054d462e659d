//! Packing rows of a matrix as columns with AVX-512: squares of 16 x 16 transposed in registers.
//!
//! Compilers make no shuffles of the plain loops, and for few rows of input packing would cost as
//! much as the product.

use std::marker::PhantomData;

use pulp::x86::V4;
use pulp::{NullaryFnOnce, f32x16};

use super::arithmetic::Arithmetic;
use super::matrix::Matrix;
use super::stored::Stored;

const SIDE: usize = 16;
/// Words of a row taken at a time.
const WORDS: usize = 64;

struct Pack<'a, 'b, A, T> {
    arithmetic: PhantomData<A>,
    simd: V4,
    matrix: Matrix<'a, T>,
    first: usize,
    column: usize,
    n: usize,
    width: usize,
    panel: &'b mut [u32],
}

/// Writes the words `first ..` of the rows `column .. column + n` of `matrix` as columns of
/// `panel`, whose rows are `width` wide.
pub(super) fn pack<A: Arithmetic, T: Stored>(
    simd: V4,
    matrix: Matrix<'_, T>,
    first: usize,
    column: usize,
    n: usize,
    width: usize,
    panel: &mut [u32],
) {
    simd.vectorize(Pack {
        arithmetic: PhantomData::<A>,
        simd,
        matrix,
        first,
        column,
        n,
        width,
        panel,
    });
}

impl<A: Arithmetic, T: Stored> NullaryFnOnce for Pack<'_, '_, A, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let depth = self.panel.len() / self.width;
        let mut block = [[0; WORDS]; SIDE];
        for at in (0..self.n).step_by(SIDE) {
            let n = SIDE.min(self.n - at);
            for word in (0..depth).step_by(WORDS) {
                let words = WORDS.min(depth - word);
                for (row, block) in block.iter_mut().enumerate().take(n) {
                    let row = self.column + at + row;
                    self.matrix
                        .pack_row::<A>(row, self.first + word, &mut block[..words]);
                }
                for square in 0..words.div_ceil(SIDE) {
                    let mut rows = [<f32x16 as bytemuck::Zeroable>::zeroed(); SIDE];
                    for (row, block) in rows.iter_mut().zip(&block) {
                        let values: &[u32; SIDE] = &block.as_chunks().0[square];
                        *row = bytemuck::cast(*values);
                    }
                    transpose(self.simd, &mut rows);
                    let from = (word + square * SIDE) * self.width;
                    let panel = self.panel[from..].chunks_exact_mut(self.width);
                    for (row, out) in rows.iter().zip(panel).take(words - square * SIDE) {
                        let values: [u32; SIDE] = bytemuck::cast(*row);
                        // A length that is known becomes a store, another one a call.
                        match out[at..].first_chunk_mut() {
                            Some(out) if n == SIDE => *out = values,
                            _ => out[at..at + n].copy_from_slice(&values[..n]),
                        }
                    }
                }
            }
        }
    }
}

/// Transposes: pairs, then fours within quarters, then the quarters.
#[inline(always)]
pub(super) fn transpose(simd: V4, rows: &mut [f32x16; SIDE]) {
    use bytemuck::cast;
    let f = simd.avx512f;
    let mut a = *rows;
    for i in (0..SIDE).step_by(2) {
        a[i] = cast(f._mm512_unpacklo_ps(cast(rows[i]), cast(rows[i + 1])));
        a[i + 1] = cast(f._mm512_unpackhi_ps(cast(rows[i]), cast(rows[i + 1])));
    }
    // b[4 g + j], quarter q: column 4 q + j of the rows 4 g .. 4 g + 4.
    let mut b = a;
    for g in (0..SIDE).step_by(4) {
        b[g] = cast(f._mm512_unpacklo_pd(cast(a[g]), cast(a[g + 2])));
        b[g + 1] = cast(f._mm512_unpackhi_pd(cast(a[g]), cast(a[g + 2])));
        b[g + 2] = cast(f._mm512_unpacklo_pd(cast(a[g + 1]), cast(a[g + 3])));
        b[g + 3] = cast(f._mm512_unpackhi_pd(cast(a[g + 1]), cast(a[g + 3])));
    }
    for j in 0..4 {
        // Quarters 0 and 2 of two vectors, and 1 and 3.
        let even = f._mm512_shuffle_f32x4::<0x88>(cast(b[j]), cast(b[4 + j]));
        let odd = f._mm512_shuffle_f32x4::<0xdd>(cast(b[j]), cast(b[4 + j]));
        let even_high = f._mm512_shuffle_f32x4::<0x88>(cast(b[8 + j]), cast(b[12 + j]));
        let odd_high = f._mm512_shuffle_f32x4::<0xdd>(cast(b[8 + j]), cast(b[12 + j]));
        rows[j] = cast(f._mm512_shuffle_f32x4::<0x88>(even, even_high));
        rows[8 + j] = cast(f._mm512_shuffle_f32x4::<0xdd>(even, even_high));
        rows[4 + j] = cast(f._mm512_shuffle_f32x4::<0x88>(odd, odd_high));
        rows[12 + j] = cast(f._mm512_shuffle_f32x4::<0xdd>(odd, odd_high));
    }
}
