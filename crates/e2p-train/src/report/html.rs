//! `report.html`: one file, no network. Geometry is computed here, in percent, so that text keeps
//! its size on a phone; looks are in `report.html`.

use std::cmp::Ordering;

use minijinja::{Environment, context};
use serde::Serialize;

use super::{EvalReport, ReportExtras, UserGains, shown, verdict};
use crate::error::{Result, TrainError};
use crate::report::Estimate;

const TEMPLATE: &str = include_str!("report.html");

/// Metrics side by side in one table: more do not fit on a printed page.
const METRICS_PER_TABLE: usize = 5;

/// A bar from zero with its interval, in percent of the width.
#[derive(Serialize)]
struct Bar {
    name: String,
    text: String,
    left: f64,
    width: f64,
    low: f64,
    whisker: f64,
    side: &'static str,
}

#[derive(Serialize)]
struct Bars {
    zero: f64,
    bars: Vec<Bar>,
}

/// Lines over steps or noise; the drawing area is 100 by 100.
#[derive(Serialize)]
struct Curves {
    curves: Vec<Curve>,
    /// Highest first.
    y_labels: Vec<String>,
    x_labels: Vec<String>,
}

#[derive(Serialize)]
struct Curve {
    name: &'static str,
    class: &'static str,
    points: String,
}

#[derive(Serialize)]
struct Bin {
    height: f64,
    side: &'static str,
    title: String,
}

#[derive(Serialize)]
struct CostRow {
    name: String,
    tokens: String,
    prefill: String,
    bytes: String,
}

/// Fills in the page.
pub(super) fn render(report: &EvalReport, extras: &ReportExtras) -> Result<String> {
    let mut environment = Environment::new();
    let failed = |error: minijinja::Error| TrainError::Report {
        reason: error.to_string(),
    };
    // The name decides that everything is escaped as HTML.
    environment
        .add_template("report.html", TEMPLATE)
        .map_err(failed)?;
    let template = environment.get_template("report.html").map_err(failed)?;
    let tables = blocks(&report.table());
    let gains: Vec<(String, Vec<(String, String, &str)>)> = report
        .gains
        .iter()
        .map(|(name, metrics)| {
            let metrics = metrics.iter().map(|(metric, estimate)| {
                let verdict = verdict(*estimate);
                (metric.clone(), shown(*estimate), verdict)
            });
            (name.replace('_', " "), metrics.collect())
        })
        .collect();
    let provenance: Vec<(String, String)> = report
        .provenance
        .iter()
        .map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.replace('_', " "), text)
        })
        .collect();
    template
        .render(context! {
            report,
            headline => report.headline(),
            headline_side => report.gain("e2p_vs_shuffled", "nll").map_or("open", verdict),
            tables,
            gains,
            bars => bars(report),
            histograms => report.user_gains.iter().map(histogram).collect::<Vec<_>>(),
            curves => training(extras),
            drift => drift(report),
            drift_rows => drift_rows(report),
            samples => &extras.samples,
            cost => cost(report),
            provenance,
        })
        .map_err(failed)
}

/// The table in blocks of few metrics, each with the names; a row that has none of a block's
/// metrics is left out of it.
fn blocks(table: &[Vec<String>]) -> Vec<Vec<Vec<String>>> {
    let n_metrics = table.first().map_or(0, |head| head.len().saturating_sub(1));
    let cut = |row: &Vec<String>, first: usize| {
        let last = (first + METRICS_PER_TABLE).min(n_metrics + 1);
        let mut cells = vec![row[0].clone()];
        cells.extend_from_slice(&row[first..last]);
        cells
    };
    (1..=n_metrics)
        .step_by(METRICS_PER_TABLE)
        .map(|first| {
            let rows = table.iter().map(|row| cut(row, first));
            rows.filter(|row| row[1..].iter().any(|cell| cell != "-"))
                .collect()
        })
        .collect()
}

