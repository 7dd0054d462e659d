//! What the sums of a product are made of: `f32` values, or pairs of bf16 values that the CPU
//! multiplies and adds two at a time.
//!
//! Either way a sum is `f32`, and a word of four bytes is what is packed, broadcast and multiplied.

use std::borrow::Cow;

use pulp::{Arch, Simd, WithSimd};

use super::stored::Stored;

/// How products are computed. Preferred variable name: `arithmetic`.
pub(crate) trait Arithmetic: Copy + Send + Sync {
    /// Terms of a sum in one word.
    const TERMS: usize;

    /// Runs vector code with the CPU's instructions.
    fn dispatch<W: WithSimd>(self, work: W) -> W::Output;

    /// `sum + a b`, for all terms in the words.
    fn mul_add<S: Simd>(self, simd: S, a: S::u32s, b: S::u32s, sum: S::f32s) -> S::f32s;

    /// Values times `scale`, one after the other, as `words`; what the last word has room for
    /// beyond them is zero.
    fn pack<T: Stored>(values: &[T], scale: f32, words: &mut [u32]);

    /// The same of up to [`Self::TERMS`] rows, a word from one value of each; rows that are not
    /// there are zero.
    fn pack_across<'a, T: Stored>(rows: impl Iterator<Item = (&'a [T], f32)>, words: &mut [u32]);

    /// Rows of `width` values as rows of words.
    fn of_rows(x: &[f32], width: usize) -> Cow<'_, [u32]>;
}

/// Everything in `f32`.
#[derive(Clone, Copy)]
pub(crate) struct InF32(Arch);

impl InF32 {
    pub(crate) fn new() -> Self {
        Self(Arch::new())
    }
}

impl Arithmetic for InF32 {
    const TERMS: usize = 1;

    #[inline(always)]
    fn dispatch<W: WithSimd>(self, work: W) -> W::Output {
        self.0.dispatch(work)
    }

    #[inline(always)]
    fn mul_add<S: Simd>(self, simd: S, a: S::u32s, b: S::u32s, sum: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(
            simd.transmute_f32s_u32s(a),
            simd.transmute_f32s_u32s(b),
            sum,
        )
    }

    #[inline(always)]
    fn pack<T: Stored>(values: &[T], scale: f32, words: &mut [u32]) {
        let out: &mut [f32] = bytemuck::cast_slice_mut(words);
        T::widen(values, &mut out[..values.len()]);
        if scale != 1.0 {
            for out in out {
                *out *= scale;
            }
        }
    }

    #[inline(always)]
    fn pack_across<'a, T: Stored>(
        mut rows: impl Iterator<Item = (&'a [T], f32)>,
        words: &mut [u32],
    ) {
        if let Some((values, scale)) = rows.next() {
            Self::pack(values, scale, words);
        }
    }

    fn of_rows(x: &[f32], _width: usize) -> Cow<'_, [u32]> {
        Cow::Borrowed(bytemuck::cast_slice(x))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use pairs::InPairs;

#[cfg(target_arch = "x86_64")]
mod pairs {
    use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps};

    use bytemuck::cast;
    use pulp::NullaryFnOnce;
    use pulp::x86::V4;
    use rayon::prelude::*;

    use super::{Arithmetic, Cow, Simd, Stored, WithSimd};

    pulp::simd_type!({
        /// The instructions of [`InPairs`]: AVX-512 with its products of bf16.
        struct Instructions {
            avx512f: target_feature!("avx512f"),
            avx512bw: target_feature!("avx512bw"),
            avx512cd: target_feature!("avx512cd"),
            avx512dq: target_feature!("avx512dq"),
            avx512vl: target_feature!("avx512vl"),
            avx512bf16: target_feature!("avx512bf16"),
        }
    });

    /// Factors rounded to bf16, two terms in a word; their products are exact and the sums `f32`.
    #[derive(Clone, Copy)]
    pub(crate) struct InPairs {
        instructions: Instructions,
        simd: V4,
    }

    impl InPairs {
        /// `None` where the CPU lacks the instructions.
        pub(crate) fn try_new() -> Option<Self> {
            Some(Self {
                instructions: Instructions::try_new()?,
                simd: V4::try_new()?,
            })
        }
    }

    struct Work<W> {
        simd: V4,
        work: W,
    }

    impl<W: WithSimd> NullaryFnOnce for Work<W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.work.with_simd(self.simd)
        }
    }

    impl Arithmetic for InPairs {
        const TERMS: usize = 2;

        #[inline(always)]
        fn dispatch<W: WithSimd>(self, work: W) -> W::Output {
            let simd = self.simd;
            self.instructions.vectorize(Work { simd, work })
        }

        /// # Panics
        /// With vectors of another width than AVX-512's, which [`Self::dispatch`] never gives.
        #[inline(always)]
        #[allow(unsafe_code)]
        fn mul_add<S: Simd>(self, _simd: S, a: S::u32s, b: S::u32s, sum: S::f32s) -> S::f32s {
            let (a, b): (__m512i, __m512i) = (cast(a), cast(b));
            let sum: __m512 = cast(sum);
            // SAFETY: `self` exists only where the CPU has the instruction; both types are 64 bytes
            // of any bits.
            let sum = unsafe {
                let pairs = |words: __m512i| std::mem::transmute::<__m512i, __m512bh>(words);
                _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
            };
            cast(sum)
        }

        #[inline(always)]
        fn pack<T: Stored>(values: &[T], scale: f32, words: &mut [u32]) {
            let halves: &mut [u16] = bytemuck::cast_slice_mut(words);
            let (halves, rest) = halves.split_at_mut(values.len());
            T::to_bf16(values, scale, halves);
            rest.fill(0);
        }

        #[inline(always)]
        fn pack_across<'a, T: Stored>(
            rows: impl Iterator<Item = (&'a [T], f32)>,
            words: &mut [u32],
        ) {
            /// Values taken at a time.
            const BLOCK: usize = 64;
            let mut halves = [[0; BLOCK]; 2];
            let mut both = [(&[][..], 0.0); 2];
            for (both, row) in both.iter_mut().zip(rows) {
                *both = row;
            }
            for (block, words) in words.chunks_mut(BLOCK).enumerate() {
                for (halves, (row, scale)) in halves.iter_mut().zip(both) {
                    if !row.is_empty() {
                        let row = &row[block * BLOCK..][..words.len()];
                        T::to_bf16(row, scale, &mut halves[..words.len()]);
                    }
                }
                let [low, high] = &halves;
                for ((word, low), high) in words.iter_mut().zip(low).zip(high) {
                    *word = u32::from(*low) | u32::from(*high) << 16;
                }
            }
        }

        fn of_rows(x: &[f32], width: usize) -> Cow<'_, [u32]> {
            let n_words = width.div_ceil(Self::TERMS);
            let mut words = vec![0; x.len() / width * n_words];
            // A task is worth some thousand values.
            let rows = (8192 / width).max(1);
            words
                .par_chunks_mut(rows * n_words)
                .zip(x.par_chunks(rows * width))
                .for_each(|(words, x)| {
                    for (words, x) in words.chunks_exact_mut(n_words).zip(x.chunks_exact(width)) {
                        Self::pack(x, 1.0, words);
                    }
                });
            Cow::Owned(words)
        }
    }
}
