//! Transcendental functions over vectors.

use pulp::Simd;

/// `e^x`, relative error below 2e-7; 0 below -87.3 and 2^127 times something small above 88.
///
/// Splits `x = n ln 2 + r`, `|r| <= ln 2 / 2`: a polynomial in `r` (Taylor to degree 6, its last
/// coefficients fitted to the interval; they are those of Cephes' `expf`), and `2^n` by shifting
/// `n` into the exponent.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // ln 2 in two parts, the first with trailing zeros so that its multiples are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ];
    let below = simd.less_than_f32s(x, simd.splat_f32s(-87.3));
    let x = simd.min_f32s(x, simd.splat_f32s(88.0));
    let x = simd.max_f32s(x, simd.splat_f32s(-87.3));
    let rounded = simd.mul_add_e_f32s(
        x,
        simd.splat_f32s(std::f32::consts::LOG2_E),
        simd.splat_f32s(ROUND),
    );
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN2_LOW), r);
    let mut p = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(*coefficient));
    }
    let p = simd.add_f32s(
        simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r),
        simd.splat_f32s(1.0),
    );
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let power = simd.add_u32s(power, simd.splat_u32s(0x3f80_0000));
    let y = simd.mul_f32s(p, simd.transmute_f32s_u32s(power));
    simd.select_f32s(below, simd.splat_f32s(0.0), y)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// The standard normal distribution function; relative error below 3e-7 in both tails.
///
/// `erfc(z) = t exp(-z^2 + P(t))`, `t = 2 / (2 + z)`, for `z >= 0` (Numerical Recipes, 2nd ed.,
/// section 6.2, `erfcc`).
#[inline(always)]
pub(crate) fn normal_cdf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const P: [f32; 10] = [
        0.170_872_77,
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let one = simd.splat_f32s(1.0);
    let z = simd.mul_f32s(
        simd.abs_f32s(x),
        simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2),
    );
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(z, simd.splat_f32s(0.5), one));
    let mut p = simd.splat_f32s(P[0]);
    for coefficient in &P[1..] {
        p = simd.mul_add_e_f32s(p, t, simd.splat_f32s(*coefficient));
    }
    let exponent = simd.sub_f32s(p, simd.mul_f32s(z, z));
    let upper = simd.mul_f32s(simd.mul_f32s(t, simd.splat_f32s(0.5)), exp(simd, exponent));
    let is_positive = simd.greater_than_f32s(x, simd.splat_f32s(0.0));
    simd.select_f32s(is_positive, simd.sub_f32s(one, upper), upper)
}
