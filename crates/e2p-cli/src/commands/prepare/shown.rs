//! What a preparation shows while it reads and when it is done.

use std::path::Path;

use e2p_data::{DatasetInfo, Observer};

use crate::progress::Progress;

/// What a data directory holds and what its owners ask, for people.
pub(super) fn describe(info: &DatasetInfo) -> Vec<String> {
    let counts = &info.counts;
    let mut lines = vec![
        format!("{} ({})", info.name, info.task),
        format!(
            "examples  train {}, valid {}, test {}",
            counts.train, counts.valid, counts.test
        ),
        format!("users     {}", counts.users),
    ];
    if counts.items > 0 {
        lines.push(format!("items     {}", counts.items));
    }
    lines.extend(
        info.notes
            .iter()
            .map(|(note, n)| format!("note      {note}: {n}")),
    );
    lines.push(format!("licence   {}", info.licence));
    if !info.use_limits.is_empty() {
        lines.push(format!("limits    {}", info.use_limits));
    }
    lines.push(format!("cite      {}", info.citation));
    let short = |sha: &str| sha.chars().take(12).collect::<String>();
    lines.extend(info.inputs.iter().map(|input| {
        format!(
            "input     {} ({} bytes, sha256 {})",
            input.name,
            input.bytes,
            short(&input.sha256)
        )
    }));
    lines
}

/// Bytes read so far.
pub(super) struct ReadProgress {
    bar: Option<Progress>,
    shown: u64,
    quiet: bool,
}

impl ReadProgress {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            bar: None,
            shown: 0,
            quiet,
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

impl Observer for ReadProgress {
    fn input(&mut self, file: &Path) {
        tracing::debug!("reading {}", file.display());
    }

    fn progress(&mut self, done: u64, total: u64) {
        let quiet = self.quiet;
        let bar = self
            .bar
            .get_or_insert_with(|| Progress::bytes("the inputs", total as usize, quiet));
        bar.advance(done.saturating_sub(self.shown) as usize);
        self.shown = done;
    }
}
