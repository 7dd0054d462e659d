//! `e2p prepare`: raw files to a data directory.
//!
//! Each source is a sub-command with the options that it reads and no others; what all of them
//! take stands at the verb.

mod interactions;
mod jsonl;
mod lamp;
mod mind;
mod pens;
mod personachat;
mod shared;
mod shown;
mod split;

use clap::{Args, Subcommand};
use e2p_data::{About, Overwrite, PrepareOptions, SplitOptions, prepare};

use crate::args::GlobalArgs;
use crate::output::Output;
use interactions::InteractionsArgs;
use jsonl::JsonlArgs;
use lamp::LampArgs;
use mind::MindArgs;
use pens::PensArgs;
use personachat::PersonaChatArgs;
use shown::{ReadProgress, describe};

/// `e2p prepare`.
#[derive(Debug, Args)]
#[command(
    after_help = "`e2p prepare SOURCE --help` says which files a source reads and how it can be changed."
)]
pub(crate) struct PrepareArgs {
    #[command(subcommand)]
    source: PrepareCommand,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    about: AboutArgs,
}

/// What the files are.
#[derive(Debug, Subcommand)]
enum PrepareCommand {
    /// Persona-Chat dialogues
    Personachat(PersonaChatArgs),
    /// Personalised headlines
    Pens(PensArgs),
    /// The next click on a news article
    Mind(MindArgs),
    /// One of the seven tasks of LaMP
    Lamp(LampArgs),
    /// Users and items: music, podcasts, anything
    Interactions(InteractionsArgs),
    /// One's own lines: chats, questions with candidates, anything
    Jsonl(JsonlArgs),
}

/// How the directory is written, whatever the source.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every source")]
struct WritingArgs {
    /// Replace a data directory that is there, once the new one is complete
    #[arg(long, global = true)]
    force: bool,
    /// Keep examples that repeat user, prompt and target
    #[arg(long, global = true)]
    keep_duplicates: bool,
    /// Longest line, quoted record, cell or JSON element
    #[arg(long, global = true, default_value_t = 16 << 20, value_name = "BYTES")]
    max_line_bytes: usize,
}

/// What the owner of one's own files says of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "About the data")]
struct AboutArgs {
    /// Name of the data set
    #[arg(long, global = true, value_name = "TEXT")]
    name: Option<String>,
    /// Licence of the data
    #[arg(long, global = true, value_name = "TEXT")]
    licence: Option<String>,
    /// What a publication should cite
    #[arg(long, global = true, value_name = "TEXT")]
    citation: Option<String>,
    /// What the owners ask beyond that
    #[arg(long, global = true, value_name = "TEXT")]
    use_limits: Option<String>,
}

/// Reads, splits and writes.
pub(crate) fn run(
    args: &PrepareArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let chosen = match &args.source {
        PrepareCommand::Personachat(own) => own.choose()?,
        PrepareCommand::Pens(own) => own.choose()?,
        PrepareCommand::Mind(own) => own.choose()?,
        PrepareCommand::Lamp(own) => own.choose(args.writing.max_line_bytes)?,
        PrepareCommand::Interactions(own) => own.choose()?,
        PrepareCommand::Jsonl(own) => own.choose()?,
    };
    let options = PrepareOptions {
        split: SplitOptions {
            seed: global.seed(),
            ..chosen.split
        },
        deduplicate: !args.writing.keep_duplicates,
        max_line_bytes: args.writing.max_line_bytes,
        pseudo_users: chosen.pseudo_users,
        about: About {
            name: args.about.name.clone(),
            licence: args.about.licence.clone(),
            citation: args.about.citation.clone(),
            use_limits: args.about.use_limits.clone(),
        },
        overwrite: if args.writing.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        },
    };
    let mut watched = ReadProgress::new(global.quiet);
    let data = prepare(&*chosen.source, chosen.out, &options, &mut watched);
    watched.finish();
    let data = data?;
    if output.is_json() {
        return output.json_line(data.info());
    }
    for line in describe(data.info()) {
        output.line(&line)?;
    }
    Ok(())
}
