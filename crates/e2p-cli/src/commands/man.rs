//! `e2p man`: manual pages from the same definitions as `--help`.

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, ManArgs};
use crate::output::Output;

/// Writes `e2p.1` and a page for every verb.
pub(crate) fn run(args: &ManArgs, output: &mut Output) -> anyhow::Result<()> {
    let cannot = || format!("cannot write manual pages to `{}`", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(cannot)?;
    clap_mangen::generate_to(Cli::command(), &args.out).with_context(cannot)?;
    output.line(&args.out.display().to_string())
}
