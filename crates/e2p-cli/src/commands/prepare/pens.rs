//! `e2p prepare pens`.

use clap::Args;
use e2p_data::pens::{Pens, PensOptions};

use super::shared::{Chosen, FilesArgs, PseudoArgs};
use super::split::SplitArgs;

/// `e2p prepare pens`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the directory with news.tsv, train.tsv, valid.tsv, personalized_test.tsv, or some of these files."
)]
pub(super) struct PensArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Words of an article that a prompt keeps; 0 for all
    #[arg(long, default_value_t = 500, value_name = "N")]
    body_words: usize,
    /// Clicks that profile and history keep at most, the latest
    #[arg(long, default_value_t = 50, value_name = "N")]
    profile_items: usize,
    /// Clicked articles of a row that become training targets at most
    #[arg(long, default_value_t = 10, value_name = "N")]
    train_targets: usize,
    /// The prompt around {body} [default: the body and `Headline:` two lines below]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    #[command(flatten)]
    pseudo: PseudoArgs,
    #[command(flatten)]
    split: SplitArgs,
}

impl PensArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen<'_>> {
        let default = PensOptions::default();
        let options = PensOptions {
            body_words: self.body_words,
            clicks: self.profile_items,
            targets: self.train_targets,
            prompt: self.prompt.clone().unwrap_or(default.prompt),
            ..PensOptions::default()
        };
        Ok(Chosen {
            source: Box::new(Pens::new(self.files.inputs(), options)?),
            out: &self.files.out,
            split: self.split.options()?,
            pseudo_users: self.pseudo.pseudo_users,
        })
    }
}
