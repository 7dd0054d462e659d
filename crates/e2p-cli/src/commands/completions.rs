//! `e2p completions`: a script that completes verbs and options in a shell.

use clap::{Args, Command};

use crate::output::Output;

/// `e2p completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Writes the script to stdout.
pub(crate) fn run(
    args: &CompletionsArgs,
    mut command: Command,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "e2p", &mut script);
    output.bytes(&script)
}
