//! `e2p completions`: a script that completes verbs and options in a shell.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::output::Output;

/// Writes the script to stdout.
pub(crate) fn run(args: &CompletionsArgs, output: &mut Output) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "e2p", &mut script);
    output.bytes(&script)
}
