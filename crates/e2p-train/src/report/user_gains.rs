//! Who is helped and who is hurt: the distribution of gains over users.

use serde::{Deserialize, Serialize};

/// Bins of the histogram.
const BINS: usize = 25;
/// Users that are named at each end.
const NAMED: usize = 5;

/// Gains of users, nats per target token; positive when better. Preferred variable name: `gains`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserGains {
    /// What is compared, such as `e2p_vs_shuffled`.
    pub comparison: String,
    /// Users with a gain above zero.
    pub helped: usize,
    /// Users with a gain below zero.
    pub hurt: usize,
    /// Users with exactly the same score.
    pub unchanged: usize,
    /// The 5th, 25th, 50th, 75th and 95th percentile.
    pub percentiles: [f64; 5],
    /// The histogram reaches from `-reach` to `reach`.
    pub reach: f64,
    /// Users in each of its bins of equal width; zero is in the middle of the middle one.
    pub histogram: Vec<usize>,
    /// The users who gain most, first the one who gains most.
    pub most_helped: Vec<(String, f64)>,
    /// The users who lose most, first the one who loses most; nobody who does not lose.
    pub most_hurt: Vec<(String, f64)>,
}

impl UserGains {
    /// From (user, gain); `None` without any user.
    pub(crate) fn new(comparison: &str, mut gains: Vec<(String, f64)>) -> Option<Self> {
        gains.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        let last = gains.len().checked_sub(1)?;
        let percentile = |p: f64| {
            let at = p * last as f64;
            let (below, part) = (at.floor() as usize, at.fract());
            let above = (below + 1).min(last);
            gains[below].1 + part * (gains[above].1 - gains[below].1)
        };
        let reach = gains[0].1.abs().max(gains[last].1.abs());
        let mut histogram = vec![0; BINS];
        for (_, gain) in &gains {
            let share = if reach > 0.0 {
                (gain + reach) / (2.0 * reach)
            } else {
                0.5
            };
            histogram[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let helped = gains.iter().filter(|(_, gain)| *gain > 0.0);
        let hurt = gains.iter().filter(|(_, gain)| *gain < 0.0);
        let (n_helped, n_hurt) = (helped.clone().count(), hurt.clone().count());
        Some(Self {
            comparison: comparison.to_owned(),
            helped: n_helped,
            hurt: n_hurt,
            unchanged: gains.len() - n_helped - n_hurt,
            percentiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(percentile),
            reach,
            histogram,
            most_helped: helped.rev().take(NAMED).cloned().collect(),
            most_hurt: hurt.take(NAMED).cloned().collect(),
        })
    }

    /// Where a bin begins.
    pub(crate) fn edge(&self, bin: usize) -> f64 {
        -self.reach + 2.0 * self.reach * bin as f64 / self.histogram.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_counted_once_and_zero_is_in_the_middle() {
        let gains = [("a", -1.0), ("b", 1.0), ("c", 0.0), ("d", 0.5), ("e", 0.0)];
        let gains = gains.map(|(user, gain)| (user.to_owned(), gain)).to_vec();
        let gains = UserGains::new("x", gains).unwrap();
        assert_eq!((gains.helped, gains.hurt, gains.unchanged), (2, 1, 2));
        assert_eq!(gains.histogram.iter().sum::<usize>(), 5);
        assert_eq!(
            (
                gains.histogram[0],
                gains.histogram[BINS / 2],
                gains.histogram[BINS - 1]
            ),
            (1, 2, 1)
        );
        assert_eq!(gains.percentiles[2], 0.0);
        assert_eq!(
            gains.most_helped,
            [("b".to_owned(), 1.0), ("d".to_owned(), 0.5)]
        );
        assert_eq!(gains.most_hurt, [("a".to_owned(), -1.0)]);
        assert!(UserGains::new("x", Vec::new()).is_none());
    }
}
