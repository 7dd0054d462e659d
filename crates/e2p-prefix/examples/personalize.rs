//! The shortest real use: one user's embedding becomes a soft token and changes what a frozen model says next.
//!
//! `cargo run -p e2p-prefix --example personalize -- MODEL_DIR` on a Hugging Face directory; a random model where none is given.
#![allow(clippy::print_stdout)]

use std::path::Path;

use e2p_model::burn::tensor::{DType, Device, Tensor, TensorData};
use e2p_model::{Decoder, DecoderConfig, LoadOptions, Padding, RandomSource};
use e2p_prefix::{EmbeddingSpace, ProjectorConfig, inject};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::default();
    let decoder = match std::env::args().nth(1) {
        Some(dir) => Decoder::from_dir(Path::new(&dir), &LoadOptions::default(), &device)?.0,
        None => {
            let config = DecoderConfig::small_llama(100, 32, 2, 4, 2, 64, 64);
            Decoder::from_source(
                config,
                &mut RandomSource::new(0, DType::F32, &device),
                &device,
                DType::F32,
            )?
        }
    };
    let d_model = decoder.config().d_model;

    // ANCHOR: user
    // Made elsewhere: an embedding, and the mean and deviation of everybody's.
    let space = EmbeddingSpace::new("users-v1", vec![0.0; 8], vec![1.0; 8]);
    let projector = ProjectorConfig::new(8, d_model).init(decoder.token_rms(), 1.0, 0, &device);

    let (prompt, _) = decoder.embed_rows(&[&[1, 2, 3]], Padding::Right)?;
    for (name, embedding) in [("anna", [0.9; 8]), ("ben", [-0.9; 8])] {
        let user = space.standardise(name, &embedding)?;
        let prefix = projector.forward(Tensor::from_data(TensorData::new(user, [1, 8]), &device));
        let inputs_embeds = inject(prompt.clone(), prefix, &[1]);
        let hidden = decoder.forward_embeds(inputs_embeds, &[])?;
        let last = hidden.slice([0..1, 3..4]).reshape([1, d_model]);
        let next = decoder.logits(last).argmax(1).into_scalar::<i64>();
        println!("{name}: the next token is {next}");
    }
    // ANCHOR_END: user
    Ok(())
}
