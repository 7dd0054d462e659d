//! The `e2p` binary: parse, run, exit code.

mod args;
mod backbone;
mod commands;
mod device;
mod hints;
#[cfg(feature = "hub")]
mod hub;
mod interrupt;
mod lines;
mod logging;
mod output;
mod personal;
mod progress;
#[cfg(test)]
mod reference;
mod report;
mod training;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::output::Output;

/// A step makes and drops tensors of many megabytes; an allocator that gives them back to the
/// system each time pays for every page anew, which took half the time of a prefill of 512 tokens
/// (docs/LOG.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quiet_caught_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return report::usage(&usage),
    };
    logging::init(&cli.global);
    interrupt::install();
    let mut output = Output::stdout(cli.global.json);
    report::exit_code(commands::run(&cli, &mut output))
}

/// A panic of the Parquet reader becomes an error that names the file; it has nothing of its own to
/// say.
fn quiet_caught_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !e2p_data::is_catching_panics() {
            hook(info);
        }
    }));
}
