//! `e2p prepare personachat`.

use clap::Args;
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};

use super::shared::{Chosen, FilesArgs, PseudoArgs};
use super::split::UserSplitArgs;

/// `e2p prepare personachat`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads ParlAI text, the CSV of dialogues, Synthetic-Persona-Chat CSV, the Hugging Face JSON."
)]
pub(super) struct PersonaChatArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Keep lower-cased, tokenised text as it is
    #[arg(long)]
    raw_text: bool,
    /// Contract this share of the pairs such as `I am` in a CSV of dialogues, which has no
    /// contractions where ParlAI's files have them in half of the places
    #[arg(
        long,
        default_value_t = 0,
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100),
        conflicts_with = "raw_text"
    )]
    contract: u8,
    /// Utterances that a prompt keeps, the latest; 0 for all
    #[arg(long, default_value_t = 5, value_name = "N")]
    history: usize,
    /// Leave candidates out
    #[arg(long)]
    no_candidates: bool,
    #[command(flatten)]
    pseudo: PseudoArgs,
    #[command(flatten)]
    split: UserSplitArgs,
}

impl PersonaChatArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen<'_>> {
        let options = PersonaChatOptions {
            restore_text: !self.raw_text,
            history: self.history,
            candidates: !self.no_candidates,
            contract: self.contract,
        };
        Ok(Chosen {
            source: Box::new(PersonaChat::new(self.files.inputs(), options)?),
            out: &self.files.out,
            split: self.split.options(),
            pseudo_users: self.pseudo.pseudo_users,
        })
    }
}
