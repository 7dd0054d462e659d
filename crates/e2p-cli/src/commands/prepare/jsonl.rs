//! `e2p prepare jsonl`.

use clap::Args;
use e2p_data::jsonl::{Jsonl, JsonlOptions};

use super::shared::{Chosen, FilesArgs, PseudoArgs};
use super::split::SplitArgs;

/// `e2p prepare jsonl`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads lines with user, prompt (text or messages), target and perhaps candidates, profile, item, split, time."
)]
pub(super) struct JsonlArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Texts that a profile keeps at most, the first; 0 for all
    #[arg(long, default_value_t = 0, value_name = "N")]
    profile_items: usize,
    /// Leave candidates out
    #[arg(long)]
    no_candidates: bool,
    #[command(flatten)]
    pseudo: PseudoArgs,
    #[command(flatten)]
    split: SplitArgs,
}

impl JsonlArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen<'_>> {
        let options = JsonlOptions {
            candidates: !self.no_candidates,
            profile_items: self.profile_items,
        };
        Ok(Chosen {
            source: Box::new(Jsonl::new(self.files.inputs(), options)),
            out: &self.files.out,
            split: self.split.options()?,
            pseudo_users: self.pseudo.pseudo_users,
        })
    }
}
