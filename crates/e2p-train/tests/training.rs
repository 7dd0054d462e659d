//! What a training run must and must not touch, how it goes on after a stop, and what it refuses.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Small, open};
use e2p_prefix::{Adapter, PromptFormat, named_tensors};
use e2p_train::burn::tensor::{Device, Int, Tensor};
use e2p_train::{Inputs, MetricsLine, Observer, Recipe, RunDir, Silent, Start, StepReport, train};

/// Every number of the backbone that a pass can show: hidden states of all layers and logits, over
/// the whole vocabulary.
fn backbone_bits(inputs: &Inputs) -> Vec<u32> {
    let decoder = &inputs.decoder;
    let n = decoder.config().vocab_size as i64;
    let ids = Tensor::<1, Int>::arange(0..n, &Device::default()).reshape([n, 1]);
    let embeds = decoder.embed_tokens(ids);
    let states = decoder.hidden_states(embeds, &[]).unwrap();
    let width = decoder.config().d_model as i64;
    let last = states.last().unwrap().clone().reshape([n, width]);
    let mut values: Vec<f32> = decoder.logits(last).into_data().try_into_vec().unwrap();
    for state in states {
        values.extend(state.into_data().try_into_vec::<f32>().unwrap());
    }
    values.into_iter().map(f32::to_bits).collect()
}

fn adapter_bytes(run: &Path) -> Vec<u8> {
    std::fs::read(RunDir::adapter_path(run).join("adapter_model.safetensors")).unwrap()
}

#[test]
fn a_step_moves_every_projector_tensor_and_no_bit_of_the_backbone() {
    let dir = tempfile::tempdir().unwrap();
    for (preset, expected) in [("linear", 4), ("mlp", 6), ("glide", 8)] {
        let recipe = Small::tiny().write(
            dir.path(),
            &[
                &format!("projector.preset={preset}"),
                "train.max_steps=1",
                "train.prefix_dropout=0.5",
                "optim.warmup_steps=0",
                "optim.schedule=constant",
            ],
        );
        let inputs = open(&recipe);
        let before = backbone_bits(&inputs);
        let run = dir.path().join(format!("run-{preset}"));
        train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
        assert_eq!(backbone_bits(&inputs), before, "the backbone is frozen");

        let adapter = Adapter::load(&RunDir::adapter_path(&run), &Device::default()).unwrap();
        let space = inputs.space(&recipe).unwrap();
        let fresh = recipe
            .projector_config(space.dim, inputs.decoder.config().d_model)
            .init(
                inputs.decoder.token_rms(),
                recipe.projector.output_gain,
                recipe.seed,
                &Device::default(),
            );
        let (before, after) = (named_tensors(&fresh), named_tensors(&adapter.projector));
        assert_eq!(before.len(), expected, "{preset}: {:?}", before.keys());
        for (name, (_, old)) in &before {
            assert_ne!(&after[name].1, old, "{preset}: `{name}` has moved");
        }
    }
}

#[test]
fn what_all_users_share_has_its_own_learning_rate() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(
        dir.path(),
        &[
            "projector.preset=glide",
            "train.max_steps=1",
            "train.prefix_dropout=0.5",
            "optim.lr=1e-3",
            "optim.shared_lr_ratio=5",
            "optim.weight_decay=0",
            "optim.warmup_steps=0",
            "optim.schedule=constant",
        ],
    );
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let adapter = Adapter::load(&RunDir::adapter_path(&run), &Device::default()).unwrap();
    let d_user = inputs.space(&recipe).unwrap().dim;
    let (token_rms, gain) = (inputs.decoder.token_rms(), recipe.projector.output_gain);
    let fresh = recipe
        .projector_config(d_user, inputs.decoder.config().d_model)
        .init(token_rms, gain, recipe.seed, &Device::default());
    let (before, after) = (named_tensors(&fresh), named_tensors(&adapter.projector));
    for (name, (_, old)) in &before {
        let moved = old.iter().zip(&after[name].1);
        let moved = moved.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Adam's first step is the learning rate, whatever the gradient.
        let is_shared = name.ends_with("bias") && !name.starts_with("input") || !name.contains('.');
        let expected = if is_shared { 5e-3 } else { 1e-3 };
        assert!(
            (moved / expected - 1.0).abs() < 0.02,
            "`{name}` moved by {moved}, expected {expected}"
        );
    }
}

