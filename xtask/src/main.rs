//! `cargo xtask`: the project's checks and chores, the same ones locally and in CI.
//!
//! One module per command. Nothing here depends on a crate of the workspace, so that a chore still
//! runs when the code it is meant to check does not compile.

mod bench;
mod ci;
mod compare;
mod docs;
mod features;
mod fuzz;
mod generate;
mod golden;
mod release;
mod safetensors;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Failed;

/// Checks and chores of the E2P workspace.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_version_flag = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything a change must pass, cheapest first.
    Ci,
    /// The tests and the doctests.
    Test(test::Args),
    /// Remake the golden fixtures from transformers.
    Golden(golden::Args),
    /// Write the reference pages that follow from code, or compare.
    Gen(generate::Args),
    /// Build the book and check its links.
    Docs,
    /// Check licences, sources and the packages of the library crates.
    Release(release::Args),
    /// Layout and style rules that no compiler checks.
    Tidy,
    /// Check every backend feature alone.
    Features(features::Args),
    /// Run the fuzz targets for a bounded time.
    Fuzz(fuzz::Args),
    /// Run the benchmarks.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = workspace::shell().and_then(|sh| match cli.command {
        Command::Ci => ci::run(&sh),
        Command::Test(args) => test::run(&sh, &args),
        Command::Golden(args) => golden::run(&sh, &args),
        Command::Gen(args) => generate::run(&sh, &args),
        Command::Docs => docs::run(&sh),
        Command::Release(args) => release::run(&sh, &args),
        Command::Tidy => tidy::run(&sh),
        Command::Features(args) => features::run(&sh, &args),
        Command::Fuzz(args) => fuzz::run(&sh, &args),
        Command::Bench(args) => bench::run(&sh, &args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // A command that xshell ran and that failed is a check that found problems, too.
            let failed = error.is::<Failed>() || error.is::<xshell::Error>();
            ExitCode::from(if failed { 1 } else { 2 })
        }
    }
}
