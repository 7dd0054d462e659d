//! `e2p eval`: every condition on the same examples, as a table, `report.json` and `report.html`.

use std::path::Path;

use anyhow::Context;
use e2p_data::Split;
use e2p_train::{
    Condition, EvalOptions, EvalProgress, Inputs, RunDir, Stage, TrainError, evaluate, open_run,
};

use crate::args::{EvalArgs, GlobalArgs};
use crate::backbone::{load_options, resolve};
use crate::device;
use crate::interrupt::{self, Interrupted};
use crate::output::Output;
use crate::progress::Progress;

/// Evaluates the run.
pub(crate) fn run(args: &EvalArgs, global: &GlobalArgs, output: &mut Output) -> anyhow::Result<()> {
    let conditions: Result<Vec<Condition>, TrainError> =
        args.conditions.iter().map(|name| name.parse()).collect();
    let split = match &args.split {
        None => None,
        Some(name) => Some(
            Split::from_name(name)
                .with_context(|| format!("`{name}` is no split; expected train, valid or test"))?,
        ),
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
        embedding_noise: args.embedding_noise.clone(),
        resamples: args.resamples,
        seed: global.seed,
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
