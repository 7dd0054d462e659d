//! ROUGE in the two conventions that papers report; they differ by points, so a report names which
//! one it is.

use std::collections::{HashMap, HashSet};

/// F-measures, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    /// Unigrams.
    pub rouge_1: f64,
    /// Bigrams.
    pub rouge_2: f64,
    /// Longest common subsequence.
    pub rouge_l: f64,
}

/// Google's `rouge_score` without stemming, which LaMP reports: words are runs of `[a-z0-9]` after
/// lower-casing, n-grams count as multisets.
pub fn rouge_google(answer: &str, reference: &str) -> Rouge {
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower
            .split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (answer, reference) = (words(answer), words(reference));
    let ngrams = |n: usize| {
        let count = |words: &[String]| {
            let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
            for gram in words.windows(n) {
                *counts.entry(gram.to_vec()).or_default() += 1;
            }
            counts
        };
        let (a, b) = (count(&answer), count(&reference));
        let common: usize = a
            .iter()
            .map(|(gram, count)| count.min(b.get(gram).unwrap_or(&0)))
            .sum();
        f_measure(common, a.values().sum(), b.values().sum())
    };
    let common = lcs(&answer, &reference).len();
    Rouge {
        rouge_1: ngrams(1),
        rouge_2: ngrams(2),
        rouge_l: f_measure(common, answer.len(), reference.len()),
    }
}

fn f_measure(common: usize, n_answer: usize, n_reference: usize) -> f64 {
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (
        common as f64 / n_answer as f64,
        common as f64 / n_reference as f64,
    );
    2.0 * precision * recall / (precision + recall)
}

/// The package `rouge` 1.0.1 on lower-cased text, which the PENS script reports: sentences end at
/// full stops, words at spaces, n-grams count as sets, and ROUGE-L is the summary-level union of
/// longest common subsequences.
pub fn rouge_package(answer: &str, reference: &str) -> Rouge {
    let sentences = |text: &str| -> Vec<Vec<String>> {
        let lower = text.to_lowercase();
        lower
            .split('.')
            .filter(|sentence| !sentence.is_empty())
            .map(|sentence| {
                let words: Vec<String> = sentence.split_whitespace().map(str::to_owned).collect();
                // A sentence of spaces is one empty word to the package.
                if words.is_empty() {
                    vec![String::new()]
                } else {
                    words
                }
            })
            .collect()
    };
    let (answer, reference) = (sentences(answer), sentences(reference));
    let ngrams = |n: usize| {
        let set = |sentences: &[Vec<String>]| -> HashSet<Vec<String>> {
            sentences
                .concat()
                .windows(n)
                .map(<[String]>::to_vec)
                .collect()
        };
        let (a, b) = (set(&answer), set(&reference));
        smoothed_f(a.intersection(&b).count(), a.len(), b.len())
    };
    let different =
        |sentences: &[Vec<String>]| sentences.iter().flatten().collect::<HashSet<_>>().len();
    let mut union = HashSet::new();
    for reference in &reference {
        for answer in &answer {
            union.extend(lcs(reference, answer));
        }
    }
    let rouge_l = smoothed_f(union.len(), different(&answer), different(&reference));
    Rouge {
        rouge_1: ngrams(1),
        rouge_2: ngrams(2),
        rouge_l,
    }
}

fn smoothed_f(common: usize, n_answer: usize, n_reference: usize) -> f64 {
    let share = |n: usize| {
        if n == 0 {
            0.0
        } else {
            common as f64 / n as f64
        }
    };
    let (precision, recall) = (share(n_answer), share(n_reference));
    2.0 * ((precision * recall) / (precision + recall + 1e-8))
}

/// A longest common subsequence; among equally long ones that of the usual backtracking from the
/// end, which goes up in `a` on ties.
fn lcs(a: &[String], b: &[String]) -> Vec<String> {
    let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i][j] = if a[i - 1] == b[j - 1] {
                table[i - 1][j - 1] + 1
            } else {
                table[i - 1][j].max(table[i][j - 1])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut found = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            found.push(a[i - 1].clone());
            (i, j) = (i - 1, j - 1);
        } else if table[i - 1][j] > table[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found.reverse();
    found
}
