//! Figures as parts by user, so that each can be computed again for any draw of users.
//!
//! A mean is a sum of fractions, but BLEU, macro-F1 and RMSE are not means over examples: what adds
//! up over users is their statistics, and the figure follows from the sum.

use std::collections::HashMap;

use crate::metrics::{self, BleuStatistics, LabelCounts};

/// A figure of one condition. Preferred variable name: `figure`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    /// Numerators over denominators, with something behind it.
    Ratio {
        /// Numerator and denominator of each user.
        sums: Vec<(f64, f64)>,
        link: Link,
    },
    /// Corpus BLEU.
    Bleu(Vec<BleuStatistics>),
    /// Macro-F1 over `n_labels` labels; the counts of each user by label.
    MacroF1 {
        counts: Vec<Vec<(usize, LabelCounts)>>,
        n_labels: usize,
    },
    /// Share of different ones among numbered n-grams; how often each user's answers have each.
    Distinct(Vec<Vec<(usize, u32)>>),
}

/// What stands behind a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Identity,
    Exp,
    Sqrt,
}

impl Figure {
    /// A ratio from (user, numerator, denominator) of each example.
    pub(crate) fn ratio(
        n_users: usize,
        link: Link,
        entries: impl IntoIterator<Item = (usize, f64, f64)>,
    ) -> Self {
        let mut sums = vec![(0.0, 0.0); n_users];
        for (user, numerator, denominator) in entries {
            sums[user].0 += numerator;
            sums[user].1 += denominator;
        }
        Self::Ratio { sums, link }
    }

    /// Corpus BLEU from (user, answer, reference).
    pub(crate) fn bleu<'a>(
        n_users: usize,
        entries: impl IntoIterator<Item = (usize, &'a str, &'a str)>,
    ) -> Self {
        let mut by_user = vec![BleuStatistics::default(); n_users];
        for (user, answer, reference) in entries {
            by_user[user] += BleuStatistics::of(answer, reference);
        }
        Self::Bleu(by_user)
    }

    /// Macro-F1 from (user, predicted, true); a prediction outside the labels is `None`.
    pub(crate) fn macro_f1(
        n_users: usize,
        n_labels: usize,
        entries: impl IntoIterator<Item = (usize, Option<usize>, usize)>,
    ) -> Self {
        let mut by_user = vec![HashMap::<usize, LabelCounts>::new(); n_users];
        for (user, predicted, truth) in entries {
            let counts = &mut by_user[user];
            if predicted == Some(truth) {
                counts.entry(truth).or_default().hits += 1;
            } else {
                counts.entry(truth).or_default().missed += 1;
                if let Some(predicted) = predicted {
                    counts.entry(predicted).or_default().wrong += 1;
                }
            }
        }
        Self::MacroF1 {
            counts: by_user
                .into_iter()
                .map(|counts| counts.into_iter().collect())
                .collect(),
            n_labels,
        }
    }

    /// Distinct-n from (user, answer).
    pub(crate) fn distinct<'a>(
        n_users: usize,
        n: usize,
        entries: impl IntoIterator<Item = (usize, &'a str)>,
    ) -> Self {
        let mut numbers = HashMap::new();
        let mut by_user = vec![HashMap::<usize, u32>::new(); n_users];
        for (user, answer) in entries {
            for gram in metrics::ngrams(answer, n) {
                let next = numbers.len();
                let number = *numbers.entry(gram).or_insert(next);
                *by_user[user].entry(number).or_default() += 1;
            }
        }
        Self::Distinct(
            by_user
                .into_iter()
                .map(|counts| counts.into_iter().collect())
                .collect(),
        )
    }

    /// The same figure of the given users alone.
    pub(crate) fn of_users(&self, users: &[usize]) -> Self {
        fn pick<T: Clone>(all: &[T], users: &[usize]) -> Vec<T> {
            users.iter().map(|user| all[*user].clone()).collect()
        }
        match self {
            Self::Ratio { sums, link } => Self::Ratio {
                sums: pick(sums, users),
                link: *link,
            },
            Self::Bleu(statistics) => Self::Bleu(pick(statistics, users)),
            Self::MacroF1 { counts, n_labels } => Self::MacroF1 {
                counts: pick(counts, users),
                n_labels: *n_labels,
            },
            Self::Distinct(grams) => Self::Distinct(pick(grams, users)),
        }
    }

    /// Users that it is made of.
    pub(crate) fn n_users(&self) -> usize {
        match self {
            Self::Ratio { sums, .. } => sums.len(),
            Self::Bleu(statistics) => statistics.len(),
            Self::MacroF1 { counts, .. } => counts.len(),
            Self::Distinct(grams) => grams.len(),
        }
    }

    /// Over all users.
    pub(crate) fn whole(&self) -> f64 {
        self.value(&vec![1; self.n_users()])
    }

    /// With each user counted `times[user]` times.
    pub(crate) fn value(&self, times: &[u32]) -> f64 {
        match self {
            Self::Ratio { sums, link } => {
                let (numerator, denominator) = sums.iter().zip(times).fold(
                    (0.0, 0.0),
                    |(numerator, denominator), ((a, b), times)| {
                        let times = f64::from(*times);
                        (numerator + times * a, denominator + times * b)
                    },
                );
                let ratio = if denominator > 0.0 {
                    numerator / denominator
                } else {
                    0.0
                };
                match link {
                    Link::Identity => ratio,
                    Link::Exp => ratio.exp(),
                    Link::Sqrt => ratio.sqrt(),
                }
            }
            Self::Bleu(statistics) => {
                let mut sum = BleuStatistics::default();
                for (statistics, times) in statistics.iter().zip(times) {
                    sum += *statistics * u64::from(*times);
                }
                sum.score()
            }
            Self::MacroF1 { counts, n_labels } => {
                let mut labels = vec![LabelCounts::default(); *n_labels];
                for (counts, times) in counts.iter().zip(times) {
                    for (label, counts) in counts {
                        labels[*label] += *counts * u64::from(*times);
                    }
                }
                metrics::macro_f1(&labels)
            }
            Self::Distinct(grams) => {
                let (seen, total) = count(grams, times);
                seen.len() as f64 / total.max(1) as f64
            }
        }
    }

    /// The figure without each user in turn, where draws with replacement would mislead: a user
    /// drawn twice repeats all their n-grams, so every draw has a lower distinct-n than the answers
    /// themselves.
    pub(crate) fn leave_one_out(&self) -> Option<Vec<f64>> {
        let Self::Distinct(grams) = self else {
            return None;
        };
        let (seen, total) = count(grams, &vec![1; grams.len()]);
        let without = |own: &Vec<(usize, u32)>| {
            let lost = own.iter().filter(|(gram, _)| seen[gram] == 1).count();
            let n: u64 = own.iter().map(|(_, times)| u64::from(*times)).sum();
            (seen.len() - lost) as f64 / (total - n).max(1) as f64
        };
        Some(grams.iter().map(without).collect())
    }
}