/// Gains over `none` in nats per target token.
fn bars(report: &EvalReport) -> Option<Bars> {
    let found: Vec<(String, Estimate)> = report
        .gains
        .iter()
        .filter_map(|(name, _)| {
            let condition = name.strip_suffix("_vs_none")?;
            Some((condition.to_owned(), report.gain(name, "nll")?))
        })
        .collect();
    let low = found.iter().map(|(_, gain)| gain.low).fold(0.0, f64::min);
    let high = found.iter().map(|(_, gain)| gain.high).fold(0.0, f64::max);
    if found.is_empty() || high - low <= 0.0 {
        return None;
    }
    let place = |value: f64| 100.0 * (value - low) / (high - low);
    let zero = place(0.0);
    let bars = found
        .into_iter()
        .map(|(name, gain)| Bar {
            text: shown(gain),
            left: zero.min(place(gain.value)),
            width: (place(gain.value) - zero).abs(),
            low: place(gain.low),
            whisker: place(gain.high) - place(gain.low),
            side: if gain.value >= 0.0 { "gain" } else { "loss" },
            name,
        })
        .collect();
    Some(Bars { zero, bars })
}

/// Named lines through points, drawn to one scale; `None` where there is nothing to draw.
fn curves(
    all: &[(&'static str, &'static str, Vec<(f64, f64)>)],
    x_labels: Vec<String>,
) -> Option<Curves> {
    let points = || all.iter().flat_map(|(_, _, points)| points.iter());
    let range = |value: fn(&(f64, f64)) -> f64| {
        let low = points().map(value).fold(f64::INFINITY, f64::min);
        let high = points().map(value).fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then_some((low, high))
    };
    let (left, right) = range(|point| point.0)?;
    let (low, high) = range(|point| point.1)?;
    if right <= left {
        return None;
    }
    let height = (high - low).max(1e-9);
    let drawn = all
        .iter()
        .filter(|(_, _, points)| !points.is_empty())
        .map(|(name, class, points)| {
            // A line of one point would not be seen: it is drawn twice, with round ends.
            let again = points.first().filter(|_| points.len() == 1);
            let points: Vec<String> = points
                .iter()
                .chain(again)
                .map(|(x, y)| {
                    let (x, y) = ((x - left) / (right - left), (high - y) / height);
                    format!("{:.2},{:.2}", 100.0 * x, 100.0 * y)
                })
                .collect();
            Curve {
                name,
                class,
                points: points.join(" "),
            }
        })
        .collect();
    let y_labels = (0..=4)
        .rev()
        .map(|tick| low + height * f64::from(tick) / 4.0);
    Some(Curves {
        curves: drawn,
        y_labels: y_labels.map(|label| format!("{label:.3}")).collect(),
        x_labels,
    })
}

fn training(extras: &ReportExtras) -> Option<Curves> {
    let lines = [
        ("training", "training", extras.training.clone()),
        (
            "validation, own embedding",
            "own",
            extras.validation.clone(),
        ),
        (
            "validation, another's embedding",
            "other",
            extras.validation_shuffled.clone(),
        ),
    ];
    let steps = || {
        lines
            .iter()
            .flat_map(|(_, _, points)| points.iter().map(|(step, _)| *step))
    };
    let (first, last) = (
        steps().fold(f64::INFINITY, f64::min),
        steps().fold(0.0, f64::max),
    );
    curves(
        &lines,
        vec![format!("step {first}"), format!("step {last}")],
    )
}

