//! A figure of a report.

use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Over all users.
    pub value: f64,
    /// Lower end: the 2.5th percentile of the resamples.
    pub low: f64,
    /// Upper end: the 97.5th percentile of the resamples.
    pub high: f64,
}
