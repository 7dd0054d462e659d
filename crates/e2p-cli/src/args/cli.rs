//! The command and its verbs. A verb's own options stand beside what it does, in `commands/`.

use clap::{Parser, Subcommand};

use super::GlobalArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::embed::EmbedCommand;
use crate::commands::eval::EvalArgs;
use crate::commands::generate::GenerateArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::man::ManArgs;
use crate::commands::prepare::PrepareArgs;
use crate::commands::pretrain::PretrainArgs;
use crate::commands::quickstart::QuickstartArgs;
use crate::commands::recipe::RecipeCommand;
use crate::commands::score::ScoreArgs;
use crate::commands::train::TrainArgs;

/// Embedding-to-Prefix: personalize a frozen language model with one vector per user.
#[derive(Debug, Parser)]
#[command(
    name = "e2p",
    version,
    long_version = crate::device::VERSION.as_str(),
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 ran but the answer is no, 2 bad usage or input, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Score given targets by their log-likelihoods
    Score(ScoreArgs),
    /// Generate text from a prompt
    Generate(GenerateArgs),
    /// Turn raw files into a data directory
    Prepare(PrepareArgs),
    /// Make user embeddings
    #[command(subcommand)]
    Embed(EmbedCommand),
    /// Train the projector that turns user embeddings into soft tokens
    Train(TrainArgs),
    /// Evaluate a trained run under every control
    Eval(EvalArgs),
    /// Train a small backbone from scratch
    Pretrain(PretrainArgs),
    /// Run the whole method on a synthetic world: nothing to download, nothing to prepare
    Quickstart(QuickstartArgs),
    /// List, show and check training recipes
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Say what a path holds
    Inspect(InspectArgs),
    /// List the compiled backends and the devices that each finds
    Devices,
    /// Write a completion script for a shell
    Completions(CompletionsArgs),
    /// Write manual pages, one for each verb
    Man(ManArgs),
}