/// Levels of noise stand at equal distances: they are usually chosen by factors.
fn drift(report: &EvalReport) -> Option<Curves> {
    let line = |value: fn(&Estimate) -> f64| -> Vec<(f64, f64)> {
        let levels = report.drift.iter().enumerate();
        levels
            .map(|(at, level)| (at as f64, value(&level.nll)))
            .collect()
    };
    let level = |estimate: Option<Estimate>| -> Vec<(f64, f64)> {
        let Some(estimate) = estimate else {
            return Vec::new();
        };
        (0..report.drift.len())
            .map(|at| (at as f64, estimate.value))
            .collect()
    };
    let lines = [
        (
            "e2p, own embedding with noise",
            "own",
            line(|nll| nll.value),
        ),
        ("its interval", "interval", line(|nll| nll.low)),
        ("", "interval", line(|nll| nll.high)),
        (
            "bare backbone",
            "training",
            level(report.condition("none", "nll")),
        ),
        (
            "another's embedding",
            "other",
            level(report.condition("e2p_shuffled", "nll")),
        ),
    ];
    let labels = report.drift.iter().map(|level| level.noise.to_string());
    curves(&lines, labels.collect())
}

fn drift_rows(report: &EvalReport) -> Vec<[String; 4]> {
    let gain = |gain: Option<Estimate>| gain.map_or_else(|| "-".to_owned(), shown);
    let rows = report.drift.iter().map(|level| {
        [
            level.noise.to_string(),
            shown(level.nll),
            gain(level.e2p_vs_none),
            gain(level.e2p_vs_shuffled),
        ]
    });
    rows.collect()
}

/// What each condition costs, with its ratio to the bare backbone.
fn cost(report: &EvalReport) -> Vec<CostRow> {
    let number = |condition: &str, what: &str| report.cost.get(condition)?.get(what)?.as_f64();
    let cell = |name: &str, what: &str, factor: f64, digits: usize| {
        let Some(value) = number(name, what) else {
            return "not measured".to_owned();
        };
        let text = format!("{:.digits$}", value * factor);
        match number("none", what).filter(|none| *none > 0.0 && name != "none") {
            Some(none) => format!("{text} (× {:.2})", value / none),
            None => text,
        }
    };
    report
        .cost
        .keys()
        .map(|name| CostRow {
            name: name.clone(),
            tokens: cell(name, "prompt_tokens", 1.0, 1),
            prefill: cell(name, "prefill_seconds", 1e3, 2),
            bytes: cell(name, "kv_bytes", 1.0 / 1024.0, 1),
        })
        .collect()
}

fn histogram(gains: &UserGains) -> Vec<Bin> {
    let n_bins = gains.histogram.len();
    let most = gains.histogram.iter().copied().max().unwrap_or(1).max(1);
    let bins = gains.histogram.iter().enumerate().map(|(bin, count)| Bin {
        height: 100.0 * *count as f64 / most as f64,
        side: match (2 * bin + 1).cmp(&n_bins) {
            Ordering::Less => "loss",
            Ordering::Equal => "even",
            Ordering::Greater => "gain",
        },
        title: format!(
            "{count} users from {:.3} to {:.3}",
            gains.edge(bin),
            gains.edge(bin + 1)
        ),
    });
    bins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn extras() -> ReportExtras {
        ReportExtras {
            training: vec![(1.0, 3.0), (2.0, 2.0)],
            validation: vec![(2.0, 1.9)],
            validation_shuffled: vec![(2.0, 2.1)],
            samples: vec![(
                "What <b>now</b>?".into(),
                vec![("u\"1".into(), "</td><script>steal()</script>".into())],
            )],
        }
    }

    #[test]
    fn hostile_text_stays_text_and_nothing_is_fetched() {
        let page = render(&sample(), &extras()).unwrap();
        for hostile in ["<script>", "<b>now", "<task>"] {
            assert!(!page.contains(hostile), "{hostile}");
        }
        assert!(
            page.contains("&lt;script&gt;steal()"),
            "escaped, not dropped"
        );
        for fetched in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(fetched), "{fetched}");
        }
        assert!(page.contains("2 users are helped, 1 hurt"));
    }

    #[test]
    fn a_report_with_nothing_to_draw_is_still_a_page() {
        let report = EvalReport {
            gains: Vec::new(),
            conditions: Vec::new(),
            ..sample()
        };
        let page = render(&report, &ReportExtras::default()).unwrap();
        assert!(page.contains("</html>") && !page.contains("NaN"), "{page}");
    }
}
