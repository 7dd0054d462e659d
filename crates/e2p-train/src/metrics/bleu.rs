//! Corpus BLEU by sacreBLEU's definition: 13a tokens, up to four-grams, exponential smoothing, one
//! reference.

use std::collections::HashMap;
use std::ops::{AddAssign, Mul};
use std::sync::LazyLock;

use regex::Regex;

/// What a paper should quote beside the figure.
pub const BLEU_SIGNATURE: &str = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp";

/// Longest n-gram.
const ORDER: usize = 4;

/// Sums over sentences from which BLEU follows; they add up over a corpus or a user's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BleuStatistics {
    matches: [u64; ORDER],
    totals: [u64; ORDER],
    answer_len: u64,
    reference_len: u64,
}

impl BleuStatistics {
    /// Of one answer and its reference.
    pub fn of(answer: &str, reference: &str) -> Self {
        let (answer, reference) = (tokenize(answer), tokenize(reference));
        let mut statistics = Self {
            answer_len: answer.len() as u64,
            reference_len: reference.len() as u64,
            ..Self::default()
        };
        for n in 1..=ORDER {
            let mut left: HashMap<&[String], u64> = HashMap::new();
            for gram in reference.windows(n) {
                *left.entry(gram).or_default() += 1;
            }
            for gram in answer.windows(n) {
                statistics.totals[n - 1] += 1;
                if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
                    *count -= 1;
                    statistics.matches[n - 1] += 1;
                }
            }
        }
        statistics
    }

    /// BLEU, 0 to 100.
    pub fn score(&self) -> f64 {
        if self.matches.iter().all(|matches| *matches == 0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let mut sum = 0.0;
        for (matches, total) in self.matches.into_iter().zip(self.totals) {
            if total == 0 {
                return 0.0;
            }
            let precision = if matches == 0 {
                smoothing *= 2.0;
                100.0 / (smoothing * total as f64)
            } else {
                100.0 * matches as f64 / total as f64
            };
            sum += precision.ln();
        }
        let brevity = if self.answer_len < self.reference_len {
            (1.0 - self.reference_len as f64 / self.answer_len as f64).exp()
        } else {
            1.0
        };
        brevity * (sum / ORDER as f64).exp()
    }
}

impl AddAssign for BleuStatistics {
    fn add_assign(&mut self, other: Self) {
        for n in 0..ORDER {
            self.matches[n] += other.matches[n];
            self.totals[n] += other.totals[n];
        }
        self.answer_len += other.answer_len;
        self.reference_len += other.reference_len;
    }
}

/// The statistics of the same sentences repeated.
impl Mul<u64> for BleuStatistics {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            matches: self.matches.map(|matches| matches * times),
            totals: self.totals.map(|total| total * times),
            answer_len: self.answer_len * times,
            reference_len: self.reference_len * times,
        }
    }
}

/// mteval-v13a's tokens: punctuation apart, but not a stop or comma inside a number.
fn tokenize(text: &str) -> Vec<String> {
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let rule = |pattern: &str| Regex::new(pattern).expect("a constant pattern");
        [
            (rule(r"([\{-~\[-` -&\(-\+:-@/])"), " $1 "),
            (rule(r"([^0-9])([\.,])"), "$1 $2 "),
            (rule(r"([\.,])([^0-9])"), " $1 $2"),
            (rule(r"([0-9])(-)"), "$1 $2 "),
        ]
    });
    let mut text = text
        .trim_end()
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    for (entity, character) in [
        ("&quot;", "\""),
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        text = text.replace(entity, character);
    }
    text = format!(" {text} ");
    for (pattern, replacement) in RULES.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    text.split_whitespace().map(str::to_owned).collect()
}
