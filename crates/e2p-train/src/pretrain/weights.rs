//! The trained weights of a backbone: made, handed to a decoder under autodiff, written as a
//! Hugging Face directory.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use e2p_data::normal;
use e2p_model::{Decoder, DecoderConfig, WeightSource};
use e2p_prefix::{NamedTensors, write_safetensors};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::error::{Result, io};

/// The trained tensors, matrices and vectors apart because their ranks differ.
#[derive(Module, Debug)]
pub(super) struct Parameters {
    matrices: Vec<Param<Tensor<2>>>,
    vectors: Vec<Param<Tensor<1>>>,
}

/// Names of the parameters as in a checkpoint, in the order of [`Parameters`].
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    matrices: Vec<String>,
    vectors: Vec<String>,
}

impl Parameters {
    /// Normal with standard deviation 0.02, projections into the residual stream scaled down by
    /// depth (GPT-2), norms 1.
    pub(super) fn init(
        config: &DecoderConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(Names, Self)> {
        struct Init<'a> {
            rng: ChaCha8Rng,
            device: &'a Device,
            residual_scale: f32,
            names: Names,
            parameters: Parameters,
        }
        impl WeightSource for Init<'_> {
            fn matrix(
                &mut self,
                parts: &[(String, usize)],
                cols: usize,
                _transposed: bool,
            ) -> Tensor<2> {
                let tensors = parts.iter().map(|(name, rows)| {
                    let is_residual =
                        name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                    let std = 0.02
                        * if is_residual {
                            self.residual_scale
                        } else {
                            1.0
                        };
                    let values: Vec<f32> = (0..rows * cols)
                        .map(|_| std * normal(&mut self.rng))
                        .collect();
                    let tensor =
                        Tensor::<2>::from_data(TensorData::new(values, [*rows, cols]), self.device)
                            .require_grad();
                    self.names.matrices.push(name.clone());
                    let id = ParamId::from(self.names.matrices.len() as u64);
                    self.parameters
                        .matrices
                        .push(Param::initialized(id, tensor.clone()));
                    tensor
                });
                Tensor::cat(tensors.collect(), 0)
            }
            fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1> {
                let tensors = parts.iter().map(|(name, len)| {
                    let tensor = Tensor::<1>::ones([*len], self.device).require_grad();
                    self.names.vectors.push(name.clone());
                    let id = ParamId::from(1_000_000 + self.names.vectors.len() as u64);
                    self.parameters
                        .vectors
                        .push(Param::initialized(id, tensor.clone()));
                    tensor
                });
                Tensor::cat(tensors.collect(), 0)
            }
        }
        let mut init = Init {
            rng: ChaCha8Rng::seed_from_u64(seed),
            device,
            residual_scale: 1.0 / (2.0 * config.n_layers as f32).sqrt(),
            names: Names::default(),
            parameters: Parameters {
                matrices: Vec::new(),
                vectors: Vec::new(),
            },
        };
        Decoder::from_source(config.clone(), &mut init, device, DType::F32)?;
        Ok((init.names, init.parameters))
    }
}

impl Parameters {
    /// A decoder over the tracked tensors: its forward pass builds the graph.
    pub(super) fn decoder(
        &self,
        config: &DecoderConfig,
        names: &Names,
        device: &Device,
    ) -> Result<Decoder> {
        struct Tracked {
            matrices: HashMap<String, Tensor<2>>,
            vectors: HashMap<String, Tensor<1>>,
        }
        impl WeightSource for Tracked {
            fn matrix(
                &mut self,
                parts: &[(String, usize)],
                _cols: usize,
                _transposed: bool,
            ) -> Tensor<2> {
                Tensor::cat(
                    parts
                        .iter()
                        .map(|(name, _)| self.matrices[name].clone())
                        .collect(),
                    0,
                )
            }
            fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1> {
                Tensor::cat(
                    parts
                        .iter()
                        .map(|(name, _)| self.vectors[name].clone())
                        .collect(),
                    0,
                )
            }
        }
        let matrices = names
            .matrices
            .iter()
            .cloned()
            .zip(self.matrices.iter().map(Param::val))
            .collect();
        let vectors = names
            .vectors
            .iter()
            .cloned()
            .zip(self.vectors.iter().map(Param::val))
            .collect();
        Ok(Decoder::from_source(
            config.clone(),
            &mut Tracked { matrices, vectors },
            device,
            DType::F32,
        )?)
    }
}

/// Writes `config.json`, `generation_config.json` and `model.safetensors`.
pub(super) fn save(
    config: &DecoderConfig,
    module: &Parameters,
    names: &Names,
    out: &Path,
) -> Result<()> {
    let matrices = names.matrices.iter().zip(&module.matrices);
    let vectors = names.vectors.iter().zip(&module.vectors);
    let tensors: NamedTensors = matrices
        .map(|(name, param)| (name.clone(), values(param.val())))
        .chain(vectors.map(|(name, param)| (name.clone(), values(param.val()))))
        .collect();
    write_safetensors(&out.join("model.safetensors"), &tensors)?;
    let mut json = config.small_llama_json();
    json["bos_token_id"] = 0.into();
    json["eos_token_id"] = 0.into();
    json["torch_dtype"] = "float32".into();
    write_json(&out.join("config.json"), &json)?;
    write_json(
        &out.join("generation_config.json"),
        &serde_json::json!({ "bos_token_id": 0, "eos_token_id": 0 }),
    )
}

/// Shape and values of a trained tensor.
fn values<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    let data = tensor.inner().into_data();
    let shape = data.shape().to_vec();
    (shape, data.try_into_vec_as().expect("weights are f32"))
}

pub(super) fn write_json(path: &Path, json: &serde_json::Value) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(json).expect("plain JSON");
    std::fs::write(path, bytes).map_err(io(path))
}
