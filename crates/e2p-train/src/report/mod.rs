//! What an evaluation leaves behind: `report.json` for programs, a table for the terminal,
//! `report.html` for people.

mod estimate;
mod html;
mod user_gains;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Result, TrainError, io};

pub use estimate::Estimate;
pub use user_gains::UserGains;

/// Version of `report.json` that is written.
pub const REPORT_VERSION: u32 = 1;

/// Metric names and their estimates, in the order in which they are shown.
pub type Metrics = Vec<(String, Estimate)>;

/// `report.json`. Preferred variable name: `report`.
///
/// On disk `conditions` and `gains` are objects: condition or comparison, metric, `{"value", "low",
/// "high"}`. Gains are positive when better; low and high are the 95 % interval of a paired
/// bootstrap over users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// Task of the recipe.
    pub task: String,
    /// Evaluated split.
    pub split: String,
    /// Users with an evaluated example.
    pub n_users: usize,
    /// Evaluated examples.
    pub n_examples: usize,
    /// Condition, metrics.
    #[serde(with = "nested")]
    pub conditions: Vec<(String, Metrics)>,
    /// Comparison such as `e2p_vs_shuffled`, metrics.
    #[serde(with = "nested")]
    pub gains: Vec<(String, Metrics)>,
    /// Rankings of the catalogue that are no language model's: popularity, and the factorization.
    #[serde(with = "nested", default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<(String, Metrics)>,
    /// Who is helped, who is hurt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_gains: Vec<UserGains>,
    /// `e2p` on noisier and noisier embeddings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftPoint>,
    /// Condition, what a prompt costs under it.
    pub cost: Map<String, Value>,
    /// Recipe, seeds, fingerprints, device, versions.
    pub provenance: Map<String, Value>,
    /// [`REPORT_VERSION`].
    pub format_version: u32,
}

/// The negative log-likelihood of `e2p` at one level of noise on the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DriftPoint {
    /// Standard deviation of the noise, in those of the training users.
    pub noise: f32,
    /// Nats per target token.
    pub nll: Estimate,
    /// Gain over the bare backbone.
    pub e2p_vs_none: Option<Estimate>,
    /// Gain over another user's embedding (with the noise of the main figures).
    pub e2p_vs_shuffled: Option<Estimate>,
}

/// What only `report.html` shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReportExtras {
    /// Step and training loss.
    pub training: Vec<(f64, f64)>,
    /// Step and validation loss with the right user.
    pub validation: Vec<(f64, f64)>,
    /// Step and validation loss with another user.
    pub validation_shuffled: Vec<(f64, f64)>,
    /// A prompt and what it is answered for different users.
    pub samples: Vec<(String, Vec<(String, String)>)>,
}

impl EvalReport {
    /// An estimate by condition and metric.
    pub fn condition(&self, condition: &str, metric: &str) -> Option<Estimate> {
        find(&self.conditions, condition, metric)
    }

    /// A gain by comparison and metric.
    pub fn gain(&self, comparison: &str, metric: &str) -> Option<Estimate> {
        find(&self.gains, comparison, metric)
    }

    /// The headline: whether the right user's embedding beats another's, and by how much.
    pub fn headline(&self) -> Option<String> {
        let gain = self.gain("e2p_vs_shuffled", "nll")?;
        let verdict = match verdict(gain) {
            "better" => "the right user's embedding does the work",
            "worse" => "the right user's embedding does worse than another's",
            _ => "no personal gain is shown: the interval contains zero",
        };
        Some(format!(
            "e2p over e2p_shuffled: {} nats per target token; {verdict}",
            shown(gain)
        ))
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// An unreadable file, one that is no report, or one of a later version.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(io(path))?;
        let no_report = |source| TrainError::RunFile {
            path: path.into(),
            expected: "evaluation report".into(),
            source,
        };
        // Before the fields: a later version may have others.
        let json: Value = serde_json::from_slice(&bytes).map_err(no_report)?;
        if let Some(version) = json["format_version"].as_u64()
            && version > u64::from(REPORT_VERSION)
        {
            return Err(TrainError::ReportVersion {
                path: path.into(),
                found: version,
                expected: REPORT_VERSION,
            });
        }
        serde_json::from_value(json).map_err(no_report)
    }

    /// `report.json` as text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain JSON")
    }

    /// The page.
    ///
    /// # Errors
    /// [`TrainError::Report`] if the page cannot be filled in.
    pub fn to_html(&self, extras: &ReportExtras) -> Result<String> {
        html::render(self, extras)
    }

    /// Rows of text, the head first: condition, then a column for each metric with its interval.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut metrics: Vec<&str> = Vec::new();
        let all = || self.conditions.iter().chain(&self.baselines);
        for (_, values) in all() {
            for (metric, _) in values {
                if !metrics.contains(&metric.as_str()) {
                    metrics.push(metric);
                }
            }
        }
        let head = std::iter::once("condition").chain(metrics.iter().copied());
        let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        for (condition, values) in all() {
            let mut row = vec![condition.clone()];
            for metric in &metrics {
                let found = values.iter().find(|(name, _)| name == metric);
                row.push(found.map_or_else(|| "-".into(), |(_, estimate)| shown(*estimate)));
            }
            rows.push(row);
        }
        rows
    }
}

