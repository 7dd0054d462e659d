//! `gen`: the pages of `docs/reference/` that follow from code.
//!
//! The pages are rendered by tests of the command, `e2p-cli/src/reference.rs`, which know its
//! options and the recipe's keys.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::test::FEATURES;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only compare; the tests do this as well.
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let locked = workspace::locked();
    let _write = (!args.check).then(|| sh.push_env("E2P_GENERATE", "1"));
    cmd!(
        sh,
        "cargo test {locked...} --workspace {FEATURES...} --bin e2p --quiet -- reference"
    )
    .run()?;
    Ok(())
}
