//! Any directory of `config.json` and `model.safetensors`: loading ends in an error or in a decoder
//! that computes.
//!
//! One input holds both files: the configuration up to the first zero byte (JSON has none), then
//! the weights.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use e2p_model::burn::tensor::{Device, Int, Tensor, TensorData};
use e2p_model::{Decoder, LoadOptions};
use libfuzzer_sys::fuzz_target;

/// One directory for the process, rewritten by every input.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("e2p-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary directory is writable");
        folder
    })
}

fuzz_target!(|bytes: &[u8]| {
    let folder = directory();
    let split = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (config, rest) = bytes.split_at(split);
    let weights = rest.get(1..).unwrap_or_default();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).expect("the temporary directory is writable")
    };
    put("config.json", config);
    put("model.safetensors", weights);
    match Decoder::from_dir(folder, &LoadOptions::default(), &Device::flex()) {
        Ok((decoder, _)) => {
            let ids = Tensor::<2, Int>::from_data(TensorData::from([[0i64, 0]]), decoder.device());
            match decoder.forward_tokens(ids) {
                Ok(hidden) => assert_eq!(hidden.dims()[..2], [1, 2]),
                // A context of one position is legal, and too short for two ids.
                Err(error) => assert!(decoder.config().max_seq_len < 2, "{error}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
