//! The progress of a training run: a bar where a person watches, else a line from time to time.

use std::path::Path;
use std::time::{Duration, Instant};

use e2p_train::{Observer, StepReport, ValidReport};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

const INTERVAL: Duration = Duration::from_secs(10);
const TEMPLATE: &str = "{bar:30} {pos}/{len} steps, {msg} ({eta} left)";

/// Shows steps and validations. Preferred variable name: `progress`.
pub(crate) struct TrainProgress {
    bar: Option<ProgressBar>,
    has_bar: bool,
    last_line: Instant,
    /// Smoothed loss and tokens per second.
    shown: Option<(f64, f64)>,
}

impl TrainProgress {
    /// Nothing is shown if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            bar: None,
            has_bar: !quiet && crate::output::stderr_is_terminal(),
            last_line: Instant::now(),
            shown: None,
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Shows that `step` of `total` is done.
    pub(crate) fn show(&mut self, step: usize, total: usize, loss: f64, tokens_per_second: f64) {
        let (mean, speed) = self.shown.unwrap_or((loss, tokens_per_second));
        let shown = (
            0.9 * mean + 0.1 * loss,
            0.9 * speed + 0.1 * tokens_per_second,
        );
        self.shown = Some(shown);
        let message = format!("loss {:.3}, {:.0} tokens/s", shown.0, shown.1);
        if self.has_bar {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template(TEMPLATE).expect("a constant template");
                // A resumed run begins in the middle.
                ProgressBar::new(total as u64)
                    .with_style(style)
                    .with_position(step as u64 - 1)
            });
            bar.set_position(step as u64);
            bar.set_message(message);
        } else if self.last_line.elapsed() >= INTERVAL {
            tracing::info!("step {step} of {total}, {message}");
            self.last_line = Instant::now();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tracing::info!("{line}")),
            None => tracing::info!("{line}"),
        }
    }
}

impl Observer for TrainProgress {
    fn started(&mut self, n_examples: usize, n_skipped: usize, n_parameters: usize) {
        let skipped = if n_skipped == 0 {
            String::new()
        } else {
            format!(" ({n_skipped} left out: empty or too long)")
        };
        self.say(&format!(
            "{n_examples} training examples{skipped}, {n_parameters} trained parameters"
        ));
    }

    fn step(&mut self, report: &StepReport) {
        let speed = report.tokens as f64 / report.seconds.max(1e-9);
        self.show(report.step, report.total_steps, report.loss, speed);
    }

    fn validated(&mut self, report: &ValidReport) {
        self.say(&format!(
            "step {}: validation {:.4} nats per token, with other users' embeddings {:.4}{}",
            report.step,
            report.valid_nll,
            report.valid_shuffled_nll,
            if report.is_best { ", best so far" } else { "" }
        ));
    }

    fn checkpoint(&mut self, path: &Path) {
        tracing::debug!("saved {}", path.display());
    }

    fn should_stop(&mut self) -> bool {
        interrupt::requested()
    }
}