#[test]
fn a_soft_prompt_trains_the_default_prefix_alone_and_needs_no_users() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(
        dir.path(),
        &["train.max_steps=2", "method=soft_prompt", "users="],
    );
    let inputs = open(&recipe);
    assert!(inputs.embeddings.is_none());
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let adapter = Adapter::load(&RunDir::adapter_path(&run), &Device::default()).unwrap();
    let fresh = recipe
        .projector_config(1, inputs.decoder.config().d_model)
        .init(
            inputs.decoder.token_rms(),
            1.0,
            recipe.seed,
            &Device::default(),
        );
    let (before, after) = (named_tensors(&fresh), named_tensors(&adapter.projector));
    for (name, (_, old)) in &before {
        assert_eq!(&after[name].1 != old, name == "default_prefix", "`{name}`");
    }
}

/// Stops after some steps.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn step(&mut self, _: &StepReport) {
        self.0 = self.0.saturating_sub(1);
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn a_run_stopped_and_resumed_again_and_again_is_the_uninterrupted_run_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    // Everything random at once: dropout, noise, contrast partners, dropped prefixes, accumulation.
    let recipe = Small::tiny().write(
        dir.path(),
        &[
            "projector.preset=glide",
            "projector.dropout=0.2",
            "train.batch_size=3",
            "train.accumulate=2",
            "train.epochs=2",
            "train.eval_every=3",
            "train.checkpoint_every=4",
            "loss.embedding_noise=0.1",
            "loss.contrast_weight=0.5",
            "loss.contrast_margin=0.1",
            "loss.distill_weight=0.2",
        ],
    );
    let inputs = open(&recipe);
    let whole = dir.path().join("whole");
    let summary = train(&recipe, &inputs, &whole, Start::Fresh, &mut Silent).unwrap();
    assert_eq!(summary.steps, 12);

    let parts = dir.path().join("parts");
    let mut start = Start::Fresh;
    for stop_after in [1, 2, 5, 3] {
        let summary = train(&recipe, &inputs, &parts, start, &mut StopAfter(stop_after)).unwrap();
        assert!(summary.is_interrupted);
        start = Start::Resume;
    }
    let summary = train(&recipe, &inputs, &parts, start, &mut Silent).unwrap();
    assert_eq!((summary.steps, summary.is_interrupted), (12, false));
    assert_eq!(adapter_bytes(&parts), adapter_bytes(&whole));
    let losses = |run: &Path| -> Vec<(usize, f64)> {
        let lines = RunDir::metrics(run).unwrap().into_iter();
        lines
            .map(|line| match line {
                MetricsLine::Step(report) => (
                    report.step,
                    report.loss + report.extra_loss + report.grad_norm,
                ),
                MetricsLine::Valid(report) => {
                    (report.step, report.valid_nll + report.valid_shuffled_nll)
                }
            })
            .collect()
    };
    assert_eq!(losses(&parts), losses(&whole));
    // A finished run that is resumed stays as it is.
    train(&recipe, &inputs, &parts, Start::Resume, &mut Silent).unwrap();
    assert_eq!(adapter_bytes(&parts), adapter_bytes(&whole));
}

