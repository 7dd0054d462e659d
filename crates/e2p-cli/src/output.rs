//! stdout, which carries the result and nothing else. The only place that writes to it.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

/// The reader of stdout went away, as `head` does. Not a failure.
#[derive(Debug, thiserror::Error)]
#[error("stdout was closed")]
pub(crate) struct Closed;

/// Writes results. Preferred variable name: `output`.
pub(crate) struct Output {
    writer: Box<dyn Write>,
    json: bool,
}

impl Output {
    /// Writes to stdout; `json` asks for one JSON document as the last line.
    pub(crate) fn stdout(json: bool) -> Self {
        Self {
            writer: Box::new(BufWriter::new(io::stdout())),
            json,
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Text as it stands, visible at once: for streams.
    pub(crate) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        check(
            self.writer
                .write_all(text.as_bytes())
                .and_then(|()| self.writer.flush()),
        )
    }

    /// Text and a line end.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        check(writeln!(self.writer, "{text}"))
    }

    /// One JSON document on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let json = serde_json::to_string(value).context("cannot write the result as JSON")?;
        self.line(&json)
    }

    /// Bytes as they stand.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        check(self.writer.write_all(bytes))
    }

    /// Hands everything to the system.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        check(self.writer.flush())
    }
}

/// Whether a person watches stderr.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("CI").is_none()
}

fn check(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        result => result.context("cannot write to stdout"),
    }
}
