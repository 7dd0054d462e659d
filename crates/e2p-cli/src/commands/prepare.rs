//! `e2p prepare`: raw files to a data directory.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use e2p_data::interactions::{Columns, HoldOut, Interactions, InteractionsOptions};
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::lamp::{Lamp, LampOptions};
use e2p_data::mind::{Mind, MindOptions};
use e2p_data::pens::{Pens, PensOptions};
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{
    About, DatasetInfo, Input, Observer, Overwrite, PrepareOptions, Source, SplitOptions,
    SplitRule, parse_time, prepare,
};

use crate::args::GlobalArgs;
use crate::output::Output;
use crate::progress::Progress;

/// `e2p prepare`.
#[derive(Debug, Args)]
#[command(
    after_help = "An input is PATH, or SPLIT=PATH (train, valid, test), or all=PATH for a file that is not one split.\n\
    personachat: ParlAI text, the CSV of dialogues, Synthetic-Persona-Chat CSV, the Hugging Face JSON.\n\
    pens: the directory with news.tsv, train.tsv, valid.tsv, personalized_test.tsv, or some of these files.\n\
    mind: directories with news.tsv and behaviors.tsv, such as MINDsmall_train and MINDsmall_dev.\n\
    lamp: *_questions.json with their *_outputs.json beside them, or a directory of both; one of LaMP-1 to 7 at a time.\n\
    interactions: events as CSV, TSV, JSON lines or Parquet with columns user, item and perhaps weight, time, text, tags;\n\
    or the directory of Last.fm HetRec 2011.\n\
    jsonl: lines with user, prompt (text or messages), target and perhaps candidates, profile, item, split, time."
)]
pub(crate) struct PrepareArgs {
    /// What the files are
    #[arg(value_enum)]
    pub(crate) task: PrepareTask,
    /// Files to read
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub(crate) input: Vec<String>,
    /// The data directory to write
    #[arg(long, value_name = "DATA")]
    pub(crate) out: PathBuf,
    /// Replace a data directory that is there, once the new one is complete
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep examples that repeat user, prompt and target
    #[arg(long)]
    pub(crate) keep_duplicates: bool,
    /// Longest line, quoted record or JSON element
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    pub(crate) max_line_bytes: usize,
    /// Made-up users for each training example, added to it: one text of their profile is a statement of the answer, the others are from elsewhere in
    /// the training split. For data sets with profile texts and few users
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) pseudo_users: u32,
    /// Leave candidates out (personachat, mind, lamp, jsonl)
    #[arg(long)]
    pub(crate) no_candidates: bool,
    /// Texts that a profile keeps at most; if not given, 20 for interactions, 50 for pens, mind and lamp, all for jsonl
    #[arg(long, value_name = "N")]
    pub(crate) profile_items: Option<usize>,
    /// Items of a history or a row that become training targets at most (interactions, pens, mind)
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) train_targets: usize,
    /// The prompt of every example (interactions, mind), or that around {body} (pens)
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Keep lower-cased, tokenised text as it is
    #[arg(long, help_heading = "personachat")]
    pub(crate) raw_text: bool,
    /// Contract this share of the pairs such as `I am` in a CSV of dialogues, which has no contractions where ParlAI's files have them in half of the places
    #[arg(
        long,
        default_value_t = 0,
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100),
        conflicts_with = "raw_text",
        help_heading = "personachat"
    )]
    pub(crate) contract: u8,
    /// Utterances that a prompt keeps, the latest; 0 for all
    #[arg(
        long,
        default_value_t = 5,
        value_name = "N",
        help_heading = "personachat"
    )]
    pub(crate) history: usize,
    /// Words of an article that a prompt keeps; 0 for all
    #[arg(long, default_value_t = 500, value_name = "N", help_heading = "pens")]
    pub(crate) body_words: usize,
    /// Hold out everything from some time on instead of each user's last items
    #[arg(long, help_heading = "interactions")]
    pub(crate) temporal: bool,
    /// Drop users with fewer distinct items
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        help_heading = "interactions"
    )]
    pub(crate) min_user_items: usize,
    /// Drop items with fewer distinct users
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        help_heading = "interactions"
    )]
    pub(crate) min_item_users: usize,
    /// The target: {text}, {tags} and {item} are filled in
    #[arg(
        long,
        default_value = "{text}",
        value_name = "TEMPLATE",
        help_heading = "interactions"
    )]
    pub(crate) target: String,
    /// A column's name in the files, such as user=listener_id or weight=plays; may be given several times
    #[arg(long, value_name = "FIELD=NAME", help_heading = "interactions")]
    pub(crate) column: Vec<String>,
    #[command(flatten)]
    pub(crate) split: SplitArgs,
    #[command(flatten)]
    pub(crate) about: AboutArgs,
}