#[test]
fn accumulated_small_batches_are_the_large_batch() {
    let dir = tempfile::tempdir().unwrap();
    let base = [
        "train.max_steps=1",
        "train.prefix_dropout=0",
        "train.eval_every=99",
        "optim.max_grad_norm=0",
    ];
    let first_step = |overrides: &[&str], name: &str| {
        let all: Vec<&str> = base.iter().chain(overrides).copied().collect();
        let recipe = Small::tiny().write(dir.path(), &all);
        let run = dir.path().join(name);
        train(&recipe, &open(&recipe), &run, Start::Fresh, &mut Silent).unwrap();
        match &RunDir::metrics(&run).unwrap()[0] {
            MetricsLine::Step(report) => (report.loss, report.grad_norm),
            MetricsLine::Valid(_) => unreachable!("the first line is a step"),
        }
    };
    // 36 examples: one batch, or four batches with different numbers of target tokens.
    let large = first_step(&["train.batch_size=36"], "large");
    let small = first_step(&["train.batch_size=10", "train.accumulate=4"], "small");
    // The same batch, cut by the trainer into passes of a megabyte.
    let cut = first_step(&["train.batch_size=36", "train.pass_mib=1"], "cut");
    for small in [small, cut] {
        assert!((large.0 - small.0).abs() < 1e-5, "{large:?} and {small:?}");
        assert!(
            (large.1 - small.1).abs() < 1e-4 * large.1,
            "{large:?} and {small:?}"
        );
        assert_ne!(large, small, "another order of summation");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(dir.path(), &["train.max_steps=1"]);
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let refusal = |recipe: &Recipe, inputs: &Inputs, start: Start| {
        train(recipe, inputs, &run, start, &mut Silent)
            .unwrap_err()
            .to_string()
    };

    let taken = refusal(&recipe, &inputs, Start::Fresh);
    assert!(taken.contains("already holds a run"), "{taken}");
    let other = Recipe {
        seed: 5,
        ..recipe.clone()
    };
    let other_recipe = refusal(&other, &inputs, Start::Resume);
    assert!(other_recipe.contains("seed"), "{other_recipe}");

    // A user of the data without an embedding.
    let ids = dir.path().join("users.ids.txt");
    let text = std::fs::read_to_string(&ids).unwrap();
    std::fs::write(&ids, text.replace("train-0003", "somebody")).unwrap();
    let unknown = refusal(&recipe, &open(&recipe), Start::Force);
    assert!(unknown.contains("train-0003"), "{unknown}");
    std::fs::write(&ids, text).unwrap();

    // Another backbone under the same path, on resume and in an evaluation.
    let mut small = Small::tiny();
    small.pretraining.seed = 99;
    small.write(dir.path(), &["train.max_steps=1"]);
    let inputs = open(&recipe);
    train(
        &recipe,
        &open(&recipe),
        &dir.path().join("run-2"),
        Start::Fresh,
        &mut Silent,
    )
    .unwrap();
    let error = e2p_train::evaluate(&run, &inputs, &e2p_train::EvalOptions::default(), |_| true)
        .unwrap_err()
        .to_string();
    assert!(error.contains("was trained on the backbone"), "{error}");
}

#[test]
fn a_run_directory_that_cannot_be_written_is_found_out_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(dir.path(), &["train.max_steps=1"]);
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let mut watched = StopAfter(usize::MAX);
    let error = train(
        &recipe,
        &open(&recipe),
        &file.join("run"),
        Start::Fresh,
        &mut watched,
    )
    .unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(watched.0, usize::MAX, "no step was made");
}

#[test]
fn what_a_kill_left_before_the_first_step_is_no_run_and_anything_else_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(dir.path(), &["train.max_steps=1"]);
    let inputs = open(&recipe);
    let begin = |run: &Path, start: Start| train(&recipe, &inputs, run, start, &mut Silent);
    // Killed before the recipe, which is written last.
    let killed = dir.path().join("killed");
    std::fs::create_dir_all(killed.join("checkpoints")).unwrap();
    std::fs::write(killed.join("run.json"), "{").unwrap();
    begin(&killed, Start::Fresh).unwrap();
    // Somebody's directory is never taken over, not even by force.
    let foreign = dir.path().join("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "years").unwrap();
    for start in [Start::Fresh, Start::Force] {
        let error = begin(&foreign, start).unwrap_err().to_string();
        assert!(error.contains("foreign"), "{error}");
    }
    assert!(foreign.join("thesis.tex").is_file());
}

#[test]
fn the_adapter_records_how_its_prompts_were_made() {
    let dir = tempfile::tempdir().unwrap();
    let overrides = [
        "train.max_steps=1",
        "prompt.date=2026-11-27",
        "prompt.position=start",
    ];
    let recipe = Small::tiny().write(dir.path(), &overrides);
    let run = dir.path().join("run");
    train(&recipe, &open(&recipe), &run, Start::Fresh, &mut Silent).unwrap();
    let adapter = Adapter::load(&RunDir::adapter_path(&run), &Device::default()).unwrap();
    assert_eq!(adapter.config.prompt, recipe.prompt);
    assert_eq!(adapter.config.prompt.date, "2026-11-27");
    assert_eq!(adapter.config.prompt_format, Some(PromptFormat::Chat));

    // Another day makes other prompts: such a run is not gone on with.
    let mut later = recipe.clone();
    later.prompt.date = "2026-11-28".into();
    let error = train(&later, &open(&later), &run, Start::Resume, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("prompt.date"), "{error}");
}

#[cfg(unix)]
#[test]
fn the_files_of_a_run_are_for_whom_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(dir.path(), &["train.max_steps=1"]);
    let run = dir.path().join("run");
    train(&recipe, &open(&recipe), &run, Start::Fresh, &mut Silent).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    for file in [
        "recipe.toml",
        "run.json",
        "metrics.jsonl",
        "adapter/adapter_config.json",
    ] {
        assert_eq!(mode(&run.join(file)), mode(&plain), "{file}");
    }
}
