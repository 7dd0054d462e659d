//! The verbs, one file each.

pub(crate) mod completions;
mod devices;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod prepare;
pub(crate) mod pretrain;
pub(crate) mod quickstart;
pub(crate) mod recipe;
pub(crate) mod score;
pub(crate) mod train;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::output::Output;
use crate::report::Outcome;

/// Runs the verb of `cli`.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> anyhow::Result<Outcome> {
    if let Some(threads) = cli.global.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().context("cannot start the threads")?;
    }
    match &cli.command {
        Command::Score(args) => score::run(args, &cli.global, output)?,
        Command::Generate(args) => generate::run(args, &cli.global, output)?,
        Command::Prepare(args) => prepare::run(args, &cli.global, output)?,
        Command::Embed(command) => embed::run(command, &cli.global, output)?,
        Command::Train(args) => train::run(args, &cli.global, output)?,
        Command::Eval(args) => eval::run(args, &cli.global, output)?,
        Command::Pretrain(args) => pretrain::run(args, &cli.global, output)?,
        Command::Quickstart(args) => quickstart::run(args, &cli.global, output)?,
        Command::Recipe(command) => return recipe::run(command, output),
        Command::Inspect(args) => inspect::run(args, &cli.global, output)?,
        Command::Devices => devices::run(output)?,
        Command::Completions(args) => completions::run(args, Cli::command(), output)?,
        Command::Man(args) => man::run(args, Cli::command(), output)?,
    }
    output.flush()?;
    Ok(Outcome::Done)
}