/// Who decides where an example goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Splits")]
pub(crate) struct SplitArgs {
    /// Split by user, whatever the source says
    #[arg(long, conflicts_with_all = ["valid_from", "test_from"])]
    pub(crate) split_by_user: bool,
    /// Split by time: from here on it is test; a date or a number in the source's own unit
    #[arg(long, value_name = "TIME")]
    pub(crate) test_from: Option<String>,
    /// With --test-from: from here on it is validation
    #[arg(long, value_name = "TIME", requires = "test_from")]
    pub(crate) valid_from: Option<String>,
    /// Share of the users for validation, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) valid: f64,
    /// Share of the users for the test, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) test: f64,
    /// Share of the users of a given training file that go to validation instead
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) valid_from_train: f64,
}

/// What the owner of one's own files says of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "About the data")]
pub(crate) struct AboutArgs {
    /// Name of the data set
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Licence of the data
    #[arg(long, value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// What a publication should cite
    #[arg(long, value_name = "TEXT")]
    pub(crate) citation: Option<String>,
    /// What the owners ask beyond that
    #[arg(long, value_name = "TEXT")]
    pub(crate) use_limits: Option<String>,
}

/// What `e2p prepare` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrepareTask {
    /// Persona-Chat dialogues
    Personachat,
    /// Personalised headlines
    Pens,
    /// The next click on a news article
    Mind,
    /// One of the seven tasks of LaMP
    Lamp,
    /// Users and items: music, podcasts, anything
    Interactions,
    /// One's own lines: chats, questions with candidates, anything
    Jsonl,
}

/// Reads, splits and writes.
pub(crate) fn run(
    args: &PrepareArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let source = source(args)?;
    let options = PrepareOptions {
        split: SplitOptions {
            rule: split_rule(&args.split)?,
            valid: args.split.valid,
            test: args.split.test,
            valid_from_train: args.split.valid_from_train,
            seed: global.seed(),
        },
        deduplicate: !args.keep_duplicates,
        max_line_bytes: args.max_line_bytes,
        pseudo_users: args.pseudo_users,
        about: About {
            name: args.about.name.clone(),
            licence: args.about.licence.clone(),
            citation: args.about.citation.clone(),
            use_limits: args.about.use_limits.clone(),
        },
        overwrite: if args.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        },
    };
    let mut watched = ReadProgress::new(global.quiet);
    let data = prepare(&*source, &args.out, &options, &mut watched);
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

fn split_rule(args: &SplitArgs) -> anyhow::Result<SplitRule> {
    let time = |option: &str, text: &str| {
        parse_time(text).with_context(|| {
            format!("`{option}` is `{text}`, expected a whole number or a date such as 2024-05-01")
        })
    };
    Ok(match &args.test_from {
        _ if args.split_by_user => SplitRule::User,
        None => SplitRule::Source,
        Some(test_from) => {
            let test_from = time("--test-from", test_from)?;
            let valid_from = args.valid_from.as_deref();
            let valid_from = valid_from.map_or(Ok(test_from), |text| time("--valid-from", text))?;
            SplitRule::Time {
                valid_from,
                test_from,
            }
        }
    })
}

