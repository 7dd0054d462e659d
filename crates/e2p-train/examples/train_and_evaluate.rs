//! The shortest real use: a world, a backbone, a projector, and whether the user's embedding did
//! the work.
//!
//! `cargo run --release -p e2p-train --example train_and_evaluate`; with `--tiny` everything runs
//! in a second and nothing is learned. `--out DIR` keeps the files.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use e2p_data::world::{World, WorldSize};
use e2p_model::LoadOptions;
use e2p_train::burn::tensor::Device;
use e2p_train::{
    EvalOptions, Inputs, PretrainRecipe, Recipe, Silent, Start, evaluate, pretrain, train,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_tiny = std::env::args().any(|argument| argument == "--tiny");
    let kept = std::env::args()
        .skip_while(|argument| argument != "--out")
        .nth(1);
    let dir = tempfile::tempdir()?;
    let dir = kept.map_or_else(|| dir.path().to_path_buf(), PathBuf::from);
    let place = |name: &str| dir.join(name);
    let device = Device::default();

    let size = if is_tiny {
        WorldSize {
            population: 20,
            users: [12, 4, 4],
            questions: 3,
        }
    } else {
        WorldSize::default()
    };
    let mut world = World::new(0);
    let text = world.population_text(size.population, size.questions);
    world.write(size, &place("data"), &place("users.safetensors"))?;

    let shape = PretrainRecipe {
        vocab_size: 512,
        d_model: 64,
        n_layers: 2,
        d_ff: 192,
        steps: if is_tiny { 2 } else { 500 },
        lr: 4e-3,
        ..PretrainRecipe::default()
    };
    pretrain(&shape, &text, &place("backbone"), &device, |_| true)?;

    // ANCHOR: run
    let recipe = Recipe::load(
        "synthetic",
        &[
            format!("backbone={}", place("backbone").display()),
            format!("data={}", place("data").display()),
            format!("users={}", place("users.safetensors").display()),
        ],
    )?;
    let inputs = Inputs::open(
        &recipe,
        &place("backbone"),
        &LoadOptions::default(),
        &device,
    )?;
    train(&recipe, &inputs, &place("run"), Start::Fresh, &mut Silent)?;
    let evaluation = evaluate(&place("run"), &inputs, &EvalOptions::default(), |_| true)?;
    for row in evaluation.report.table() {
        println!("{}", row[..2].join("  "));
    }
    println!("{}", evaluation.headline().unwrap_or_default());
    // ANCHOR_END: run
    Ok(())
}
