//! `e2p prepare`: raw files to a data directory.

use std::path::Path;

use e2p_data::interactions::{HoldOut, Interactions, InteractionsOptions};
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{
    DatasetInfo, Input, Observer, Overwrite, PrepareOptions, Source, SplitOptions, SplitRule,
    prepare,
};

use crate::args::{GlobalArgs, PrepareArgs, PrepareTask};
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
            rule: if args.split_by_user {
                SplitRule::User
            } else {
                SplitRule::Source
            },
            valid: args.valid,
            test: args.test,
            valid_from_train: args.valid_from_train,
            seed: global.seed,
        },
        deduplicate: !args.keep_duplicates,
        overwrite: if args.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        },
        ..PrepareOptions::default()
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

fn source(args: &PrepareArgs) -> anyhow::Result<Box<dyn Source>> {
    Ok(match args.task {
        PrepareTask::Personachat => {
            let options = PersonaChatOptions {
                restore_text: !args.raw_text,
                history: args.history,
                candidates: !args.no_candidates,
            };
            let inputs = args.input.iter().map(|input| Input::parse(input)).collect();
            Box::new(PersonaChat::new(inputs, options)?)
        }
        PrepareTask::Interactions => {
            let options = InteractionsOptions {
                hold_out: if args.temporal {
                    HoldOut::Temporal
                } else {
                    HoldOut::LeaveOneOut
                },
                min_user_items: args.min_user_items,
                min_item_users: args.min_item_users,
                train_targets: args.train_targets,
                prompt: args.prompt.clone(),
                target: args.target.clone(),
                ..InteractionsOptions::default()
            };
            let inputs = args.input.iter().map(Into::into).collect();
            Box::new(Interactions::new(inputs, options))
        }
    })
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
