//! `e2p prepare lamp`.

use clap::Args;
use e2p_data::lamp::{Lamp, LampOptions};

use super::shared::{Chosen, FilesArgs, PseudoArgs};
use super::split::SplitArgs;

/// `e2p prepare lamp`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads *_questions.json with their *_outputs.json beside them, or a directory of both; one of LaMP-1 to 7 at a time."
)]
pub(super) struct LampArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Entries that a profile keeps at most, the latest; 0 for all
    #[arg(long, default_value_t = 50, value_name = "N")]
    profile_items: usize,
    /// Leave candidates out
    #[arg(long)]
    no_candidates: bool,
    #[command(flatten)]
    pseudo: PseudoArgs,
    #[command(flatten)]
    split: SplitArgs,
}

impl LampArgs {
    /// The outputs are read here, none longer than `max_output_bytes`.
    pub(super) fn choose(&self, max_output_bytes: usize) -> anyhow::Result<Chosen<'_>> {
        let options = LampOptions {
            profile_items: self.profile_items,
            candidates: !self.no_candidates,
            max_output_bytes,
        };
        Ok(Chosen {
            source: Box::new(Lamp::new(&self.files.inputs(), options)?),
            out: &self.files.out,
            split: self.split.options()?,
            pseudo_users: self.pseudo.pseudo_users,
        })
    }
}