/// In how many users' answers each n-gram is, and the number of n-grams.
fn count(grams: &[Vec<(usize, u32)>], times: &[u32]) -> (HashMap<usize, u32>, u64) {
    let mut seen = HashMap::new();
    let mut total = 0;
    for (grams, times) in grams.iter().zip(times).filter(|(_, times)| **times > 0) {
        for (gram, n) in grams {
            *seen.entry(*gram).or_insert(0) += 1;
            total += u64::from(*n) * u64::from(*times);
        }
    }
    (seen, total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWERS: [&str; 4] = [
        "i like tea",
        "tea is what i like",
        "no",
        "two cats, two dogs",
    ];
    const TARGETS: [&str; 4] = ["i like tea too", "tea", "no way", "two dogs and two cats"];

    /// Every kind of figure over the examples `order`, whose users are `users`.
    fn figures(order: &[usize], users: &[usize]) -> Vec<Figure> {
        let of = |index: &usize| (users[*index], ANSWERS[*index], TARGETS[*index]);
        let all = || order.iter().map(of);
        vec![
            Figure::ratio(
                3,
                Link::Sqrt,
                all().map(|(user, answer, _)| (user, answer.len() as f64, 2.0)),
            ),
            Figure::bleu(3, all()),
            Figure::macro_f1(
                3,
                4,
                order
                    .iter()
                    .map(|index| (users[*index], (*index != 2).then_some(index / 2), *index)),
            ),
            Figure::distinct(3, 1, all().map(|(user, answer, _)| (user, answer))),
        ]
    }

    proptest! {
        #[test]
        fn no_figure_depends_on_the_order_of_examples_or_on_whose_they_are(
            order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
            users in prop::collection::vec(0usize..3, 4),
        ) {
            let plain = figures(&[0, 1, 2, 3], &[0, 0, 0, 0]);
            for (shuffled, plain) in figures(&order, &users).iter().zip(&plain) {
                prop_assert!((shuffled.whole() - plain.whole()).abs() < 1e-12);
            }
        }

        #[test]
        fn a_user_who_counts_twice_is_two_users(twice in 0usize..3) {
            for figure in figures(&[0, 1, 2, 3], &[0, 1, 2, 2]) {
                let mut times = [1, 1, 1];
                times[twice] = 2;
                let copied = figure.of_users(&[0, 1, 2, twice]);
                prop_assert!((figure.value(&times) - copied.whole()).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn whole_figures_are_those_of_the_metrics() {
        let figures = figures(&[0, 1, 2, 3], &[0, 1, 2, 2]);
        assert_eq!(figures[3].whole(), metrics::distinct(ANSWERS, 1));
        let mut bleu = BleuStatistics::default();
        for (answer, target) in ANSWERS.into_iter().zip(TARGETS) {
            bleu += BleuStatistics::of(answer, target);
        }
        assert_eq!(figures[1].whole(), bleu.score());
    }

    #[test]
    fn leaving_a_user_out_is_the_figure_of_the_others() {
        let figure = Figure::distinct(3, 1, [(0, "a cat b"), (1, "cat dog"), (2, "dog dog")]);
        let without = figure.leave_one_out().unwrap();
        for (user, without) in without.into_iter().enumerate() {
            let others: Vec<usize> = (0..3).filter(|other| *other != user).collect();
            assert_eq!(without, figure.of_users(&others).whole());
        }
    }
}
