//! A frozen matrix as the kernels read it.

use super::arithmetic::Arithmetic;
use super::stored::Stored;

/// How the frozen matrix `[d_out, d_in]` enters the product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// `y = x W^T`: `[rows, d_in]` to `[rows, d_out]`.
    Transposed,
    /// `dx = dy W`: `[rows, d_out]` to `[rows, d_in]`.
    Plain,
}

/// A frozen matrix `[d_out, d_in]`, row after row.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    /// A factor for each row; 1 where there is none.
    pub(crate) scales: Option<&'a [f32]>,
    pub(crate) d_in: usize,
    pub(crate) side: Side,
}

impl<T: Stored> Matrix<'_, T> {
    /// Terms of each sum, and width of the output.
    pub(super) fn depth_and_width(self) -> (usize, usize) {
        let d_out = self.values.len() / self.d_in;
        match self.side {
            Side::Transposed => (self.d_in, d_out),
            Side::Plain => (d_out, self.d_in),
        }
    }

    /// Words of a row of the matrix, from word `first` on.
    #[inline(always)]
    pub(super) fn pack_row<A: Arithmetic>(self, row: usize, first: usize, words: &mut [u32]) {
        let from = first * A::TERMS;
        let n = (words.len() * A::TERMS).min(self.d_in - from);
        let values = &self.values[row * self.d_in + from..][..n];
        A::pack(values, self.scale(row), words);
    }

    /// The factor of a row.
    #[inline(always)]
    pub(super) fn scale(self, row: usize) -> f32 {
        self.scales.map_or(1.0, |scales| scales[row])
    }
}
