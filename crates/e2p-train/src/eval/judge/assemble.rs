//! From scores to the report: figures by user, intervals, gains.

use std::fs;
use std::path::Path;

use e2p_data::Split;
use e2p_prefix::Adapter;
use serde_json::{Map, Value, json};

use crate::error::{Result, io};
use crate::eval::arms::Condition;
use crate::eval::arms::EvalExample;
use crate::eval::judge::bootstrap::{Sampled, sample};
use crate::eval::judge::figure::{Figure, Link};
use crate::eval::judge::measures::{Judged, Measures, Metric, of_ranking};
use crate::eval::judge::provenance::provenance;
use crate::eval::options::EvalOptions;
use crate::eval::score::Scores;
use crate::eval::score::candidates::Candidates;
use crate::eval::score::catalogue::{Baseline, Catalogue};
use crate::eval::score::drift::DriftLevel;
use crate::eval::score::samples::Samples;
use crate::inputs::Inputs;
use crate::recipe::Recipe;
use crate::report::{DriftPoint, EvalReport, Metrics, REPORT_VERSION, ReportExtras, UserGains};
use crate::run_dir::{MetricsLine, RunDir};
use crate::users::UserTable;

/// An evaluation: the report, and what only its page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `report.json`.
    pub report: EvalReport,
    /// For `report.html`.
    pub extras: ReportExtras,
}

impl Evaluation {
    /// Writes `report.json` and `report.html` into `dir`.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(io(dir))?;
        let page = self.report.to_html(&self.extras)?;
        for (name, text) in [
            ("report.json", self.report.to_json()),
            ("report.html", page),
        ] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(io(&path))?;
        }
        Ok(())
    }
}

/// Everything the report is made from.
pub(crate) struct Parts<'a> {
    pub(crate) run_path: &'a Path,
    pub(crate) recipe: &'a Recipe,
    pub(crate) inputs: &'a Inputs,
    pub(crate) options: &'a EvalOptions,
    pub(crate) split: Split,
    pub(crate) adapter: &'a Adapter,
    pub(crate) examples: &'a [EvalExample],
    pub(crate) users: &'a UserTable,
    pub(crate) skipped: usize,
    /// Examples whose stranger under `text_shuffled` has no profile.
    pub(crate) strangers_without_profile: usize,
    /// The examples whose candidates were ranked.
    pub(crate) ranked: &'a [Candidates],
    pub(crate) catalogue: Option<&'a Catalogue>,
    pub(crate) scores: &'a [Scores],
    pub(crate) baselines: &'a [Baseline],
    pub(crate) drift: &'a [DriftLevel],
    pub(crate) samples: Samples,
}

/// Pairs whose difference a report states, better one first; besides every condition against
/// `none`.
const COMPARISONS: [(Condition, Condition, &str); 8] = [
    (Condition::E2p, Condition::SoftPrompt, "e2p_vs_soft_prompt"),
    (Condition::E2p, Condition::E2pShuffled, "e2p_vs_shuffled"),
    (Condition::Text, Condition::TextShuffled, "text_vs_shuffled"),
    (Condition::E2p, Condition::Text, "e2p_vs_text"),
    (Condition::E2p, Condition::E2pDefault, "e2p_vs_default"),
    (
        Condition::E2pShuffled,
        Condition::SoftPrompt,
        "shuffled_vs_soft_prompt",
    ),
    (Condition::TextE2p, Condition::Text, "text+e2p_vs_text"),
    (Condition::TextE2p, Condition::E2p, "text+e2p_vs_e2p"),
];

/// A row of the report: its name, and its metrics with all their resamples.
struct Row {
    name: String,
    metrics: Vec<(Metric, Sampled)>,
}

impl Row {
    fn estimates(&self) -> Metrics {
        let estimates = self
            .metrics
            .iter()
            .map(|(metric, sampled)| (metric.name.clone(), sampled.estimate()));
        estimates.collect()
    }

    fn find(&self, name: &str) -> Option<&(Metric, Sampled)> {
        self.metrics.iter().find(|(metric, _)| metric.name == name)
    }

    /// By how much `self` is better, metric by metric.
    fn gains_over(&self, base: &Self) -> Metrics {
        let both = self.metrics.iter().filter_map(|(metric, sampled)| {
            let (_, base) = base.find(&metric.name).filter(|_| metric.has_gain)?;
            let gain = if metric.is_lower_better {
                base.minus(sampled)
            } else {
                sampled.minus(base)
            };
            Some((metric.name.clone(), gain))
        });
        both.collect()
    }
}

