//! `report.html`: one file, no network. Geometry is computed here, looks are in `report.html`.

use std::cmp::Ordering;

use minijinja::{Environment, context};
use serde::Serialize;

use super::{EvalReport, ReportExtras, UserGains, shown};
use crate::error::{Result, TrainError};

const TEMPLATE: &str = include_str!("report.html");

/// Drawing area of a chart, in SVG units.
const WIDTH: f64 = 640.0;
const CURVE_HEIGHT: f64 = 200.0;

/// A bar from zero, with its interval.
#[derive(Serialize)]
struct Bar {
    name: String,
    text: String,
    x: f64,
    width: f64,
    low: f64,
    high: f64,
    is_gain: bool,
}

#[derive(Serialize)]
struct Bars {
    zero: f64,
    bars: Vec<Bar>,
}

#[derive(Serialize)]
struct Curve {
    name: &'static str,
    class: &'static str,
    points: String,
}

#[derive(Serialize)]
struct Curves {
    curves: Vec<Curve>,
    /// Tick labels with their place.
    y_ticks: Vec<(f64, String)>,
    last_step: f64,
}

#[derive(Serialize)]
struct Bin {
    x: f64,
    width: f64,
    height: f64,
    side: &'static str,
    title: String,
}

#[derive(Serialize)]
struct Histogram {
    bins: Vec<Bin>,
    low: String,
    high: String,
    zero: f64,
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
    let mut table = report.table().into_iter();
    let head = table.next().unwrap_or_default();
    let gains: Vec<(String, Vec<(String, String, &str)>)> = report
        .gains
        .iter()
        .map(|(name, metrics)| {
            let metrics = metrics.iter().map(|(metric, estimate)| {
                let verdict = if estimate.low > 0.0 {
                    "better"
                } else if estimate.high < 0.0 {
                    "worse"
                } else {
                    "open"
                };
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
            head,
            rows => table.collect::<Vec<_>>(),
            gains,
            bars => bars(report),
            curves => curves(extras),
            histograms => report.user_gains.iter().map(histogram).collect::<Vec<_>>(),
            samples => &extras.samples,
            provenance,
            width => WIDTH,
            curve_height => CURVE_HEIGHT,
        })
        .map_err(failed)
}

/// Gains over `none` in nats per target token.
fn bars(report: &EvalReport) -> Option<Bars> {
    const LEFT: f64 = 130.0;
    const RIGHT: f64 = 20.0;
    let found: Vec<(String, crate::eval::Estimate)> = report
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
    let place = |value: f64| LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let zero = place(0.0);
    let bars = found
        .into_iter()
        .map(|(name, gain)| Bar {
            text: shown(gain),
            x: zero.min(place(gain.value)),
            width: (place(gain.value) - zero).abs(),
            low: place(gain.low),
            high: place(gain.high),
            is_gain: gain.value >= 0.0,
            name,
        })
        .collect();
    Some(Bars { zero, bars })
}

fn curves(extras: &ReportExtras) -> Option<Curves> {
    const LEFT: f64 = 50.0;
    const MARGIN: f64 = 10.0;
    let all = [
        ("training", "training", &extras.training),
        ("validation, own embedding", "own", &extras.validation),
        (
            "validation, another's embedding",
            "other",
            &extras.validation_shuffled,
        ),
    ];
    let points = || all.iter().flat_map(|(_, _, points)| points.iter());
    let last_step = points().map(|(step, _)| *step).fold(0.0, f64::max);
    let low = points()
        .map(|(_, loss)| *loss)
        .fold(f64::INFINITY, f64::min);
    let high = points()
        .map(|(_, loss)| *loss)
        .fold(f64::NEG_INFINITY, f64::max);
    if last_step <= 0.0 || !low.is_finite() || !high.is_finite() {
        return None;
    }
    let range = (high - low).max(1e-9);
    let y = |loss: f64| MARGIN + (high - loss) / range * (CURVE_HEIGHT - 3.0 * MARGIN);
    let curves = all
        .iter()
        .filter(|(_, _, points)| !points.is_empty())
        .map(|(name, class, points)| {
            let points: Vec<String> = points
                .iter()
                .map(|(step, loss)| {
                    let x = LEFT + step / last_step * (WIDTH - LEFT - MARGIN);
                    format!("{x:.1},{:.1}", y(*loss))
                })
                .collect();
            Curve {
                name,
                class,
                points: points.join(" "),
            }
        })
        .collect();
    let y_ticks = (0..=4)
        .map(|tick| low + range * f64::from(tick) / 4.0)
        .map(|loss| (y(loss), format!("{loss:.3}")))
        .collect();
    Some(Curves {
        curves,
        y_ticks,
        last_step,
    })
}

fn histogram(gains: &UserGains) -> Option<Histogram> {
    if gains.reach <= 0.0 {
        return None;
    }
    let n_bins = gains.histogram.len();
    let most = gains.histogram.iter().copied().max().unwrap_or(1).max(1);
    let width = WIDTH / n_bins as f64;
    let bins = gains
        .histogram
        .iter()
        .enumerate()
        .map(|(bin, count)| Bin {
            x: bin as f64 * width + 1.0,
            width: width - 2.0,
            height: 120.0 * *count as f64 / most as f64,
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
        })
        .collect();
    Some(Histogram {
        bins,
        low: format!("{:.3}", -gains.reach),
        high: format!("{:.3}", gains.reach),
        zero: WIDTH / 2.0,
    })
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
