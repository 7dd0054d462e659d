//! `e2p pretrain`: a small backbone from scratch.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use e2p_train::{PretrainRecipe, PretrainSummary, pretrain};

use crate::args::GlobalArgs;
use crate::device;
use crate::interrupt::{self, Interrupted};
use crate::output::Output;
use crate::training::TrainProgress;

/// `e2p pretrain`.
#[derive(Debug, Args)]
pub(crate) struct PretrainArgs {
    /// `small`, the default shape, or a TOML file with some of its keys
    pub(crate) recipe: String,
    /// Text files; paragraphs (blocks between empty lines) are documents
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) text: Vec<PathBuf>,
    /// Change a value of the recipe, such as steps=500; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the new backbone
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Trains tokenizer and backbone and writes a Hugging Face directory.
pub(crate) fn run(
    args: &PretrainArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut overrides = args.set.clone();
    if let Some(seed) = global.seed {
        overrides.push(format!("seed={seed}"));
    }
    let recipe = PretrainRecipe::load(&args.recipe, &overrides)?;
    anyhow::ensure!(
        !args.out.join("config.json").exists(),
        "`{}` already holds a backbone; give another --out",
        args.out.display()
    );
    let mut documents = Vec::new();
    for path in &args.text {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}` as UTF-8 text", path.display()))?;
        let blocks = text.split("\n\n").map(str::trim);
        documents.extend(blocks.filter(|block| !block.is_empty()).map(str::to_owned));
    }
    let summary = make(&recipe, &documents, &args.out, global)?;
    if output.is_json() {
        return output.json_line(&summary);
    }
    output.line(&args.out.display().to_string())
}

/// One pre-training with a progress bar.
pub(crate) fn make(
    recipe: &PretrainRecipe,
    documents: &[String],
    out: &Path,
    global: &GlobalArgs,
) -> anyhow::Result<PretrainSummary> {
    let chosen = device::choose(&global.device)?;
    let mut progress = TrainProgress::new(global.quiet);
    let summary = pretrain(recipe, documents, out, &chosen.device, |report| {
        let speed = report.tokens as f64 / report.seconds.max(1e-9);
        progress.show(report.step, report.total_steps, report.loss, speed);
        !interrupt::requested()
    });
    progress.finish();
    let summary = summary?;
    tracing::info!(
        "{} parameters, vocabulary {}, {} tokens of text, last loss {:.3} nats per token",
        summary.n_parameters,
        summary.vocab_size,
        summary.tokens,
        summary.loss
    );
    if summary.steps < recipe.steps {
        tracing::warn!(
            "stopped after step {} of {}; what there is was saved",
            summary.steps,
            recipe.steps
        );
        return Err(Interrupted.into());
    }
    Ok(summary)
}
