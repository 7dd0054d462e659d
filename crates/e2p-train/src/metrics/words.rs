//! Word overlap and variety, in ConvAI2's normalisation.

use std::collections::{HashMap, HashSet};

/// Lower-cases, turns punctuation into space, drops articles, collapses space: ParlAI's
/// `normalize_answer` (`parlai/core/metrics.py`).
pub fn normalize_answer(text: &str) -> String {
    const PUNCTUATION: &str = "!\"#$%&()*+,-./:;<=>?@[]\\^`{|}~_'";
    let spaced: String = text
        .to_lowercase()
        .chars()
        .map(|c| if PUNCTUATION.contains(c) { ' ' } else { c })
        .collect();
    let words = spaced
        .split_whitespace()
        .filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

/// F1 of the multisets of normalised words: ParlAI's `F1Metric` with one label, which ConvAI2
/// reports. 0 to 1.
pub fn f1(answer: &str, label: &str) -> f64 {
    let (answer, label) = (normalize_answer(answer), normalize_answer(label));
    let (n_answer, n_label) = (
        answer.split(' ').filter(|word| !word.is_empty()).count(),
        label.split(' ').filter(|word| !word.is_empty()).count(),
    );
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in label.split_whitespace() {
        *left.entry(word).or_default() += 1;
    }
    let common = answer
        .split_whitespace()
        .filter(|word| match left.get_mut(word) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        })
        .count();
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (
        common as f64 / n_answer as f64,
        common as f64 / n_label as f64,
    );
    2.0 * precision * recall / (precision + recall)
}

/// The n-grams of a normalised answer, each as one string.
pub fn ngrams(answer: &str, n: usize) -> Vec<String> {
    let normalised = normalize_answer(answer);
    let words: Vec<&str> = normalised.split_whitespace().collect();
    words.windows(n).map(|gram| gram.join(" ")).collect()
}

/// Share of different ones among the n-grams of all normalised answers (distinct-n of Li et al.
/// 2016; ParlAI's `InterDistinctMetric`). 0 to 1; 0 without any n-gram.
pub fn distinct<'a>(answers: impl IntoIterator<Item = &'a str>, n: usize) -> f64 {
    let mut seen = HashSet::new();
    let mut total = 0;
    for gram in answers.into_iter().flat_map(|answer| ngrams(answer, n)) {
        seen.insert(gram);
        total += 1;
    }
    seen.len() as f64 / f64::from(total.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distinct_counts_over_the_whole_corpus() {
        assert_eq!(distinct(["I like it", "i like THE it!"], 1), 0.5);
        assert_eq!(distinct(["one two three", "one two four"], 2), 0.75);
        assert_eq!(distinct([], 2), 0.0);
    }

    proptest! {
        #[test]
        fn f1_does_not_see_case_order_space_or_articles(mut words in prop::collection::vec("[a-z]{2,6}", 1..8), label in "[a-z ]{0,30}") {
            let plain = words.join(" ");
            let before = f1(&plain, &label);
            words.reverse();
            let dressed = format!("The  {}!", words.join(" , ").to_uppercase());
            prop_assert!((f1(&dressed, &label) - before).abs() < 1e-12);
            prop_assert!((f1(&plain, &label) - f1(&label, &plain)).abs() < 1e-12);
        }
    }
}