/// `0.0312 [0.021, 0.042]`, with digits that suit the width of the interval.
pub(crate) fn shown(estimate: Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    let width = (high - low).abs();
    let digits = if width > 0.0 {
        (1.5 - width.log10()).clamp(0.0, 5.0) as usize
    } else {
        3
    };
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// Whether an interval lies above zero (`better`), below (`worse`), or holds it (`open`).
pub(crate) fn verdict(gain: Estimate) -> &'static str {
    if gain.low > 0.0 {
        "better"
    } else if gain.high < 0.0 {
        "worse"
    } else {
        "open"
    }
}

fn find(all: &[(String, Metrics)], name: &str, metric: &str) -> Option<Estimate> {
    let (_, metrics) = all.iter().find(|(found, _)| found == name)?;
    let (_, estimate) = metrics.iter().find(|(found, _)| found == metric)?;
    Some(*estimate)
}

/// Ordered pairs as JSON objects.
mod nested {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    use super::Metrics;

    pub(super) fn serialize<S: Serializer>(
        all: &[(String, Metrics)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut outer = Map::new();
        for (name, metrics) in all {
            let mut inner = Map::new();
            for (metric, estimate) in metrics {
                let value = serde_json::to_value(estimate).map_err(serde::ser::Error::custom)?;
                inner.insert(metric.clone(), value);
            }
            outer.insert(name.clone(), Value::Object(inner));
        }
        outer.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, Metrics)>, D::Error> {
        let outer = Map::deserialize(deserializer)?;
        outer
            .into_iter()
            .map(|(name, value)| {
                let inner: Map<String, Value> =
                    serde_json::from_value(value).map_err(serde::de::Error::custom)?;
                let metrics = inner
                    .into_iter()
                    .map(|(metric, value)| {
                        let estimate =
                            serde_json::from_value(value).map_err(serde::de::Error::custom)?;
                        Ok((metric, estimate))
                    })
                    .collect::<Result<Metrics, D::Error>>()?;
                Ok((name, metrics))
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> EvalReport {
        let estimate = |value: f64| Estimate {
            value,
            low: value - 0.02,
            high: value + 0.02,
        };
        let metrics = |nll: f64| {
            vec![
                ("nll".to_owned(), estimate(nll)),
                ("ppl".to_owned(), estimate(nll.exp())),
            ]
        };
        EvalReport {
            task: "a <task>".into(),
            split: "test".into(),
            n_users: 20,
            n_examples: 160,
            conditions: vec![("none".into(), metrics(0.4)), ("e2p".into(), metrics(0.2))],
            gains: vec![("e2p_vs_none".into(), vec![("nll".into(), estimate(0.2))])],
            baselines: Vec::new(),
            user_gains: UserGains::new(
                "e2p_vs_shuffled",
                vec![("u1".into(), 0.2), ("u2".into(), -0.1), ("u3".into(), 0.0), ("u4".into(), 0.05)],
            )
            .into_iter()
            .collect(),
            drift: Vec::new(),
            cost: serde_json::from_str(r#"{"none": {"prompt_tokens": 11.5, "kv_bytes": 4096.0, "prefill_seconds": 0.0002}}"#).unwrap(),
            provenance: serde_json::from_str(r#"{"seed": 3, "recipe": "<script>alert(1)</script>"}"#).unwrap(),
            format_version: REPORT_VERSION,
        }
    }

    #[test]
    fn a_report_of_a_later_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let later = EvalReport {
            format_version: REPORT_VERSION + 1,
            ..sample()
        };
        std::fs::write(&path, later.to_json()).unwrap();
        let error = EvalReport::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("format version 2, expected at most 1"),
            "{error}"
        );
        std::fs::write(&path, sample().to_json()).unwrap();
        assert_eq!(EvalReport::read(&path).unwrap(), sample());
    }

    #[test]
    fn a_report_comes_back_from_json_in_the_same_order() {
        let report = sample();
        let back: EvalReport = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(back, report);
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["conditions"]["e2p"]["nll"]["value"], 0.2);
        assert_eq!(json["gains"]["e2p_vs_none"]["nll"]["value"], 0.2);
    }

    #[test]
    fn the_table_has_a_row_for_each_condition_and_digits_that_the_interval_supports() {
        let table = sample().table();
        assert_eq!(table[0], ["condition", "nll", "ppl"]);
        assert_eq!(table[2][..2], ["e2p", "0.20 [0.18, 0.22]"]);
    }
}
