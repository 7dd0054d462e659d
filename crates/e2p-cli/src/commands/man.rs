//! `e2p man`: manual pages from the same definitions as `--help`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};

use crate::output::Output;

/// `e2p man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory for the pages, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Writes `e2p.1` and a page for every verb.
pub(crate) fn run(args: &ManArgs, command: Command, output: &mut Output) -> anyhow::Result<()> {
    let cannot = || format!("cannot write manual pages to `{}`", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(cannot)?;
    clap_mangen::generate_to(command, &args.out).with_context(cannot)?;
    output.line(&args.out.display().to_string())
}
