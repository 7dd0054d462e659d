//! Shared parts of the benches: the model whose shape is measured, and what the process holds in memory.
#![allow(missing_docs)]

use burn::tensor::{DType, Device};
use e2p_model::{Decoder, DecoderConfig, RandomSource};

/// The shape of SmolLM2-135M: 30 layers, d_model 576, 9 heads on 3 key/value heads, d_ff 1536, vocabulary 49,152, tied head.
pub fn smollm2_135m() -> DecoderConfig {
    DecoderConfig::small_llama(49_152, 576, 30, 9, 3, 1536, 2048)
}

/// A decoder of that shape with random weights.
pub fn random_decoder(config: DecoderConfig, device: &Device) -> Decoder {
    let mut source = RandomSource::new(0, DType::F32, device);
    Decoder::from_source(config, &mut source, device, DType::F32).expect("a valid shape")
}

/// Highest resident memory of this process so far, in MiB; 0 where the system does not say.
pub fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
