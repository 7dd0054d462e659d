//! The normaliser of a row of logits, without writing the row again.
//!
//! Every node of the tree needs one over the whole vocabulary, which with libm's `exp` costs as
//! much as the layers of a small backbone. Lanes without branches let the compiler use wide
//! registers.

/// Values that go on side by side.
const LANES: usize = 16;

/// `ln(sum(exp(x)))`; within 1e-5 of the exact value.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (largest, logit) in largest.iter_mut().zip(chunk) {
            *largest = if *logit > *largest { *logit } else { *largest };
        }
    }
    let largest = largest
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0f32; LANES];
    for chunk in chunks {
        for (sum, logit) in sums.iter_mut().zip(chunk) {
            *sum += exp(*logit - largest);
        }
    }
    let sums = sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    let rest = rest.iter().map(|logit| f64::from(exp(*logit - largest)));
    f64::from(largest) + (sums + rest.sum::<f64>()).ln()
}

/// `exp(x)` for `x` at most 0: a power of two from the bits, times the series of `2^f` for `f`
/// within a half of 0.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let t = (x * std::f32::consts::LOG2_E).max(-126.0);
    let rounded = t + ROUND;
    let whole = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let f = t - (rounded - ROUND);
    // ln(2)^n / n!
    let series = 1.0
        + f * (std::f32::consts::LN_2
            + f * (0.240_226_5
                + f * (0.055_504_11
                    + f * (0.009_618_129 + f * (0.001_333_356 + f * 0.000_154_035_3)))));
    series * f32::from_bits(whole.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_in_double_precision() {
        for (n, scale) in [
            (1, 3.0),
            (15, 1.0),
            (16, 10.0),
            (1000, 0.1),
            (14_019, 4.0),
            (33, 300.0),
        ] {
            let logits: Vec<f32> = (0..n)
                .map(|at| ((at * at) as f32 * 0.37).sin() * scale)
                .collect();
            let exact: f64 = logits
                .iter()
                .map(|logit| f64::from(*logit).exp())
                .sum::<f64>()
                .ln();
            let found = log_sum_exp(&logits);
            assert!(
                (found - exact).abs() < 1e-5,
                "{n}, {scale}: {found}, expected {exact}"
            );
        }
    }
}
