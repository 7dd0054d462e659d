//! What several sources have.

use std::path::{Path, PathBuf};

use clap::Args;
use e2p_data::{Input, Source, SplitOptions};

/// Where a source is and where it goes.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// Files to read: PATH, or SPLIT=PATH (train, valid, test) where the name does not say it, or
    /// all=PATH for a file that is not one split
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub(super) input: Vec<String>,
    /// The data directory to write
    #[arg(long, value_name = "DATA")]
    pub(super) out: PathBuf,
}

impl FilesArgs {
    pub(super) fn inputs(&self) -> Vec<Input> {
        self.input.iter().map(|input| Input::parse(input)).collect()
    }
}

/// Users made from others, for the sources whose answers speak of the user.
#[derive(Debug, Args)]
pub(super) struct PseudoArgs {
    /// Pseudo-users for each training example, added to it: one text of their profile is a
    /// statement of the answer, the others are from elsewhere in the training split. For data sets
    /// with profile texts and few users
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) pseudo_users: u32,
}

/// A source, and those of the options of every preparation that the source has a say in.
pub(super) struct Chosen<'a> {
    pub(super) source: Box<dyn Source>,
    pub(super) out: &'a Path,
    pub(super) split: SplitOptions,
    pub(super) pseudo_users: u32,
}
