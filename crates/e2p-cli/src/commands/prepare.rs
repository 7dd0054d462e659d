//! `e2p prepare`: raw files to a data directory.

use std::path::Path;

use anyhow::Context;
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

use crate::args::{GlobalArgs, PrepareArgs, PrepareTask, SplitArgs};
use crate::output::Output;
use crate::progress::Progress;

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
            seed: global.seed,
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
