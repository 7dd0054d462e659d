//! Shared parts of the benches: the model whose shape is measured, as a checkpoint too, and what
//! the process holds in memory.
#![allow(missing_docs)]

use std::borrow::Cow;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use e2p_model::{Decoder, DecoderConfig, RandomSource, WeightSource};
use safetensors::{Dtype, View};

/// The shape of SmolLM2-135M: 30 layers, d_model 576, 9 heads on 3 key/value heads, d_ff 1536,
/// vocabulary 49,152, tied head.
pub fn smollm2_135m() -> DecoderConfig {
    DecoderConfig::small_llama(49_152, 576, 30, 9, 3, 1536, 2048)
}

/// A decoder of that shape with random weights.
pub fn random_decoder(config: DecoderConfig, device: &Device) -> Decoder {
    let mut source = RandomSource::new(0, DType::F32, device);
    Decoder::from_source(config, &mut source, device, DType::F32).expect("a valid shape")
}

/// Writes a checkpoint of that shape as a Hugging Face directory with weights in bf16, a tensor at
/// a time.
///
/// # Panics
/// Where the files cannot be written.
pub fn write_checkpoint(config: &DecoderConfig, dir: &Path) {
    let mut names = Names::default();
    Decoder::from_source(config.clone(), &mut names, &Device::default(), DType::F32)
        .expect("a valid shape");
    safetensors::serialize_to_file(names.0, None, &dir.join("model.safetensors"))
        .expect("room for the weights");
    let json = config.small_llama_json();
    std::fs::write(dir.join("config.json"), json.to_string()).expect("room for the configuration");
}

/// Notes what a model asks for; the model built from it is thrown away.
#[derive(Default)]
struct Names(Vec<(String, RandomWeights)>);

impl WeightSource for Names {
    fn matrix(&mut self, parts: &[(String, usize)], cols: usize, _: bool) -> Tensor<2> {
        for (name, rows) in parts {
            self.0
                .push((name.clone(), RandomWeights(vec![*rows, cols])));
        }
        Tensor::zeros([1, 1], &Device::default())
    }

    fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1> {
        for (name, length) in parts {
            self.0.push((name.clone(), RandomWeights(vec![*length])));
        }
        Tensor::zeros([1], &Device::default())
    }
}

/// A tensor of this shape whose values are made when they are written: bf16 of either sign between
/// 2^-7 and 2^-6.
struct RandomWeights(Vec<usize>);

impl View for RandomWeights {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.0
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(self.data_len());
        for _ in 0..self.data_len() / 2 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let bits = (state >> 48) as u16 & 0x807f | 0x3c00;
            bytes.extend_from_slice(&bits.to_le_bytes());
        }
        bytes.into()
    }

    fn data_len(&self) -> usize {
        2 * self.0.iter().product::<usize>()
    }
}

/// Highest resident memory of this process so far, in MiB; 0 where the system does not say.
pub fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
