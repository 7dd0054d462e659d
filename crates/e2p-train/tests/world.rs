//! The method on the synthetic world, end to end and small.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::{DType, Device};
use e2p_train::{Inputs, PretrainRecipe, Recipe, Silent, Start, World, WorldSize, pretrain, train};

/// A backbone, a data directory and user embeddings in `dir`, and a recipe that names them.
fn small_world(dir: &Path) -> Recipe {
    let size = WorldSize {
        population: 200,
        users: [60, 20, 20],
        questions: 4,
    };
    let mut world = World::new(3);
    let text = world.population_text(size.population, size.questions);
    world
        .write(size, &dir.join("data"), &dir.join("users.safetensors"))
        .unwrap();
    let pretraining = PretrainRecipe {
        vocab_size: 400,
        d_model: 48,
        n_layers: 2,
        d_ff: 96,
        max_seq_len: 64,
        window: 48,
        steps: 150,
        ..PretrainRecipe::default()
    };
    pretrain(
        &pretraining,
        &text,
        &dir.join("backbone"),
        &Device::default(),
        |_| true,
    )
    .unwrap();
    let path = |name: &str| {
        format!(
            "{}={}",
            name,
            dir.join(match name {
                "users" => "users.safetensors",
                name => name,
            })
            .display()
        )
    };
    let overrides = [
        path("backbone"),
        path("data"),
        path("users"),
        "train.epochs=6".into(),
        "train.batch_size=32".into(),
        "train.checkpoint_every=7".into(),
    ];
    Recipe::load("synthetic", &overrides).unwrap()
}

#[test]
fn training_helps_strangers_and_only_with_their_own_embedding() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = small_world(dir.path());
    let inputs = Inputs::open(&recipe, DType::F32, &Device::default()).unwrap();
    let run = dir.path().join("run");
    let summary = train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    assert!(!summary.is_interrupted);
    let metrics = e2p_train::RunDir::metrics(&run).unwrap();
    let valid: Vec<_> = metrics
        .iter()
        .filter_map(|line| match line {
            e2p_train::MetricsLine::Valid(report) => {
                Some((report.valid_nll, report.valid_shuffled_nll))
            }
            e2p_train::MetricsLine::Step(_) => None,
        })
        .collect();
    let (own, shuffled) = *valid.last().unwrap();
    println!("{valid:?}");
    assert!(own < valid[0].0 - 0.02, "validation improves: {valid:?}");
    assert!(
        own < shuffled - 0.02,
        "and only for the right user: {valid:?}"
    );
}
