//! `e2p eval`: every condition on the same examples, as a table, `report.json` and `report.html`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use e2p_data::Split;
use e2p_train::{
    Condition, EvalOptions, EvalProgress, Inputs, RunDir, Stage, TrainError, evaluate, open_run,
};

use crate::args::GlobalArgs;
use crate::backbone::{load_options, resolve, warn_unused};
use crate::device;
use crate::interrupt::{self, Interrupted};
use crate::output::Output;
use crate::personal::day;
use crate::progress::Progress;

/// `e2p eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Directory of a finished run
    pub(crate) run: PathBuf,
    /// Conditions to compare, separated by commas; by default all that the run and its data allow
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) conditions: Vec<String>,
    /// Split to evaluate on; by default test if there is one, else valid
    #[arg(long, value_name = "SPLIT")]
    pub(crate) split: Option<String>,
    /// Only the first N examples; 0 for all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    /// Rank the candidates of at most N examples; 0 for none
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(crate) candidates: usize,
    /// Generate answers for at most N examples; 0 for none
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) generate: usize,
    /// Rank the whole catalogue for at most N examples, if items are recommended; 0 for none
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) catalogue: usize,
    /// Width of the beam search that is constrained to the catalogue; 0 for none
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) beam: usize,
    /// User vectors of a factorization as a baseline, with FILE.items.safetensors beside them; by
    /// default the run's own, if they have items
    #[arg(long, value_name = "FILE")]
    pub(crate) als: Option<PathBuf>,
    /// A run of the `soft_prompt` control; by default RUN/soft_prompt, if it exists
    #[arg(long, value_name = "RUN")]
    pub(crate) soft_prompt: Option<PathBuf>,
    /// Other user embeddings than those of training, such as a later version of the same space
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Name of the space of those embeddings, if the file does not say it
    #[arg(long, value_name = "NAME", requires = "users")]
    pub(crate) space: Option<String>,
    /// The day that chat templates read as today, as 2026-11-27, or `today`; if not given, that of
    /// training
    #[arg(long, value_name = "DAY")]
    pub(crate) date: Option<String>,
    /// Standard deviations of noise on the standardised embeddings, separated by commas: the first
    /// for every figure, all of them for a drift curve
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "S")]
    pub(crate) embedding_noise: Vec<f32>,
    /// Bootstrap resamples of the users
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) resamples: usize,
    /// Directory for report.json and report.html; by default RUN
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Evaluates the run.
pub(crate) fn run(args: &EvalArgs, global: &GlobalArgs, output: &mut Output) -> anyhow::Result<()> {
    let conditions: Result<Vec<Condition>, TrainError> =
        args.conditions.iter().map(|name| name.parse()).collect();
    let split =
        match &args.split {
            None => None,
            Some(name) => Some(Split::from_name(name).with_context(|| {
                format!("`{name}` is not a split; expected train, valid or test")
            })?),
        };
    let options = EvalOptions {
        split,
        limit: args.limit,
        conditions: conditions?,
        candidates: args.candidates,
        generate: args.generate,
        catalogue: args.catalogue,
        beam: args.beam,
        als: args.als.clone(),
        soft_prompt: args.soft_prompt.clone(),
        space: args.space.clone(),
        date: args.date.as_deref().map(day),
        embedding_noise: args.embedding_noise.clone(),
        resamples: args.resamples,
        seed: global.seed(),
        ..EvalOptions::default()
    };
    let recipe = RunDir::recipe(&args.run)?;
    let chosen = device::choose(&global.device)?;
    let backbone = resolve(&recipe.backbone, global)?;
    let inputs = open_run(
        &args.run,
        &backbone,
        args.users.as_deref(),
        &load_options(global),
        &chosen.device,
    )?;
    warn_unused(&recipe.backbone, inputs.decoder.unused_tensors());
    let out = args.out.as_ref().unwrap_or(&args.run);
    evaluate_into(&args.run, &inputs, &options, out, global, output)
}

/// Evaluates the run, writes the reports into `out` and prints the table.
pub(crate) fn evaluate_into(
    run: &Path,
    inputs: &Inputs,
    options: &EvalOptions,
    out: &Path,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut current: Option<(Option<Condition>, Stage, Progress, usize)> = None;
    let evaluation = evaluate(run, inputs, options, |progress: EvalProgress| {
        let is_same = current.as_ref().is_some_and(|(condition, stage, ..)| {
            (*condition, *stage) == (progress.condition, progress.stage)
        });
        if !is_same {
            if let Some((_, _, bar, _)) = current.take() {
                bar.finish();
            }
            let what = match progress.stage {
                Stage::Targets => "targets",
                Stage::Candidates => "candidate lists",
                Stage::Answers => "answers",
                Stage::Catalogue => "searches of the catalogue",
                Stage::Drift => "targets with noise",
            };
            let what = progress.condition.map_or_else(
                || what.to_owned(),
                |condition| format!("{what} under {condition}"),
            );
            let bar = Progress::new(&what, progress.total, global.quiet);
            current = Some((progress.condition, progress.stage, bar, 0));
        }
        if let Some((_, _, bar, shown)) = &mut current {
            bar.advance(progress.done - *shown);
            *shown = progress.done;
        }
        !interrupt::requested()
    });
    if let Some((_, _, bar, _)) = current {
        bar.finish();
    }
    let evaluation = match evaluation {
        Err(TrainError::Stopped) => return Err(Interrupted.into()),
        evaluation => evaluation?,
    };
    evaluation.write(out)?;
    if output.is_json() {
        output.json_line(&evaluation.report)
    } else {
        for table in tables(&evaluation.report.table()) {
            output.line(&table)?;
        }
        if let Some(headline) = evaluation.headline() {
            output.line(&format!("\n{headline}"))?;
        }
        samples(&evaluation.extras.samples, output)?;
        output.line(&format!("\n{}", out.join("report.html").display()))
    }
}

/// Metrics side by side in one table.
const METRICS_PER_TABLE: usize = 5;

/// Rows of text as columns, the head first; many metrics become several tables below each other.
fn tables(rows: &[Vec<String>]) -> Vec<String> {
    let n_metrics = rows.first().map_or(0, |head| head.len().saturating_sub(1));
    let blocks = (1..=n_metrics).step_by(METRICS_PER_TABLE);
    blocks
        .map(|first| {
            let columns = first..(first + METRICS_PER_TABLE).min(n_metrics + 1);
            let mut cut = rows.iter().map(|row| {
                let metrics = columns.clone().map(|column| row[column].clone());
                std::iter::once(row[0].clone())
                    .chain(metrics)
                    .collect::<Vec<_>>()
            });
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::NOTHING);
            table.set_header(cut.next().unwrap_or_default());
            // A baseline that has none of these metrics has no row.
            table.add_rows(cut.filter(|row| row[1..].iter().any(|cell| cell != "-")));
            format!("{}\n", table.trim_fmt())
        })
        .collect()
}

/// The same prompts answered for different users.
fn samples(samples: &[(String, Vec<(String, String)>)], output: &mut Output) -> anyhow::Result<()> {
    for (prompt, answers) in samples {
        output.line(&format!("\n{}", prompt.trim()))?;
        for (user, answer) in answers {
            output.line(&format!("  {user}: {answer}"))?;
        }
    }
    Ok(())
}
