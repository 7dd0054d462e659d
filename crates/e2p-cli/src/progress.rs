//! Progress on stderr: a bar where a person watches, else a line from time to time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where no bar is shown.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts finished pieces of work. Preferred variable name: `progress`.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    done: u64,
    last_line: Instant,
}

impl Progress {
    /// `total` pieces called `what` (a plural); nothing is shown if `quiet`.
    pub(crate) fn new(what: &str, total: usize, quiet: bool) -> Self {
        Self::with_template(
            what,
            total,
            quiet,
            "{bar:30} {pos}/{len} {msg} ({per_sec}, {eta} left)",
        )
    }

    /// `total` bytes of the file `what`.
    pub(crate) fn bytes(what: &str, total: usize, quiet: bool) -> Self {
        let template = "{bar:30} {bytes}/{total_bytes} {msg} ({bytes_per_sec}, {eta} left)";
        Self::with_template(&format!("bytes of {what}"), total, quiet, template)
    }

    fn with_template(what: &str, total: usize, quiet: bool, template: &str) -> Self {
        let bar = (!quiet && crate::output::stderr_is_terminal()).then(|| {
            let style = ProgressStyle::with_template(template).expect("templates are constants");
            ProgressBar::new(total as u64)
                .with_style(style)
                .with_message(what.to_string())
        });
        Self {
            bar,
            what: what.into(),
            total: total as u64,
            done: 0,
            last_line: Instant::now(),
        }
    }

    /// `n` more are finished.
    pub(crate) fn advance(&mut self, n: usize) {
        self.done += n as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last_line.elapsed() >= INTERVAL {
            tracing::info!("{} of {} {}", self.done, self.total, self.what);
            self.last_line = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
