//! `e2p train`: the projector.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use e2p_prefix::Method;
use e2p_train::{Inputs, Recipe, RunDir, Start, TrainSummary};
use serde_json::json;

use crate::args::GlobalArgs;
use crate::backbone::{load_options, resolve, warn_unused};
use crate::device;
use crate::interrupt::Interrupted;
use crate::output::Output;
use crate::personal::day;
use crate::training::TrainProgress;

/// `e2p train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C finishes the step and saves; `e2p train --resume --out RUN` continues from there, also after a crash."
)]
pub(crate) struct TrainArgs {
    /// A shipped recipe (see `e2p recipe list`) or a TOML file; with --resume by default the run's
    /// own
    #[arg(required_unless_present = "resume")]
    pub(crate) recipe: Option<String>,
    /// Change a value of the recipe, such as optim.lr=3e-4; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Continue the run in RUN
    #[arg(long, conflicts_with = "force")]
    pub(crate) resume: bool,
    /// Remove an older run in RUN first
    #[arg(long)]
    pub(crate) force: bool,
    /// Then train the `soft_prompt` control with the same budget into RUN/soft_prompt
    #[arg(long)]
    pub(crate) baseline: bool,
}

/// Where the control of a run is trained to, and looked for.
pub(crate) const SOFT_PROMPT: &str = "soft_prompt";

/// Trains what the recipe says.
pub(crate) fn run(
    args: &TrainArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let recipe = match &args.recipe {
        Some(recipe) => {
            let mut overrides = args.set.clone();
            if let Some(seed) = global.seed {
                overrides.push(format!("seed={seed}"));
            }
            Recipe::load(recipe, &overrides)?
        }
        None => {
            anyhow::ensure!(
                args.set.is_empty(),
                "--resume continues with the run's own recipe; --set would make it another one"
            );
            RunDir::recipe(&args.out)?
        }
    };
    let mut recipe = recipe;
    if recipe.prompt.date.is_empty() {
        // A run that goes on keeps the day on which it began.
        recipe.prompt.date = match RunDir::recipe(&args.out) {
            Ok(begun) if args.resume => begun.prompt.date,
            _ => day("today"),
        };
    }
    let start = match (args.resume, args.force) {
        (true, _) => Start::Resume,
        (_, true) => Start::Force,
        _ => Start::Fresh,
    };
    let inputs = open(&recipe, global)?;
    let summary = train(&recipe, &inputs, &args.out, start, global)?;
    let mut result = describe(&args.out, &summary);
    if args.baseline && recipe.method == Method::E2p {
        let recipe = Recipe {
            method: Method::SoftPrompt,
            ..recipe
        };
        let out = args.out.join(SOFT_PROMPT);
        let start = match start {
            Start::Resume if RunDir::recipe(&out).is_err() => Start::Fresh,
            start => start,
        };
        let summary = train(&recipe, &inputs, &out, start, global)?;
        result[SOFT_PROMPT] = describe(&out, &summary);
    }
    if output.is_json() {
        output.json_line(&result)
    } else {
        output.line(&args.out.join("adapter").display().to_string())
    }
}

/// Opens what a recipe names, on the device that the options ask for.
pub(crate) fn open(recipe: &Recipe, global: &GlobalArgs) -> anyhow::Result<Inputs> {
    recipe.check_paths()?;
    let chosen = device::choose(&global.device)?;
    let backbone = resolve(&recipe.backbone, global)?;
    let inputs = Inputs::open(recipe, &backbone, &load_options(global), &chosen.device)
        .context("cannot open what the recipe names")?;
    tracing::info!(
        "backend {}, device {}, backbone {} with {} parameters",
        chosen.backend,
        chosen.name,
        recipe.backbone,
        inputs.decoder.config().n_parameters()
    );
    warn_unused(&recipe.backbone, inputs.decoder.unused_tensors());
    Ok(inputs)
}

/// One run with a progress bar.
pub(crate) fn train(
    recipe: &Recipe,
    inputs: &Inputs,
    out: &Path,
    start: Start,
    global: &GlobalArgs,
) -> anyhow::Result<TrainSummary> {
    let mut progress = TrainProgress::new(global.quiet);
    let summary = e2p_train::train(recipe, inputs, out, start, &mut progress);
    progress.finish();
    let summary = summary?;
    if summary.is_interrupted {
        tracing::warn!(
            "stopped after step {} of {}, saved; continue with: e2p train --resume --out {}",
            summary.steps,
            summary.total_steps,
            out.display()
        );
        return Err(Interrupted.into());
    }
    Ok(summary)
}

fn describe(out: &Path, summary: &TrainSummary) -> serde_json::Value {
    json!({
        "run": out,
        "steps": summary.steps,
        "total_steps": summary.total_steps,
        "best_valid_nll": summary.best_valid,
    })
}
