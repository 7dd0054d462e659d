//! The shortest real use: load a Hugging Face directory and continue a prompt.
//!
//! `cargo run -p e2p-model --features flex,tokenizer --example greedy -- MODEL_DIR "Once upon a
//! time"`
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;

use e2p_model::burn::tensor::Device;
use e2p_model::{
    Decoder, GenerateRequest, Generator, LoadOptions, PromptInput, SamplingConfig, StopConditions,
    Tokenizer,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(prompt)) = (arguments.next(), arguments.next()) else {
        return Err("usage: greedy MODEL_DIR PROMPT".into());
    };
    let dir = Path::new(&dir);
    let tokenizer = Tokenizer::from_dir(dir)?;
    let (decoder, _) = Decoder::from_dir(dir, &LoadOptions::default(), &Device::default())?;
    let request = GenerateRequest {
        prompt: PromptInput::Ids(tokenizer.encode(&prompt, true)?),
        guidance: None,
        sampling: SamplingConfig::default(), // greedy
        stop: StopConditions {
            eos_token_ids: tokenizer.eos_token_ids(&decoder.config().eos_token_ids),
            strings: Vec::new(),
            max_new_tokens: 20,
        },
    };
    print!("{prompt}");
    Generator::new(&decoder, Some(&tokenizer)).generate(&[request], |step| {
        print!("{}", step.text);
        ControlFlow::Continue(())
    })?;
    println!();
    Ok(())
}
