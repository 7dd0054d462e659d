//! Options that several verbs have.

use std::path::PathBuf;

use clap::Args;

/// The frozen model.
#[derive(Debug, Args)]
pub(crate) struct BackboneArgs {
    /// Hugging Face directory (config.json, *.safetensors, tokenizer.json), or a hub id with
    /// feature `hub`
    #[arg(long, value_name = "DIR")]
    pub(crate) backbone: String,
}

/// How prompts are made.
#[derive(Debug, Args)]
pub(crate) struct PromptArgs {
    /// Render prompts with the tokenizer's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// The day that chat templates read as today, as 2026-11-27, or `today`; if not given, that of
    /// the adapter's training, and today without an adapter
    #[arg(long, value_name = "DAY")]
    pub(crate) date: Option<String>,
}

/// A user's part.
#[derive(Debug, Args)]
#[command(next_help_heading = "Personalization")]
pub(crate) struct PersonalArgs {
    /// Adapter directory, or the run that trained it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// User embeddings of the space that the adapter was trained on
    #[arg(long, value_name = "FILE", requires = "adapter")]
    pub(crate) users: Option<PathBuf>,
    /// Name of the embedding space, if the file does not say it
    #[arg(long, value_name = "NAME", requires = "users")]
    pub(crate) space: Option<String>,
    /// Give users without an embedding the learned default prefix instead of refusing them
    #[arg(long, requires = "adapter")]
    pub(crate) cold_start: bool,
}
