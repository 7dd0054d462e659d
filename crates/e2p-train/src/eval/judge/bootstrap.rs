//! Paired bootstrap over users.
//!
//! Users are drawn with replacement, the same ones for every condition and metric, and each figure
//! is computed again from their parts (Efron and Tibshirani 1993, chapter 13; percentile interval).
//! Examples of a user stay together, because they are not independent. Where a draw with
//! replacement cannot stand for the users (distinct-n), the interval is that of the jackknife,
//! leaving out one user at a time (chapter 11; normal approximation).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::eval::judge::figure::Figure;
use crate::report::Estimate;

/// A figure and what it is for other draws of users. Preferred variable name: `sampled`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sampled {
    value: f64,
    replicates: Vec<f64>,
    is_jackknife: bool,
}

/// Resamples figures; those of equally many users see the same draws, which the seed decides.
pub(crate) fn sample(figures: &[&Figure], resamples: usize, seed: u64) -> Vec<Sampled> {
    let mut out: Vec<Sampled> = figures
        .iter()
        .map(|figure| {
            let left_out = figure.leave_one_out();
            Sampled {
                value: figure.whole(),
                is_jackknife: left_out.is_some(),
                replicates: left_out.unwrap_or_default(),
            }
        })
        .collect();
    let mut sizes: Vec<usize> = figures.iter().map(|figure| figure.n_users()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for n in sizes {
        for resample in 0..resamples {
            let times = draw(n, resample, seed);
            for (sampled, figure) in out.iter_mut().zip(figures) {
                if figure.n_users() == n && !sampled.is_jackknife {
                    sampled.replicates.push(figure.value(&times));
                }
            }
        }
    }
    out
}

/// How often each of `n` users is drawn.
fn draw(n: usize, resample: usize, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(resample as u64);
    let mut times = vec![0; n];
    for _ in 0..n {
        times[rng.random_range(0..n)] += 1;
    }
    times
}

impl Sampled {
    /// The figure with its interval.
    pub(crate) fn estimate(&self) -> Estimate {
        let mut estimate = self.interval();
        if self.is_jackknife {
            // A share; the normal approximation knows no bounds.
            estimate.low = estimate.low.max(0.0);
            estimate.high = estimate.high.min(1.0);
        }
        estimate
    }

    fn interval(&self) -> Estimate {
        if self.is_jackknife {
            jackknife(self.value, &self.replicates)
        } else {
            percentiles(self.value, self.replicates.clone())
        }
    }

    /// `self - other` over the same users, with its interval.
    ///
    /// # Panics
    /// If the two are not of equally many users and resamples.
    pub(crate) fn minus(&self, other: &Self) -> Estimate {
        assert_eq!(
            (self.replicates.len(), self.is_jackknife),
            (other.replicates.len(), other.is_jackknife),
            "paired over the same users"
        );
        let pairs = self.replicates.iter().zip(&other.replicates);
        Self {
            value: self.value - other.value,
            replicates: pairs.map(|(a, b)| a - b).collect(),
            is_jackknife: self.is_jackknife,
        }
        .interval()
    }
}

fn percentiles(value: f64, mut resampled: Vec<f64>) -> Estimate {
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

fn jackknife(value: f64, left_out: &[f64]) -> Estimate {
    let n = left_out.len() as f64;
    let mean = left_out.iter().sum::<f64>() / n.max(1.0);
    let squares: f64 = left_out.iter().map(|left| (left - mean).powi(2)).sum();
    let half = 1.96 * ((n - 1.0).max(0.0) / n.max(1.0) * squares).sqrt();
    Estimate {
        value,
        low: value - half,
        high: value + half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::judge::figure::Link;

    fn sums(values: impl IntoIterator<Item = f64>) -> Figure {
        Figure::Ratio {
            sums: values.into_iter().map(|value| (value, 1.0)).collect(),
            link: Link::Identity,
        }
    }

    fn one(figure: &Figure, resamples: usize, seed: u64) -> Sampled {
        sample(&[figure], resamples, seed).remove(0)
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        // Standard error of the mean of 400 draws from 0..1 is 0.0144.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let uniform = sums((0..400).map(|_| rng.random::<f64>()));
        let estimate = one(&uniform, 2000, 0).estimate();
        let half = (estimate.high - estimate.low) / 2.0;
        assert!((half - 1.96 * 0.0144).abs() < 0.003, "{estimate:?}");
        assert!(estimate.low < estimate.value && estimate.value < estimate.high);
    }

    #[test]
    fn the_jackknife_of_a_mean_is_that_of_the_normal_approximation_too() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..400).map(|_| rng.random::<f64>()).collect();
        let total: f64 = draws.iter().sum();
        let left_out: Vec<f64> = draws.iter().map(|draw| (total - draw) / 399.0).collect();
        let estimate = jackknife(total / 400.0, &left_out);
        let half = (estimate.high - estimate.low) / 2.0;
        assert!((half - 1.96 * 0.0144).abs() < 0.002, "{estimate:?}");
    }

    #[test]
    fn the_interval_of_distinct_holds_its_value() {
        let words: Vec<String> = (0..60)
            .map(|n| format!("w{} w{} w{}", n % 7, n % 11, n))
            .collect();
        let answers = words
            .iter()
            .enumerate()
            .map(|(user, words)| (user, words.as_str()));
        let estimate = one(&Figure::distinct(60, 1, answers), 100, 0).estimate();
        assert!(
            estimate.low < estimate.value && estimate.value < estimate.high,
            "{estimate:?}"
        );
    }

    #[test]
    fn pairing_cancels_what_users_have_in_common() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let common: Vec<f64> = (0..200).map(|_| 10.0 * rng.random::<f64>()).collect();
        let better = sums(common.iter().map(|value| value + 0.1));
        let common = sums(common);
        let sampled = sample(&[&better, &common], 1000, 0);
        let gain = sampled[0].minus(&sampled[1]);
        assert!(
            (gain.value - 0.1).abs() < 1e-9 && gain.high - gain.low < 1e-9,
            "{gain:?}"
        );
        let own = sampled[1].estimate();
        assert!(own.high - own.low > 0.5, "{own:?}");
    }

    #[test]
    fn ratios_weigh_users_by_their_denominators_and_the_seed_decides() {
        let ratio = |link| Figure::Ratio {
            sums: vec![(2.0, 1.0), (3.0, 9.0)],
            link,
        };
        let plain = ratio(Link::Identity);
        assert!((plain.whole() - 0.5).abs() < 1e-12);
        assert!((ratio(Link::Exp).whole() - 0.5f64.exp()).abs() < 1e-12);
        assert!((ratio(Link::Sqrt).whole() - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(one(&plain, 100, 5), one(&plain, 100, 5));
        assert_ne!(one(&plain, 100, 5), one(&plain, 100, 6));
    }

    #[test]
    fn equal_scores_are_no_gain_at_all() {
        let scores = sums((0..50).map(f64::from));
        let sampled = sample(&[&scores, &scores], 1000, 3);
        let gain = sampled[0].minus(&sampled[1]);
        assert_eq!((gain.value, gain.low, gain.high), (0.0, 0.0, 0.0));
    }
}
