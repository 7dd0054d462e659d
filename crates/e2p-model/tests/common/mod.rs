//! What the integration tests share: the device under test, tolerances, fixtures.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use e2p_model::burn::tensor::{DType, Device, Tensor, TensorData};
use e2p_model::{Decoder, DecoderConfig, RandomSource};

/// The device named by `BURN_DEVICE`, flex when unset.
pub fn device() -> Device {
    match std::env::var("BURN_DEVICE").as_deref() {
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(Default::default()),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        Ok("flex") | Err(_) => Device::flex(),
        Ok(other) => panic!(
            "BURN_DEVICE={other} is not compiled into this test; expected flex, or build with --features {other}"
        ),
    }
}

/// How far two computations of the same thing may differ, by device.
///
/// f32 on a CPU: rounding of sums of a few hundred terms. GPUs fuse and reorder more, and their
/// `exp` is less exact.
pub fn tolerance() -> (f32, f32) {
    if std::env::var("BURN_DEVICE").is_ok_and(|name| name != "flex") {
        (1e-3, 1e-4)
    } else {
        (1e-4, 1e-5)
    }
}

/// Asserts that two tensors agree within the device's tolerance.
///
/// The absolute part is relative to the largest element: the rounding error of a sum follows its
/// largest terms, not its result.
#[track_caller]
pub fn assert_close<const D: usize>(a: Tensor<D>, b: Tensor<D>, what: &str) {
    let (rel, abs) = tolerance();
    let largest = values(b.clone())
        .iter()
        .fold(1f32, |largest, value| largest.max(value.abs()));
    assert_close_within(a, b, rel, abs * largest, what);
}

/// Asserts `|a - b| <= abs + rel * |b|` everywhere.
#[track_caller]
pub fn assert_close_within<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    rel: f32,
    abs: f32,
    what: &str,
) {
    assert_eq!(a.dims(), b.dims(), "{what}: shapes");
    let (a, b) = (values(a), values(b));
    let worst = a
        .iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs() - (abs + rel * b.abs()))
        .map(|excess| {
            if excess.is_nan() {
                f32::INFINITY
            } else {
                excess
            }
        })
        .enumerate()
        .max_by(|x, y| x.1.total_cmp(&y.1));
    if let Some((at, excess)) = worst {
        assert!(
            excess <= 0.0,
            "{what}: element {at} is {} and should be {}",
            a[at],
            b[at]
        );
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec().unwrap()
}

/// A tiny decoder whose weights are large enough that every term shows in the logits.
pub fn tiny(config: DecoderConfig, seed: u64) -> Decoder {
    let device = device();
    let mut source = RandomSource::new(seed, DType::F32, &device).with_std(0.3);
    Decoder::from_source(config, &mut source, &device, DType::F32).unwrap()
}

/// Odd sizes, grouped heads.
pub fn tiny_llama_config() -> DecoderConfig {
    DecoderConfig {
        norm_eps: 1e-5,
        ..DecoderConfig::small_llama(37, 24, 3, 4, 2, 40, 32)
    }
}

/// One configuration for each family, differing as the families do.
pub fn tiny_configs() -> Vec<DecoderConfig> {
    use e2p_model::{MlpKind, NormKind, Positions};
    let llama = tiny_llama_config();
    vec![
        llama.clone(),
        DecoderConfig {
            model_type: "mistral".into(),
            head_dim: 10,
            tie_word_embeddings: false,
            ..llama.clone()
        },
        DecoderConfig {
            model_type: "qwen2".into(),
            qkv_bias: true,
            ..llama.clone()
        },
        DecoderConfig {
            model_type: "qwen3".into(),
            qk_norm: true,
            head_dim: 8,
            n_kv_heads: 1,
            ..llama.clone()
        },
        DecoderConfig {
            model_type: "gpt2".into(),
            n_kv_heads: 4,
            norm: NormKind::LayerNorm,
            positions: Positions::Learned,
            mlp: MlpKind::GeluTanh,
            qkv_bias: true,
            o_bias: true,
            mlp_bias: true,
            ..llama.clone()
        },
        DecoderConfig {
            model_type: "gpt2".into(),
            n_kv_heads: 4,
            norm: NormKind::LayerNorm,
            positions: Positions::Learned,
            mlp: MlpKind::Gelu,
            qkv_bias: true,
            o_bias: true,
            mlp_bias: true,
            ..llama
        },
    ]
}

/// A golden case: its directory and its reference tensors.
pub struct Golden {
    pub dir: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    pub fn open(case: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(case);
        let bytes = std::fs::read(dir.join("expected.safetensors")).unwrap();
        Self { dir, bytes }
    }

    pub fn floats<const D: usize>(&self, name: &str) -> Tensor<D> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let values: Vec<f32> = view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        Tensor::from_data(TensorData::new(values, view.shape().to_vec()), &device())
    }

    /// An integer tensor as rows along its last dimension.
    pub fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let values: Vec<u32> = view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b) as u32)
            .collect();
        values
            .chunks(*view.shape().last().unwrap())
            .map(<[u32]>::to_vec)
            .collect()
    }
}

/// Every decoder case among the fixtures.
pub const DECODER_CASES: [&str; 13] = [
    "llama",
    "llama-untied-f16",
    "llama-bf16-shards",
    "llama3-rope",
    "llama-linear-rope",
    "llama-rope-parameters",
    "llama-bias",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "gpt2-bare-keys",
    "gpt2-gelu",
];

/// The directory of a real checkpoint beside the repository, or `None` with a visible message.
pub fn shared_model(name: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/models")
        .join(name);
    if dir.join("config.json").is_file() {
        return Some(dir);
    }
    eprintln!(
        "SKIPPED: the checkpoint `{name}` is not at {}",
        dir.display()
    );
    None
}
