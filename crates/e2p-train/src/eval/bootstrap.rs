//! Paired bootstrap over users.
//!
//! Users are drawn with replacement, the same ones for every condition and metric, and each figure is computed again from their sums
//! (Efron and Tibshirani 1993, chapter 13; percentile interval). Examples of a user stay together, because they are not independent.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Over all users.
    pub value: f64,
    /// 2.5th percentile of the resamples.
    pub low: f64,
    /// 97.5th percentile of the resamples.
    pub high: f64,
}

/// A metric as sums for each user: its value over some users is `numerators / denominators`, perhaps with `exp` behind it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserSums {
    /// Numerator and denominator of each user.
    pub(crate) sums: Vec<(f64, f64)>,
    /// The value is `exp` of the ratio.
    pub(crate) is_exp: bool,
}

impl UserSums {
    fn value(&self, users: impl Iterator<Item = usize>) -> f64 {
        let (numerator, denominator) = users.fold((0.0, 0.0), |(numerator, denominator), user| {
            let (a, b) = self.sums[user];
            (numerator + a, denominator + b)
        });
        let ratio = if denominator > 0.0 {
            numerator / denominator
        } else {
            0.0
        };
        if self.is_exp { ratio.exp() } else { ratio }
    }

    fn whole(&self) -> f64 {
        self.value(0..self.sums.len())
    }

    /// The value of each resample; the same seed and number of users give the same resamples.
    fn resampled(&self, resamples: usize, seed: u64) -> Vec<f64> {
        let n = self.sums.len();
        (0..resamples)
            .map(|resample| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(resample as u64);
                self.value((0..n).map(|_| rng.random_range(0..n)))
            })
            .collect()
    }

    /// The figure with its interval.
    pub(crate) fn estimate(&self, resamples: usize, seed: u64) -> Estimate {
        interval(self.whole(), self.resampled(resamples, seed))
    }

    /// `self - other` over the same users, with its interval.
    ///
    /// # Panics
    /// If the two are not of the same users.
    pub(crate) fn difference(&self, other: &Self, resamples: usize, seed: u64) -> Estimate {
        assert_eq!(
            self.sums.len(),
            other.sums.len(),
            "paired over the same users"
        );
        let pairs = self
            .resampled(resamples, seed)
            .into_iter()
            .zip(other.resampled(resamples, seed));
        interval(
            self.whole() - other.whole(),
            pairs.map(|(a, b)| a - b).collect(),
        )
    }
}

fn interval(value: f64, mut resampled: Vec<f64>) -> Estimate {
    resampled.sort_by(f64::total_cmp);
    // Linear between the two nearest order statistics, as numpy's default.
    let percentile = |p: f64| {
        let Some(last) = resampled.len().checked_sub(1) else {
            return value;
        };
        let at = p * last as f64;
        let (below, part) = (at.floor() as usize, at.fract());
        let above = (below + 1).min(last);
        resampled[below] + part * (resampled[above] - resampled[below])
    };
    Estimate {
        value,
        low: percentile(0.025),
        high: percentile(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(values: impl IntoIterator<Item = f64>) -> UserSums {
        UserSums {
            sums: values.into_iter().map(|value| (value, 1.0)).collect(),
            is_exp: false,
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        // Standard error of the mean of 400 draws from 0..1 is 0.0144.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let uniform = sums((0..400).map(|_| rng.random::<f64>()));
        let estimate = uniform.estimate(2000, 0);
        let half = (estimate.high - estimate.low) / 2.0;
        assert!((half - 1.96 * 0.0144).abs() < 0.003, "{estimate:?}");
        assert!(estimate.low < estimate.value && estimate.value < estimate.high);
    }

    #[test]
    fn pairing_cancels_what_users_have_in_common() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let common: Vec<f64> = (0..200).map(|_| 10.0 * rng.random::<f64>()).collect();
        let better = sums(common.iter().map(|value| value + 0.1));
        let gain = better.difference(&sums(common.clone()), 1000, 0);
        assert!(
            (gain.value - 0.1).abs() < 1e-9 && gain.high - gain.low < 1e-9,
            "{gain:?}"
        );
        let own = sums(common).estimate(1000, 0);
        assert!(own.high - own.low > 0.5, "{own:?}");
    }

    #[test]
    fn ratios_weigh_users_by_their_denominators_and_the_seed_decides() {
        let ratio = UserSums {
            sums: vec![(2.0, 1.0), (3.0, 9.0)],
            is_exp: false,
        };
        assert!((ratio.whole() - 0.5).abs() < 1e-12);
        let exp = UserSums {
            is_exp: true,
            ..ratio.clone()
        };
        assert!((exp.whole() - 0.5f64.exp()).abs() < 1e-12);
        assert_eq!(ratio.estimate(100, 5), ratio.estimate(100, 5));
        assert_ne!(ratio.resampled(100, 5), ratio.resampled(100, 6));
    }

    #[test]
    fn equal_scores_are_no_gain_at_all() {
        let scores = sums((0..50).map(f64::from));
        let gain = scores.difference(&scores, 1000, 3);
        assert_eq!((gain.value, gain.low, gain.high), (0.0, 0.0, 0.0));
    }
}
