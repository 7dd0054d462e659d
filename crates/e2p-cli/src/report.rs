//! How a run ends: messages, hints, exit codes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::interrupt::Interrupted;
use crate::output::Closed;

/// Ran, and the answer is no.
const NO: u8 = 1;
/// Bad usage, input or environment.
const BAD_INPUT: u8 = 2;
/// Stopped by Ctrl-C; 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

/// What a verb found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what was asked.
    Done,
    /// It ran and the answer is no.
    #[allow(dead_code, reason = "for the verbs that check something")]
    No,
}

/// An error that knows what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Hinted {
    message: String,
    hint: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Hinted {
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

/// An error with a hint for the person who reads it.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted {
        message: message.into(),
        hint: hint.into(),
        source: None,
    }
    .into()
}

/// The same with the error that caused it.
#[cfg(feature = "hub")]
pub(crate) fn hinted_by(
    cause: impl std::error::Error + Send + Sync + 'static,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    Hinted {
        message: message.into(),
        hint: hint.into(),
        source: Some(Box::new(cause)),
    }
    .into()
}

/// Shows a usage error, or the help that was asked for.
pub(crate) fn usage(usage: &clap::Error) -> ExitCode {
    // Help goes to stdout, whose reader may be gone; nothing is left to say then.
    let _ = usage.print();
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(BAD_INPUT))
}

/// Shows what went wrong, if anything, and chooses the exit code.
pub(crate) fn exit_code(result: anyhow::Result<Outcome>) -> ExitCode {
    let error = match result {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::No) => return ExitCode::from(NO),
        Err(error) => error,
    };
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    if error.is::<Interrupted>() {
        return ExitCode::from(INTERRUPTED);
    }
    // If stderr is gone too, the exit code is all that can be said.
    let _ = anstream::stderr().write_all(render(&error).as_bytes());
    ExitCode::from(BAD_INPUT)
}

/// `error: …`, the causes, and the first hint of the chain.
fn render(error: &anyhow::Error) -> String {
    let mut text = format!("\x1b[1;31merror\x1b[0m: {error}\n");
    for cause in error.chain().skip(1) {
        let _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(hint) = error.chain().find_map(crate::hints::hint) {
        let _ = write!(text, "\n\x1b[1;36mhint\x1b[0m: {hint}\n");
    }
    text
}
