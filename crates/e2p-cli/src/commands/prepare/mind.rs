//! `e2p prepare mind`.

use clap::Args;
use e2p_data::mind::{Mind, MindOptions};

use super::shared::{Chosen, FilesArgs};
use super::split::SplitArgs;

/// `e2p prepare mind`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads directories with news.tsv and behaviors.tsv, such as MINDsmall_train and MINDsmall_dev."
)]
pub(super) struct MindArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Clicks that profile and history keep at most, the latest
    #[arg(long, default_value_t = 50, value_name = "N")]
    profile_items: usize,
    /// Clicks of an impression that become targets at most
    #[arg(long, default_value_t = 10, value_name = "N")]
    train_targets: usize,
    /// The prompt of every example
    #[arg(long, default_value = "Recommend a news article:", value_name = "TEXT")]
    prompt: String,
    /// Leave candidates out
    #[arg(long)]
    no_candidates: bool,
    #[command(flatten)]
    split: SplitArgs,
}

impl MindArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen<'_>> {
        let options = MindOptions {
            clicks: self.profile_items,
            targets: self.train_targets,
            candidates: !self.no_candidates,
            prompt: self.prompt.clone(),
            ..MindOptions::default()
        };
        Ok(Chosen {
            source: Box::new(Mind::new(self.files.inputs(), options)?),
            out: &self.files.out,
            split: self.split.options()?,
            pseudo_users: 0,
        })
    }
}
