//! From scores to the report: metrics by user, intervals, gains, provenance.

use std::fs;
use std::path::Path;

use e2p_data::Split;
use e2p_prefix::Adapter;
use serde_json::{Map, Value, json};

use super::bootstrap::{Estimate, UserSums};
use super::examples::EvalExample;
use super::{Condition, EvalOptions, Samples, Scores};
use crate::error::{Result, io};
use crate::inputs::Inputs;
use crate::metrics;
use crate::recipe::Recipe;
use crate::report::{EvalReport, Metrics, REPORT_VERSION, ReportExtras, shown};
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
pub(super) struct Parts<'a> {
    pub(super) run_path: &'a Path,
    pub(super) recipe: &'a Recipe,
    pub(super) inputs: &'a Inputs,
    pub(super) options: &'a EvalOptions,
    pub(super) split: Split,
    pub(super) adapter: &'a Adapter,
    pub(super) examples: &'a [EvalExample],
    pub(super) users: &'a UserTable,
    pub(super) skipped: usize,
    /// Indices of the examples whose candidates were ranked.
    pub(super) ranked: &'a [usize],
    pub(super) scores: &'a [Scores],
    pub(super) samples: Samples,
}

/// Pairs whose difference a report states, better one first; besides every condition against `none`.
const COMPARISONS: [(Condition, Condition, &str); 7] = [
    (Condition::E2p, Condition::SoftPrompt, "e2p_vs_soft_prompt"),
    (Condition::E2p, Condition::E2pShuffled, "e2p_vs_shuffled"),
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

/// A metric of one condition.
struct Metric {
    name: &'static str,
    sums: UserSums,
    is_lower_better: bool,
    /// Whether differences of it are reported.
    has_gain: bool,
}

impl Parts<'_> {
    fn metrics(&self, scores: &Scores) -> Vec<Metric> {
        // Example by example: numerator and denominator, summed up by user.
        let sums = |entries: &mut dyn Iterator<Item = (usize, f64, f64)>| {
            let mut by_user = vec![(0.0, 0.0); self.users.len()];
            for (example, numerator, denominator) in entries {
                let user: &mut (f64, f64) = &mut by_user[self.examples[example].user];
                user.0 += numerator;
                user.1 += denominator;
            }
            UserSums {
                sums: by_user,
                is_exp: false,
            }
        };
        let nll = sums(
            &mut scores
                .nll
                .iter()
                .enumerate()
                .map(|(index, (nll, tokens))| (index, *nll, *tokens as f64)),
        );
        let bytes = |index: usize| self.examples[index].example.target.len() as f64;
        let bits = scores
            .nll
            .iter()
            .enumerate()
            .map(|(index, (nll, _))| (index, nll / std::f64::consts::LN_2, bytes(index)));
        let bits = sums(&mut bits.into_iter());
        let metric = |name, sums, is_lower_better, has_gain| Metric {
            name,
            sums,
            is_lower_better,
            has_gain,
        };
        let ppl = UserSums {
            is_exp: true,
            ..nll.clone()
        };
        let mut found = vec![
            metric("nll", nll, true, true),
            metric("ppl", ppl, true, false),
            metric("bits_per_byte", bits, true, true),
        ];
        let ranks = || self.ranked.iter().zip(&scores.ranks);
        if !scores.ranks.is_empty() {
            let hit = |rank: usize| f64::from(u8::from(rank == 1));
            let all: [(&'static str, &dyn Fn(&(usize, usize)) -> f64); 4] = [
                ("hits@1", &|ranks| hit(ranks.0)),
                ("mrr", &|ranks| 1.0 / ranks.0 as f64),
                ("hits@1_per_token", &|ranks| hit(ranks.1)),
                ("mrr_per_token", &|ranks| 1.0 / ranks.1 as f64),
            ];
            for (name, value) in all {
                let sums = sums(&mut ranks().map(|(index, ranks)| (*index, value(ranks), 1.0)));
                found.push(metric(name, sums, false, true));
            }
        }
        if !scores.answers.is_empty() {
            let answered = || scores.answers.iter().enumerate();
            let all: [(&'static str, &dyn Fn(&str, &str) -> f64); 3] = [
                ("f1", &metrics::f1),
                ("rouge_1", &|answer, target| {
                    metrics::rouge_google(answer, target).rouge_1
                }),
                ("rouge_l", &|answer, target| {
                    metrics::rouge_google(answer, target).rouge_l
                }),
            ];
            for (name, value) in all {
                let target = |index: usize| self.examples[index].example.target.as_str();
                let sums = sums(
                    &mut answered()
                        .map(|(index, answer)| (index, value(answer, target(index)), 1.0)),
                );
                found.push(metric(name, sums, false, true));
            }
        }
        found
    }
}

/// Makes the report.
pub(super) fn assemble(parts: &Parts<'_>) -> Evaluation {
    let options = parts.options;
    let estimate = |sums: &UserSums| sums.estimate(options.resamples, options.seed);
    let all: Vec<(Condition, Vec<Metric>)> = parts
        .scores
        .iter()
        .map(|scores| (scores.condition, parts.metrics(scores)))
        .collect();
    let conditions = all
        .iter()
        .map(|(condition, metrics)| {
            let metrics = metrics
                .iter()
                .map(|metric| (metric.name.to_owned(), estimate(&metric.sums)));
            (condition.to_string(), metrics.collect())
        })
        .collect();

    let of = |wanted: Condition| all.iter().find(|(condition, _)| *condition == wanted);
    let against_none = Condition::ALL
        .into_iter()
        .skip(1)
        .map(|condition| (condition, Condition::None, format!("{condition}_vs_none")));
    let pairs = COMPARISONS
        .into_iter()
        .map(|(better, base, name)| (better, base, name.to_owned()));
    let gains = pairs
        .chain(against_none)
        .filter_map(|(better, base, name)| {
            let ((_, better), (_, base)) = (of(better)?, of(base)?);
            Some((name, gain(better, base, options)))
        })
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
        conditions,
        gains,
        cost,
        provenance: provenance(parts),
        format_version: REPORT_VERSION,
    };
    let extras = extras(parts, of(Condition::E2p), of(Condition::E2pShuffled));
    Evaluation { report, extras }
}

fn gain(better: &[Metric], base: &[Metric], options: &EvalOptions) -> Metrics {
    better
        .iter()
        .zip(base)
        .filter(|(metric, _)| metric.has_gain)
        .map(|(metric, base)| {
            let (more, less) = if metric.is_lower_better {
                (&base.sums, &metric.sums)
            } else {
                (&metric.sums, &base.sums)
            };
            let estimate = more.difference(less, options.resamples, options.seed);
            (metric.name.to_owned(), estimate)
        })
        .collect()
}

type Arm<'a> = Option<&'a (Condition, Vec<Metric>)>;

fn extras(parts: &Parts<'_>, e2p: Arm<'_>, shuffled: Arm<'_>) -> ReportExtras {
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
    if let (Some((_, own)), Some((_, other))) = (e2p, shuffled) {
        extras.user_gains = own[0]
            .sums
            .sums
            .iter()
            .zip(&other[0].sums.sums)
            .filter(|(own, _)| own.1 > 0.0)
            .map(|(own, other)| (other.0 - own.0) / own.1)
            .collect();
    }
    extras
}

fn provenance(parts: &Parts<'_>) -> Map<String, Value> {
    let (config, options) = (&parts.adapter.config, parts.options);
    let info = parts.inputs.data.info();
    let inputs: Vec<Value> = info
        .inputs
        .iter()
        .map(|input| json!({"name": input.name, "sha256": input.sha256}))
        .collect();
    let entries = [
        ("run", json!(parts.run_path)),
        ("recipe", json!(parts.recipe.to_toml())),
        ("recipe_hash", json!(parts.recipe.hash())),
        ("evaluation_seed", json!(options.seed)),
        ("resamples", json!(options.resamples)),
        ("embedding_noise", json!(options.embedding_noise)),
        ("examples_left_out", json!(parts.skipped)),
        ("examples_with_ranked_candidates", json!(parts.ranked.len())),
        ("backbone", json!(config.base_model_name_or_path)),
        ("backbone_fingerprint", json!(config.backbone.fingerprint)),
        ("embedding_space", json!(config.embedding_space.name)),
        (
            "embedding_space_fingerprint",
            json!(config.embedding_space.fingerprint()),
        ),
        ("data", json!(info.name)),
        ("data_licence", json!(info.licence)),
        ("data_citation", json!(info.citation)),
        ("data_inputs", json!(inputs)),
        (
            "device",
            json!(format!("{:?}", parts.inputs.decoder.device())),
        ),
        (
            "dtype",
            json!(format!("{:?}", parts.inputs.decoder.dtype())),
        ),
        ("e2p_version", json!(env!("CARGO_PKG_VERSION"))),
    ];
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A gain in words, for a terminal.
impl Evaluation {
    /// The headline: whether the right user beats another one, and by how much.
    pub fn headline(&self) -> Option<String> {
        let gain: Estimate = self.report.gain("e2p_vs_shuffled", "nll")?;
        let verdict = if gain.low > 0.0 {
            "the right user's embedding does the work"
        } else if gain.high < 0.0 {
            "the right user's embedding does worse than another's"
        } else {
            "no personal gain is shown: the interval holds zero"
        };
        Some(format!(
            "e2p over e2p_shuffled: {} nats per target token; {verdict}",
            shown(gain)
        ))
    }
}