fn source(args: &PrepareArgs) -> anyhow::Result<Box<dyn Source>> {
    let inputs: Vec<Input> = args.input.iter().map(|input| Input::parse(input)).collect();
    let (targets, candidates) = (args.train_targets, !args.no_candidates);
    Ok(match args.task {
        PrepareTask::Personachat => {
            let options = PersonaChatOptions {
                restore_text: !args.raw_text,
                history: args.history,
                candidates,
                contract: args.contract,
            };
            Box::new(PersonaChat::new(inputs, options)?)
        }
        PrepareTask::Pens => {
            let default = PensOptions::default();
            let options = PensOptions {
                body_words: args.body_words,
                clicks: args.profile_items.unwrap_or(default.clicks),
                targets,
                prompt: args.prompt.clone().unwrap_or(default.prompt),
                ..PensOptions::default()
            };
            Box::new(Pens::new(inputs, options)?)
        }
        PrepareTask::Mind => {
            let default = MindOptions::default();
            let options = MindOptions {
                clicks: args.profile_items.unwrap_or(default.clicks),
                targets,
                candidates,
                prompt: args.prompt.clone().unwrap_or(default.prompt),
                ..MindOptions::default()
            };
            Box::new(Mind::new(inputs, options)?)
        }
        PrepareTask::Lamp => {
            let default = LampOptions::default();
            let options = LampOptions {
                profile_items: args.profile_items.unwrap_or(default.profile_items),
                candidates,
                max_output_bytes: args.max_line_bytes,
            };
            Box::new(Lamp::new(&inputs, options)?)
        }
        PrepareTask::Interactions => {
            let default = InteractionsOptions::default();
            let options = InteractionsOptions {
                hold_out: if args.temporal || args.split.test_from.is_some() {
                    HoldOut::Temporal
                } else {
                    HoldOut::LeaveOneOut
                },
                min_user_items: args.min_user_items,
                min_item_users: args.min_item_users,
                train_targets: targets,
                profile_items: args.profile_items.unwrap_or(default.profile_items),
                prompt: args.prompt.clone().unwrap_or(default.prompt),
                target: args.target.clone(),
                columns: columns(&args.column)?,
                ..InteractionsOptions::default()
            };
            let inputs = args.input.iter().map(Into::into).collect();
            Box::new(Interactions::new(inputs, options))
        }
        PrepareTask::Jsonl => {
            let options = JsonlOptions {
                candidates,
                profile_items: args.profile_items.unwrap_or(0),
            };
            Box::new(Jsonl::new(inputs, options))
        }
    })
}

fn columns(named: &[String]) -> anyhow::Result<Columns> {
    let mut columns = Columns::default();
    for argument in named {
        let (field, name) = argument
            .split_once('=')
            .with_context(|| format!("`--column {argument}` is not FIELD=NAME"))?;
        let column = match field {
            "user" => &mut columns.user,
            "item" => &mut columns.item,
            "weight" => &mut columns.weight,
            "time" => &mut columns.time,
            "text" => &mut columns.text,
            "tags" => &mut columns.tags,
            _ => anyhow::bail!(
                "`--column` names the field `{field}`, expected user, item, weight, time, text or tags"
            ),
        };
        name.clone_into(column);
    }
    Ok(columns)
}

/// What a data directory holds and what its owners ask, for people.
pub(crate) fn describe(info: &DatasetInfo) -> Vec<String> {
    let counts = &info.counts;
    let mut lines = vec![
        format!("{} ({})", info.name, info.task),
        format!(
            "examples  train {}, valid {}, test {}",
            counts.train, counts.valid, counts.test
        ),
        format!("users     {}", counts.users),
    ];
    if counts.items > 0 {
        lines.push(format!("items     {}", counts.items));
    }
    lines.extend(
        info.notes
            .iter()
            .map(|(note, n)| format!("note      {note}: {n}")),
    );
    lines.push(format!("licence   {}", info.licence));
    if !info.use_limits.is_empty() {
        lines.push(format!("limits    {}", info.use_limits));
    }
    lines.push(format!("cite      {}", info.citation));
    let short = |sha: &str| sha.chars().take(12).collect::<String>();
    lines.extend(info.inputs.iter().map(|input| {
        format!(
            "input     {} ({} bytes, sha256 {})",
            input.name,
            input.bytes,
            short(&input.sha256)
        )
    }));
    lines
}

/// Bytes read so far.
pub(crate) struct ReadProgress {
    bar: Option<Progress>,
    shown: u64,
    quiet: bool,
}

impl ReadProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            bar: None,
            shown: 0,
            quiet,
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

impl Observer for ReadProgress {
    fn input(&mut self, file: &Path) {
        tracing::debug!("reading {}", file.display());
    }

    fn progress(&mut self, done: u64, total: u64) {
        let quiet = self.quiet;
        let bar = self
            .bar
            .get_or_insert_with(|| Progress::bytes("the inputs", total as usize, quiet));
        bar.advance(done.saturating_sub(self.shown) as usize);
        self.shown = done;
    }
}
