//! `e2p quickstart`: the whole method on a synthetic world, with nothing to download and nothing to
//! prepare.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use e2p_data::world::{World, WorldSize};
use e2p_prefix::Method;
use e2p_train::{EvalOptions, PretrainRecipe, Recipe, Start};

use crate::args::GlobalArgs;
use crate::commands::{eval, pretrain, train};
use crate::output::Output;

/// `e2p quickstart`.
#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Directory for everything it makes
    #[arg(long, default_value = "e2p-quickstart", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace an older quick start in DIR
    #[arg(long)]
    pub(crate) force: bool,
}

/// Makes the world, the backbone, the projector and the report.
pub(crate) fn run(
    args: &QuickstartArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let out = &args.out;
    clear(out, args.force)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create `{}`", out.display()))?;
    let say = |step: usize, text: &str| tracing::info!("{step}/5 {text}");

    let size = WorldSize::default();
    say(1, "a world of users whose embeddings know their tastes");
    let mut world = World::new(global.seed());
    let text = world.population_text(size.population, size.questions);
    let (data, users) = (out.join("data"), out.join("users.safetensors"));
    world.write(size, &data, &users)?;

    say(
        2,
        "a small backbone, trained on other people's conversations, then frozen",
    );
    let backbone = out.join("backbone");
    pretrain::make(&backbone_recipe(global.seed()), &text, &backbone, global)?;

    say(3, "a projector from embeddings to one soft token");
    let set = |key: &str, path: &Path| format!("{key}={}", path.display());
    let overrides = [
        set("backbone", &backbone),
        set("data", &data),
        set("users", &users),
        format!("seed={}", global.seed()),
    ];
    let recipe = Recipe::load("synthetic", &overrides)?;
    let inputs = train::open(&recipe, global)?;
    let run = out.join("run");
    train::train(&recipe, &inputs, &run, Start::Fresh, global)?;

    say(4, "the control: one learned token for everybody");
    let control = Recipe {
        method: Method::SoftPrompt,
        ..recipe
    };
    train::train(
        &control,
        &inputs,
        &run.join(train::SOFT_PROMPT),
        Start::Fresh,
        global,
    )?;

    say(5, "every condition on users that training never saw");
    let options = EvalOptions {
        generate: 200,
        seed: global.seed(),
        ..EvalOptions::default()
    };
    eval::evaluate_into(&run, &inputs, &options, out, global, output)?;
    if !output.is_json() {
        let run = run.display();
        output.line(&format!(
            "\nGo on from here: e2p eval {run}, e2p inspect {run}"
        ))?;
    }
    Ok(())
}

/// A backbone that learns the world's language in seconds.
fn backbone_recipe(seed: u64) -> PretrainRecipe {
    PretrainRecipe {
        seed,
        vocab_size: 512,
        d_model: 64,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        d_ff: 192,
        max_seq_len: 192,
        window: 128,
        batch_size: 16,
        steps: 500,
        lr: 4e-3,
        ..PretrainRecipe::default()
    }
}

/// Refuses a directory with anything in it, or with `force` removes what an earlier quick start
/// left there and nothing else.
fn clear(out: &Path, force: bool) -> anyhow::Result<()> {
    const PARTS: [&str; 6] = [
        "data",
        "users.safetensors",
        "users.ids.txt",
        "backbone",
        "run",
        "report.json",
    ];
    let Ok(mut entries) = std::fs::read_dir(out) else {
        return Ok(());
    };
    if entries.next().is_none() {
        return Ok(());
    }
    if !force {
        return Err(crate::report::hinted(
            format!("`{}` is not empty", out.display()),
            "give another --out, or --force to replace an earlier quick start there",
        ));
    }
    for part in PARTS.iter().chain(&["report.html"]) {
        let path = out.join(part);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else if path.exists() {
            std::fs::remove_file(&path)
        } else {
            Ok(())
        };
        removed.with_context(|| format!("cannot remove `{}`", path.display()))?;
    }
    Ok(())
}
