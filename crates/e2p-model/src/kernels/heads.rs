//! From the stacked projection's rows to heads, rotated on the way, and back. Rotation is that of
//! `crate::rotary`.

use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};

use super::flex::{Values, change, make, read};
use super::rows::for_single_rows;
use crate::rotary::Rotation;

/// Cosines and sines of a pass, `[n_rows, seq_len, head_dim]`, `n_rows` being 1 when all rows share
/// their positions.
struct Angles {
    cos: Values,
    sin: Values,
    n_rows: usize,
}

impl Angles {
    fn new(rotation: &Rotation) -> Self {
        let (cos, sin) = rotation.tables();
        Self {
            n_rows: cos.dims()[0],
            cos: read(cos),
            sin: read(sin),
        }
    }

    /// Those of `len` values from slot `slot` of row `row` on.
    fn at(&self, row: usize, seq_len: usize, slot: usize, len: usize, width: usize) -> [&[f32]; 2] {
        let row = if self.n_rows == 1 { 0 } else { row };
        let from = (row * seq_len + slot) * width;
        [&self.cos[from..][..len], &self.sin[from..][..len]]
    }
}

/// Rotates rows of `width` values in place; `sign` -1 turns the other way.
struct Rotate<'a> {
    width: usize,
    angles: [&'a [f32]; 2],
    sign: f32,
    values: &'a mut [f32],
}

impl WithSimd for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let half = self.width / 2;
        let sign = simd.splat_f32s(self.sign);
        let [cos, sin] = self.angles;
        let angles = cos
            .chunks_exact(self.width)
            .zip(sin.chunks_exact(self.width));
        for (row, (cos, sin)) in self.values.chunks_exact_mut(self.width).zip(angles) {
            let (a, b) = row.split_at_mut(half);
            let (cos, sin) = (&cos[..half], &sin[..half]);
            // (a, b) to (a cos - b sin, b cos + a sin); the old a is kept on the stack, a vector at
            // a time.
            let (a, a_tail) = S::as_mut_simd_f32s(a);
            let (b, b_tail) = S::as_mut_simd_f32s(b);
            let ((cos, cos_tail), (sin, sin_tail)) = (S::as_simd_f32s(cos), S::as_simd_f32s(sin));
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let sin = simd.mul_f32s(*sin, sign);
                let old = *a;
                *a = simd.sub_f32s(simd.mul_f32s(old, *cos), simd.mul_f32s(*b, sin));
                *b = simd.add_f32s(simd.mul_f32s(*b, *cos), simd.mul_f32s(old, sin));
            }
            for (((a, b), cos), sin) in a_tail.iter_mut().zip(b_tail).zip(cos_tail).zip(sin_tail) {
                let (old, sin) = (*a, sin * self.sign);
                *a = old * cos - *b * sin;
                *b = *b * cos + old * sin;
            }
        }
    }
}

/// Heads `first_head .. first_head + n_heads` of rows `[batch_size, seq_len, width]` as
/// `[batch_size, n_heads, seq_len, head_dim]`.
pub(crate) fn split(
    rows: &Tensor<3>,
    first_head: usize,
    n_heads: usize,
    head_dim: usize,
    rotation: Option<&Rotation>,
) -> Tensor<4> {
    let [batch_size, seq_len, width] = rows.dims();
    let rows = read(rows.clone());
    let angles = rotation.map(Angles::new);
    let len = seq_len * head_dim;
    make([batch_size, n_heads, seq_len, head_dim], |heads| {
        for_single_rows(heads, len, len, |index, head| {
            let (row, of_row) = (index / n_heads, index % n_heads);
            let source = rows[row * seq_len * width..][..seq_len * width].chunks_exact(width);
            for (to, from) in head.chunks_exact_mut(head_dim).zip(source) {
                to.copy_from_slice(&from[(first_head + of_row) * head_dim..][..head_dim]);
            }
            if let Some(angles) = &angles {
                Arch::new().dispatch(Rotate {
                    width: head_dim,
                    angles: angles.at(row, seq_len, 0, head.len(), head_dim),
                    sign: 1.0,
                    values: head,
                });
            }
        });
    })
}

/// Rotates heads `[batch_size, n_heads, seq_len, head_dim]`, by the opposite angle when `back`.
pub(crate) fn rotate(heads: Tensor<4>, rotation: &Rotation, back: bool) -> Tensor<4> {
    let [_, n_heads, seq_len, head_dim] = heads.dims();
    let angles = Angles::new(rotation);
    let len = seq_len * head_dim;
    change(heads, |heads| {
        for_single_rows(heads, len, len, |index, head| {
            Arch::new().dispatch(Rotate {
                width: head_dim,
                angles: angles.at(index / n_heads, seq_len, 0, head.len(), head_dim),
                sign: if back { -1.0 } else { 1.0 },
                values: head,
            });
        });
    })
}

/// Heads side by side: several `[batch_size, heads, seq_len, head_dim]` to `[batch_size, seq_len,
/// all heads * head_dim]`.
///
/// The first `n_rotated` tensors are rotated back by `rotation` on the way.
pub(crate) fn merge<const N: usize>(
    parts: [Tensor<4>; N],
    rotation: Option<&Rotation>,
    n_rotated: usize,
) -> Tensor<3> {
    let [batch_size, _, seq_len, head_dim] = parts[0].dims();
    let n_heads = parts.each_ref().map(|part| part.dims()[1]);
    let width = n_heads.iter().sum::<usize>() * head_dim;
    let parts = parts.map(read);
    let angles = rotation.map(Angles::new);
    make([batch_size, seq_len, width], |rows| {
        for_single_rows(rows, width, width, |index, out| {
            let (row, slot) = (index / seq_len, index % seq_len);
            let mut out = out.chunks_exact_mut(head_dim);
            for (part, (values, n_heads)) in parts.iter().zip(n_heads).enumerate() {
                for (head, out) in out.by_ref().take(n_heads).enumerate() {
                    let from = ((row * n_heads + head) * seq_len + slot) * head_dim;
                    out.copy_from_slice(&values[from..][..head_dim]);
                    if let (Some(angles), true) = (&angles, part < n_rotated) {
                        Arch::new().dispatch(Rotate {
                            width: head_dim,
                            angles: angles.at(row, seq_len, slot, head_dim, head_dim),
                            sign: -1.0,
                            values: out,
                        });
                    }
                }
            }
        });
    })
}
