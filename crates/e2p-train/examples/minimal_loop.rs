//! The smallest training loop: users' embeddings in, an adapter out.
//!
//! `cargo run --release -p e2p-train --example minimal_loop -- BACKBONE DATA USERS OUT`
//! The production loop is `e2p_train::train` (src/trainer/): it adds schedules, prefix dropout,
//! validation, checkpoints and bit-equal resume to these steps.
#![allow(clippy::print_stdout)]

use std::path::Path;

use e2p_data::Split;
use e2p_model::{Keep, LoadOptions, TargetScores};
use e2p_prefix::{Adapter, AdapterConfig, FORMAT_VERSION, Method, ProjectorConfig, SplicedBatch};
use e2p_train::burn::module::Module;
use e2p_train::burn::optim::{AdamWConfig, GradientsParams};
use e2p_train::burn::tensor::Device;
use e2p_train::{Inputs, Recipe, UserTable};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [backbone, data, users, out] = &arguments[..] else {
        return Err("usage: minimal_loop BACKBONE DATA USERS OUT".into());
    };
    let recipe = Recipe {
        data: data.clone(),
        users: users.clone(),
        ..Recipe::default()
    };
    let device = Device::default();
    let inputs = Inputs::open(
        &recipe,
        Path::new(backbone),
        &LoadOptions::default(),
        &device,
    )?;
    let decoder = &inputs.decoder;
    let mut users = UserTable::new(inputs.space(&recipe)?);
    let training = inputs.tokenize(&recipe, Split::Train, 0, &mut users)?;

    // The only trained part.
    let config = ProjectorConfig::new(users.space().dim, decoder.config().d_model);
    let mut projector = config.init(decoder.token_rms(), 1.0, 0, &device.clone().autodiff());
    let mut optimizer = AdamWConfig::new().init();
    for (step, batch) in training.examples.chunks(8).enumerate() {
        let rows: Vec<_> = batch.iter().map(|example| example.row.clone()).collect();
        let numbers: Vec<usize> = batch.iter().map(|example| example.user).collect();
        // Project the embeddings, splice the soft tokens in, run the frozen stack.
        let prefix = projector.forward(users.batch(&numbers, &device));
        let spliced = SplicedBatch::new(decoder, &rows, None)?;
        let frozen = Some(prefix.clone().inner());
        let (logits, tape) = spliced.forward(decoder, frozen, Keep::Activations)?;
        let scores = TargetScores::new(logits, spliced.targets());
        let loss = scores.log_likelihood().mean().neg().into_scalar::<f32>();
        println!("step {step}: {loss:.3} nats per target token");
        // Back through the frozen stack to the soft tokens, and from there into the projector.
        let n_targets = spliced.targets().len();
        let d_logits = scores.backward(&vec![1.0 / n_targets as f32; n_targets]);
        let d_prefix = spliced.backward(decoder, tape, d_logits);
        let gradients = (prefix * d_prefix).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &projector);
        projector = optimizer.step(1e-3, projector, gradients);
    }

    let adapter = Adapter {
        config: AdapterConfig {
            format_version: FORMAT_VERSION,
            peft_type: "E2P".into(),
            method: Method::E2p,
            base_model_name_or_path: backbone.clone(),
            backbone: inputs.backbone.clone(),
            projector: config,
            prompt: recipe.prompt,
            prompt_format: Some(training.format),
            embedding_space: users.space().clone(),
            recipe_hash: String::new(),
        },
        projector: projector.valid(),
    };
    std::fs::create_dir_all(out)?;
    Ok(adapter.save(Path::new(out))?)
}
