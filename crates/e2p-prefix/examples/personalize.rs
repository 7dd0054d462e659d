//! The shortest real use: a frozen model answers for a user.
//!
//! `cargo run -p e2p-prefix --example personalize -- MODEL ADAPTER USERS USER`: a Hugging Face
//! directory, an adapter trained beside it (or the run that trained it), the users' embeddings, and
//! who asks.
#![allow(clippy::print_stdout)]

use e2p_data::UserEmbeddings;
use e2p_model::burn::tensor::Device;
use e2p_model::{ChatMessage, LoadOptions, SamplingConfig};
use e2p_prefix::Personalized;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [backbone, adapter, users, user] = &arguments[..] else {
        return Err("usage: personalize MODEL ADAPTER USERS USER".into());
    };
    let (options, sampling) = (LoadOptions::default(), SamplingConfig::default());
    let candidates = ["Lentils with lemon.", "A steak."];

    // ANCHOR: use
    let model = Personalized::open(backbone, adapter, &options, &Device::default())?;
    let users = UserEmbeddings::open(users)?;
    let prompt = model.chat(&[ChatMessage::user("What shall I cook?")])?;
    let prefix = model.prefix(users.space(), &users.get(user)?)?;
    let text = model.generate(&prompt, Some(&prefix), &sampling, 24)?;
    let ranked = model.log_likelihoods(&prompt, Some(&prefix), &candidates)?;
    // ANCHOR_END: use

    println!("{user}: {text}");
    for (candidate, log_likelihood) in candidates.iter().zip(ranked) {
        println!("{log_likelihood:8.3} {candidate}");
    }
    Ok(())
}
