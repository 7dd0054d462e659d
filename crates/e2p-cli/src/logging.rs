//! The log on stderr.

use std::io;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::args::GlobalArgs;

/// Starts logging at the level that `--quiet` and `-v` ask for; `E2P_LOG` (tracing's filter syntax)
/// wins over both.
pub(crate) fn init(global: &GlobalArgs) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let own = if global.verbose > 1 {
        format!("{level}")
    } else {
        format!("warn,e2p={level}")
    };
    let own = if global.quiet {
        "error".to_string()
    } else {
        own
    };
    let filter = EnvFilter::try_from_env("E2P_LOG").unwrap_or_else(|_| EnvFilter::new(own));
    let colored = crate::output::stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colored)
        .with_target(global.verbose > 1)
        .without_time()
        .init();
}
