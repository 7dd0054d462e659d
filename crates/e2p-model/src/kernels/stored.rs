//! Data types that frozen weights are stored in; products are computed in `f32` whatever the
//! storage.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::Simd;

use crate::int8::Int8;

/// A stored weight.
pub(crate) trait Stored: Copy + Send + Sync + 'static {
    /// Values in one vector load of a row: a vector of `f32`, or two values in each of its lanes.
    const PER_LANE: usize;
    /// Whether a part costs no more than an operation, so that it may be taken again for every use
    /// of a weight.
    const IS_CHEAP: bool;
    /// Whether the words are pairs of bf16.
    const IS_BF16: bool = false;

    /// Values to `f32`, exactly.
    fn widen(values: &[Self], out: &mut [f32]);

    /// Values times `scale` to the bits of bf16, the nearest and of two the even one.
    #[inline(always)]
    fn to_bf16(values: &[Self], scale: f32, out: &mut [u16]) {
        let mut block = [0.0; 64];
        for (values, out) in values.chunks(block.len()).zip(out.chunks_mut(block.len())) {
            let block = &mut block[..values.len()];
            Self::widen(values, block);
            for (out, value) in out.iter_mut().zip(block) {
                *out = round(*value * scale);
            }
        }
    }

    /// Part `part` (below `PER_LANE`) of one vector load of `PER_LANE * lanes` values: value
    /// `PER_LANE * lane + part` in lane `lane`. A part at a time: an array of them would go through
    /// memory.
    fn part<S: Simd>(simd: S, vector: S::u32s, part: usize) -> S::f32s;

    /// The values as words of four bytes.
    ///
    /// # Panics
    /// Where they do not fill words, or do not begin on the border of one; [`are_words`] tells.
    fn words(values: &[Self]) -> &[u32];
}

/// The bits of the nearest bf16, of two the even one. A loop over it becomes vectors, which one
/// over `bf16::from_f32` does not.
#[inline(always)]
fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if value.is_nan() { 0x7fc0 } else { rounded }
}

/// Whether every row of `d_in` values fills words of four bytes.
pub(crate) fn are_words<T: Stored>(values: &[T], d_in: usize) -> bool {
    d_in.is_multiple_of(T::PER_LANE) && values.as_ptr().cast::<u32>().is_aligned()
}

impl Stored for f32 {
    const PER_LANE: usize = 1;
    const IS_CHEAP: bool = true;

    fn widen(values: &[Self], out: &mut [f32]) {
        out.copy_from_slice(values);
    }

    #[inline(always)]
    fn part<S: Simd>(simd: S, vector: S::u32s, _part: usize) -> S::f32s {
        simd.transmute_f32s_u32s(vector)
    }

    fn words(values: &[Self]) -> &[u32] {
        bytemuck::cast_slice(values)
    }
}

impl Stored for bf16 {
    const PER_LANE: usize = 2;
    const IS_CHEAP: bool = true;
    const IS_BF16: bool = true;

    fn widen(values: &[Self], out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32::from_bits(u32::from(value.to_bits()) << 16);
        }
    }

    #[inline(always)]
    fn to_bf16(values: &[Self], scale: f32, out: &mut [u16]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = if scale == 1.0 {
                value.to_bits()
            } else {
                round(value.to_f32() * scale)
            };
        }
    }

    #[inline(always)]
    fn part<S: Simd>(simd: S, vector: S::u32s, part: usize) -> S::f32s {
        // The upper half of an f32 is a bf16.
        let bits = if part == 0 {
            simd.wrapping_dyn_shl_u32s(vector, simd.splat_u32s(16))
        } else {
            simd.and_u32s(vector, simd.splat_u32s(0xffff_0000))
        };
        simd.transmute_f32s_u32s(bits)
    }

    fn words(values: &[Self]) -> &[u32] {
        bytemuck::cast_slice(values)
    }
}

impl Stored for f16 {
    const PER_LANE: usize = 2;
    const IS_CHEAP: bool = false;

    fn widen(values: &[Self], out: &mut [f32]) {
        values.convert_to_f32_slice(out);
    }

    #[inline(always)]
    fn part<S: Simd>(simd: S, vector: S::u32s, part: usize) -> S::f32s {
        let half = if part == 0 {
            vector
        } else {
            simd.wrapping_dyn_shr_u32s(vector, simd.splat_u32s(16))
        };
        widen_f16(simd, half)
    }

    fn words(values: &[Self]) -> &[u32] {
        bytemuck::cast_slice(values)
    }
}

/// A code of [`Int8`], without its row's scale.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(crate) struct Code(u8);

impl Stored for Code {
    const PER_LANE: usize = 4;
    const IS_CHEAP: bool = false;

    #[inline(always)]
    fn widen(values: &[Self], out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32::from(value.0) - f32::from(Int8::ZERO);
        }
    }

    #[inline(always)]
    fn part<S: Simd>(simd: S, vector: S::u32s, part: usize) -> S::f32s {
        /// 2^23: in its lowest bits stand whole numbers.
        const WHOLE: f32 = 8_388_608.0;
        let byte = simd.wrapping_dyn_shr_u32s(vector, simd.splat_u32s(8 * part as u32));
        let byte = simd.and_u32s(byte, simd.splat_u32s(0xff));
        let whole = simd.or_u32s(byte, simd.splat_u32s(WHOLE.to_bits()));
        let zero = simd.splat_f32s(WHOLE + f32::from(Int8::ZERO));
        simd.sub_f32s(simd.transmute_f32s_u32s(whole), zero)
    }

    fn words(values: &[Self]) -> &[u32] {
        bytemuck::cast_slice(values)
    }
}

/// The f16 in the lower half of each lane, exactly, subnormal values too. Weights are finite, so
/// there are no infinities to keep.
#[inline(always)]
fn widen_f16<S: Simd>(simd: S, half: S::u32s) -> S::f32s {
    // Exponent and mantissa moved to their places, then the difference of the biases made up by a
    // factor of 2^112.
    let magnitude = simd.and_u32s(half, simd.splat_u32s(0x7fff));
    let magnitude = simd.wrapping_dyn_shl_u32s(magnitude, simd.splat_u32s(13));
    let scaled = simd.mul_f32s(
        simd.transmute_f32s_u32s(magnitude),
        simd.splat_f32s(f32::from_bits((127 + 112) << 23)),
    );
    let sign = simd.and_u32s(half, simd.splat_u32s(0x8000));
    let sign = simd.wrapping_dyn_shl_u32s(sign, simd.splat_u32s(16));
    simd.transmute_f32s_u32s(simd.or_u32s(simd.transmute_u32s_f32s(scaled), sign))
}
