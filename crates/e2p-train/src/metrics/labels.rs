//! Classification into a closed set of labels.

use std::ops::{AddAssign, Mul};

/// How often a label was right, wrongly given and missed; these add up over examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelCounts {
    /// Predicted and true.
    pub hits: u64,
    /// Predicted, not true.
    pub wrong: u64,
    /// True, not predicted.
    pub missed: u64,
}

impl LabelCounts {
    /// F1 of the label; 0 where it neither occurs nor is predicted, as scikit-learn's
    /// `zero_division=0`.
    pub fn f1(self) -> f64 {
        let all = 2 * self.hits + self.wrong + self.missed;
        if all == 0 {
            0.0
        } else {
            2.0 * self.hits as f64 / all as f64
        }
    }
}

impl AddAssign for LabelCounts {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }
}

/// The counts of the same examples repeated.
impl Mul<u64> for LabelCounts {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            hits: self.hits * times,
            wrong: self.wrong * times,
            missed: self.missed * times,
        }
    }
}

/// The mean of the labels' F1, each label counting the same: scikit-learn's `f1_score(labels=all,
/// average="macro", zero_division=0)`, which LaMP-1 and LaMP-2 report. 0 to 1; 0 without any label.
pub fn macro_f1(labels: &[LabelCounts]) -> f64 {
    labels.iter().map(|counts| counts.f1()).sum::<f64>() / labels.len().max(1) as f64
}
