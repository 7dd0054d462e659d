//! Ctrl-C: the first asks the running verb to end at the next good moment, the second ends the process.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The verb ended early because it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Begins to listen.
pub(crate) fn install() {
    let handler = || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            #[allow(
                clippy::exit,
                reason = "the second Ctrl-C must end the process whatever it is doing"
            )]
            process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::debug!("Ctrl-C keeps its default meaning: {error}");
    }
}

/// Whether Ctrl-C was pressed.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Ends a verb between two pieces of work.
pub(crate) fn check() -> anyhow::Result<()> {
    if requested() {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}
