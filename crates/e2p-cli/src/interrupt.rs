//! Ctrl-C and SIGTERM: the first asks the running verb to end at the next good moment, a later one
//! ends the process.

use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// When the verb was asked to end.
static REQUESTED: OnceLock<Instant> = OnceLock::new();

/// Signals this close together are one request: `timeout` and batch systems send theirs to the
/// process and to its group.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// The verb ended early because it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Begins to listen.
pub(crate) fn install() {
    let handler = || {
        if REQUESTED.get_or_init(Instant::now).elapsed() > ONE_REQUEST {
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
    REQUESTED.get().is_some()
}

/// Ends a verb between two pieces of work.
pub(crate) fn check() -> anyhow::Result<()> {
    if requested() {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}
