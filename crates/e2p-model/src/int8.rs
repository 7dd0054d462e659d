//! 8-bit storage of a frozen matrix.

use rayon::prelude::*;

/// A matrix `[d_out, d_in]` in 8 bits: a value is `scale (code - 128)`, with a scale for each row.
/// Symmetric, so that 0 stays 0, and nearest, so that a value is off by half a scale at most.
#[derive(Debug)]
pub(crate) struct Int8 {
    pub(crate) codes: Vec<u8>,
    /// `[d_out]`
    pub(crate) scales: Vec<f32>,
    pub(crate) d_in: usize,
}

impl Int8 {
    /// The code of 0.
    pub(crate) const ZERO: u8 = 128;
    /// The largest distance of a code from [`Self::ZERO`].
    const LARGEST: f32 = 127.0;

    pub(crate) fn new(values: &[f32], d_in: usize) -> Self {
        let mut codes = vec![Self::ZERO; values.len()];
        let mut scales = vec![0.0; values.len() / d_in];
        let rounded = codes.par_chunks_exact_mut(d_in).zip(&mut scales);
        let rows = values.par_chunks_exact(d_in).zip(rounded);
        rows.for_each(|(row, (codes, scale))| {
            let largest = row
                .iter()
                .fold(0f32, |largest, value| largest.max(value.abs()));
            *scale = largest / Self::LARGEST;
            let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
            for (code, value) in codes.iter_mut().zip(row) {
                let step = (value * inverse)
                    .round()
                    .clamp(-Self::LARGEST, Self::LARGEST);
                *code = (step as i16 + i16::from(Self::ZERO)) as u8;
            }
        });
        Self {
            codes,
            scales,
            d_in,
        }
    }

    /// The values of one row.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = f32> {
        let scale = self.scales[row];
        self.codes[row * self.d_in..][..self.d_in]
            .iter()
            .map(move |code| scale * (f32::from(*code) - f32::from(Self::ZERO)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_off_by_half_a_step_at_most_and_zero_stays_zero() {
        let values: Vec<f32> = (0..60)
            .map(|i| ((i * 37 % 61) as f32 - 30.0) * 0.013)
            .collect();
        let mut values = [values, vec![0.0; 20]].concat();
        values[3] = 0.0;
        let matrix = Int8::new(&values, 20);
        for (row, expected) in values.chunks(20).enumerate() {
            let step = expected.iter().fold(0f32, |a, b| a.max(b.abs())) / 127.0;
            for (found, expected) in matrix.row(row).zip(expected) {
                assert!(
                    (found - expected).abs() <= 0.5001 * step,
                    "{found}, {expected}"
                );
                assert!(*expected != 0.0 || found == 0.0);
            }
        }
    }
}