/// Makes the report.
pub(crate) fn assemble(parts: &Parts<'_>) -> Evaluation {
    let judged = Judged {
        n_users: parts.users.len(),
        examples: parts.examples,
        ranked: parts.ranked,
    };
    let measures = Measures::new(&parts.inputs.data.info().task, judged);
    let conditions = parts.scores.iter().map(|scores| {
        let name = scores.condition.to_string();
        (name, measures.metrics(judged, scores))
    });
    let baselines = parts.baselines.iter().map(|baseline| {
        (
            baseline.name.to_owned(),
            of_ranking(judged, &baseline.ranks),
        )
    });
    let mut rows = sampled(conditions.chain(baselines).collect(), parts.options);
    let baselines = rows.split_off(parts.scores.len());
    let row = |condition: Condition| rows.iter().find(|row| row.name == condition.name());

    let pairs = COMPARISONS
        .into_iter()
        .filter_map(|(better, base, name)| Some((name.to_owned(), row(better)?, row(base)?)));
    let against_baselines = baselines
        .iter()
        .filter_map(|base| Some((format!("e2p_vs_{}", base.name), row(Condition::E2p)?, base)));
    let against_none = Condition::ALL.into_iter().skip(1).filter_map(|condition| {
        let name = format!("{condition}_vs_none");
        Some((name, row(condition)?, row(Condition::None)?))
    });
    let gains = pairs
        .chain(against_baselines)
        .chain(against_none)
        .map(|(name, better, base)| (name, better.gains_over(base)))
        .collect();
    let cost: Map<String, Value> = parts
        .scores
        .iter()
        .map(|scores| (scores.condition.to_string(), json!(scores.cost)))
        .collect();
    let report = EvalReport {
        task: parts.recipe.task.clone(),
        split: parts.split.to_string(),
        n_users: parts.users.len(),
        n_examples: parts.examples.len(),
        conditions: estimates(&rows),
        gains,
        baselines: estimates(&baselines),
        user_gains: user_gains(parts),
        drift: drift(parts, row(Condition::None), row(Condition::E2pShuffled)),
        cost,
        provenance: provenance(parts),
        format_version: REPORT_VERSION,
    };
    Evaluation {
        report,
        extras: extras(parts),
    }
}

fn estimates(rows: &[Row]) -> Vec<(String, Metrics)> {
    rows.iter()
        .map(|row| (row.name.clone(), row.estimates()))
        .collect()
}

/// Resamples all figures of all rows with the same draws of users.
fn sampled(rows: Vec<(String, Vec<Metric>)>, options: &EvalOptions) -> Vec<Row> {
    let figures: Vec<&Figure> = rows
        .iter()
        .flat_map(|(_, metrics)| metrics.iter().map(|metric| &metric.figure))
        .collect();
    let mut sampled = sample(&figures, options.resamples, options.seed).into_iter();
    rows.into_iter()
        .map(|(name, metrics)| Row {
            name,
            metrics: metrics.into_iter().zip(sampled.by_ref()).collect(),
        })
        .collect()
}

/// Per user the gain of `e2p` in nats per target token, over another user's embedding and over the
/// bare backbone.
fn user_gains(parts: &Parts<'_>) -> Vec<UserGains> {
    let by_user = |condition: Condition| {
        let scores = parts
            .scores
            .iter()
            .find(|scores| scores.condition == condition)?;
        let mut sums = vec![(0.0, 0.0); parts.users.len()];
        for (example, (nll, tokens)) in parts.examples.iter().zip(&scores.nll) {
            sums[example.user].0 += nll;
            sums[example.user].1 += *tokens as f64;
        }
        Some(sums)
    };
    let compared = [
        (Condition::E2pShuffled, "e2p_vs_shuffled"),
        (Condition::None, "e2p_vs_none"),
    ];
    let gains = compared.into_iter().filter_map(|(base, name)| {
        let (own, base) = (by_user(Condition::E2p)?, by_user(base)?);
        let gains = own
            .iter()
            .zip(&base)
            .enumerate()
            .filter(|(_, (own, _))| own.1 > 0.0)
            .map(|(user, (own, base))| (parts.users.id(user).to_owned(), (base.0 - own.0) / own.1));
        UserGains::new(name, gains.collect())
    });
    gains.collect()
}

/// The drift curve, with the gain that is left at every level.
fn drift(parts: &Parts<'_>, none: Option<&Row>, shuffled: Option<&Row>) -> Vec<DriftPoint> {
    let figures: Vec<Figure> = parts
        .drift
        .iter()
        .map(|level| {
            let entries = parts.examples.iter().zip(&level.nll);
            let entries =
                entries.map(|(example, (nll, tokens))| (example.user, *nll, *tokens as f64));
            Figure::ratio(parts.users.len(), Link::Identity, entries)
        })
        .collect();
    let figures: Vec<&Figure> = figures.iter().collect();
    let sampled = sample(&figures, parts.options.resamples, parts.options.seed);
    let over = |row: Option<&Row>, level: &Sampled| {
        let (_, base) = row?.find("nll")?;
        Some(base.minus(level))
    };
    parts
        .drift
        .iter()
        .zip(&sampled)
        .map(|(level, nll)| DriftPoint {
            noise: level.noise,
            nll: nll.estimate(),
            e2p_vs_none: over(none, nll),
            e2p_vs_shuffled: over(shuffled, nll),
        })
        .collect()
}

fn extras(parts: &Parts<'_>) -> ReportExtras {
    let mut extras = ReportExtras {
        samples: parts.samples.clone(),
        ..ReportExtras::default()
    };
    // A run without metrics is drawn without curves.
    for line in RunDir::metrics(parts.run_path).unwrap_or_default() {
        match line {
            MetricsLine::Step(report) => extras.training.push((report.step as f64, report.loss)),
            MetricsLine::Valid(report) => {
                let step = report.step as f64;
                extras.validation.push((step, report.valid_nll));
                extras
                    .validation_shuffled
                    .push((step, report.valid_shuffled_nll));
            }
        }
    }
    extras
}

/// A gain in words, for a terminal.
impl Evaluation {
    /// The headline: whether the right user beats another one, and by how much.
    pub fn headline(&self) -> Option<String> {
        self.report.headline()
    }
}
