//! A small Llama-style backbone from scratch: byte-level BPE, next-token training, saved as an ordinary Hugging Face directory.
//!
//! For the quick start, for tests, and for catalogues whose names no small public model can spell. Unlike everything else in this crate
//! it trains weights, so it runs the decoder under plain autodiff.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use e2p_model::{Decoder, DecoderConfig, TargetScores, WeightSource};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder, TokenizerImpl};

use crate::error::{Result, TrainError, io};
use crate::gradients::{clip, grad_norm};
use crate::recipe::Schedule;
use crate::schedule::LearningRates;
use crate::toml_keys::read_toml;
use crate::trainer::normal;

/// Ends every document and pads nothing: beginning and end of sequence in one, as in GPT-2.
const END_OF_TEXT: &str = "<|endoftext|>";

/// The chat format of the saved backbone, the one of small dialogue models: `User: …\nBot: …<|endoftext|>\n`.
const CHAT_TEMPLATE: &str = "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\nBot:' }}\
{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + '<|endoftext|>\n' }}{% else %}{{ m['content'] + '\n' }}{% endif %}{% endfor %}";

/// Shape and training of a small backbone. Preferred variable name: `recipe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainRecipe {
    /// Seeds weights and order.
    pub seed: u64,
    /// Tokens of the byte-level BPE, at least 257.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads.
    pub n_kv_heads: usize,
    /// Width of the MLP.
    pub d_ff: usize,
    /// Context of the saved model.
    pub max_seq_len: usize,
    /// Tokens in a training window.
    pub window: usize,
    /// Windows in a batch.
    pub batch_size: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Highest learning rate.
    pub lr: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for PretrainRecipe {
    fn default() -> Self {
        Self {
            seed: 0,
            vocab_size: 2048,
            d_model: 128,
            n_layers: 4,
            n_heads: 4,
            n_kv_heads: 2,
            d_ff: 384,
            max_seq_len: 256,
            window: 128,
            batch_size: 16,
            steps: 2000,
            lr: 2e-3,
            warmup_steps: 50,
            weight_decay: 0.05,
        }
    }
}

/// One step of pre-training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PretrainReport {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Mean loss of the batch, nats per token.
    pub loss: f64,
    /// Tokens of the batch.
    pub tokens: usize,
    /// Wall time of the step.
    pub seconds: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PretrainSummary {
    /// Steps done.
    pub steps: usize,
    /// Mean loss over the last tenth of the steps, nats per token.
    pub loss: f64,
    /// Parameters of the model.
    pub n_parameters: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Size of the vocabulary, which a small text may leave below the one asked for.
    pub vocab_size: usize,
}

impl PretrainRecipe {
    /// JSON Schema of a recipe, as [`crate::Recipe::schema`].
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// The default shape by the name `small`, or a TOML file, with overrides such as `steps=500` on top.
    ///
    /// # Errors
    /// No such file, invalid TOML, an unknown key, a size that cannot be used.
    pub fn load(name_or_path: &str, overrides: &[String]) -> Result<Self> {
        let text = match name_or_path {
            "small" => String::new(),
            path => std::fs::read_to_string(path).map_err(io(Path::new(path)))?,
        };
        let recipe: Self = read_toml(name_or_path, &text, overrides)?;
        let problems = recipe.problems();
        if problems.is_empty() {
            Ok(recipe)
        } else {
            Err(TrainError::Recipe {
                origin: name_or_path.into(),
                problems,
            })
        }
    }

    /// Every value that cannot be used, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check =
            |is_good: bool, key: &str, found: &dyn std::fmt::Display, expected: &str| {
                if !is_good {
                    problems.push(format!("`{key}` is {found}, expected {expected}"));
                }
            };
        check(
            self.vocab_size > 256,
            "vocab_size",
            &self.vocab_size,
            "at least 257: the bytes and the end of text",
        );
        check(
            self.window >= 2 && self.window <= self.max_seq_len,
            "window",
            &self.window,
            "2 to max_seq_len",
        );
        check(
            self.batch_size > 0,
            "batch_size",
            &self.batch_size,
            "1 or more",
        );
        check(self.steps > 0, "steps", &self.steps, "1 or more");
        check(
            self.n_heads > 0 && self.d_model.is_multiple_of(2 * self.n_heads.max(1)),
            "d_model",
            &self.d_model,
            "an even multiple of n_heads",
        );
        check(
            self.lr.is_finite() && self.lr > 0.0,
            "lr",
            &self.lr,
            "a positive number",
        );
        problems
    }

    fn decoder_config(&self, vocab_size: usize) -> DecoderConfig {
        DecoderConfig {
            bos_token_id: Some(0),
            eos_token_ids: vec![0],
            ..DecoderConfig::small_llama(
                vocab_size,
                self.d_model,
                self.n_layers,
                self.n_heads,
                self.n_kv_heads,
                self.d_ff,
                self.max_seq_len,
            )
        }
    }
}

/// Trains tokenizer and backbone on `documents` and writes the Hugging Face directory `out`.
///
/// `observe` sees every step and says whether to go on; when it does not, what there is by then is saved.
///
/// # Errors
/// Too little text, an unwritable directory, sizes that do not fit.
pub fn pretrain(
    recipe: &PretrainRecipe,
    documents: &[String],
    out: &Path,
    device: &Device,
    mut observe: impl FnMut(&PretrainReport) -> bool,
) -> Result<PretrainSummary> {
    let problems = recipe.problems();
    if !problems.is_empty() {
        return Err(TrainError::Recipe {
            origin: "pretrain".into(),
            problems,
        });
    }
    std::fs::create_dir_all(out).map_err(io(out))?;
    let tokenizer = train_tokenizer(recipe.vocab_size, documents, out)?;
    let mut stream = Vec::new();
    for document in documents {
        let encoding = tokenizer
            .encode(document.as_str(), false)
            .map_err(|error| TrainError::Tokenizer {
                reason: error.to_string(),
            })?;
        stream.extend(encoding.get_ids().iter().map(|id| *id as i32));
        stream.push(0);
    }
    if stream.len() <= recipe.window {
        return Err(TrainError::TextTooSmall {
            found: stream.len(),
            expected: recipe.window + 1,
        });
    }
    let vocab_size = tokenizer.get_vocab_size(true);
    let config = recipe.decoder_config(vocab_size);
    config.validate()?;

    let training = device.clone().autodiff();
    let mut weights = Weights::init(&config, recipe.seed, &training)?;
    let names = weights.names.clone();
    let mut module = weights.module.take().expect("initialised above");
    let rates = LearningRates {
        peak: recipe.lr,
        warmup_steps: recipe.warmup_steps,
        schedule: Schedule::Cosine,
        total_steps: recipe.steps,
    };
    let mut optimizer = AdamWConfig::new()
        .with_beta_2(0.95)
        .with_epsilon(1e-8)
        .with_weight_decay(recipe.weight_decay)
        .init();
    let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed ^ 0x7e47);
    let mut recent = Vec::new();
    let mut steps = 0;
    for step in 0..recipe.steps {
        let began = Instant::now();
        let starts: Vec<usize> = (0..recipe.batch_size)
            .map(|_| rng.random_range(0..stream.len() - recipe.window))
            .collect();
        let shape = [recipe.batch_size, recipe.window];
        let inputs: Vec<i32> = starts
            .iter()
            .flat_map(|start| stream[*start..start + recipe.window].iter().copied())
            .collect();
        let targets: Vec<u32> = starts
            .iter()
            .flat_map(|start| {
                stream[start + 1..=start + recipe.window]
                    .iter()
                    .map(|id| *id as u32)
            })
            .collect();

        let decoder = module.decoder(&config, &names, device)?;
        let inputs = Tensor::<2, Int>::from_data(TensorData::new(inputs, shape), device);
        let hidden = decoder
            .forward_tokens(inputs)?
            .reshape([shape[0] * shape[1], config.d_model]);
        let loss = TargetScores::new(decoder.logits(hidden), &targets)
            .log_likelihood()
            .mean()
            .neg();
        let value: f32 = loss.clone().inner().into_scalar();
        if !value.is_finite() {
            return Err(TrainError::Diverged {
                step: step + 1,
                loss: value.into(),
            });
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), &module);
        let norm = grad_norm(&module, &gradients);
        clip(&module, &mut gradients, norm, 1.0);
        module = optimizer.step(rates.at(step), module, gradients);

        steps = step + 1;
        recent.push(f64::from(value));
        let tokens = shape[0] * shape[1];
        let report = PretrainReport {
            step: steps,
            total_steps: recipe.steps,
            loss: value.into(),
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        };
        if !observe(&report) {
            break;
        }
    }
    save(&config, &module, &names, out)?;
    let tail = &recent[recent.len() - recent.len().div_ceil(10)..];
    let loss = tail.iter().sum::<f64>() / tail.len() as f64;
    Ok(PretrainSummary {
        steps,
        loss,
        n_parameters: config.n_parameters(),
        tokens: stream.len(),
        vocab_size,
    })
}

type ByteLevelBpe = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>;

/// Trains a byte-level BPE as GPT-2's and writes `tokenizer.json` with its configuration.
fn train_tokenizer(vocab_size: usize, documents: &[String], out: &Path) -> Result<ByteLevelBpe> {
    let failed = |error: tokenizers::Error| TrainError::Tokenizer {
        reason: error.to_string(),
    };
    let byte_level = ByteLevel::new(false, true, true);
    let mut tokenizer: ByteLevelBpe = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(ByteLevel::new(false, false, true)))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    tokenizer
        .train(&mut trainer, documents.iter().map(String::as_str))
        .map_err(failed)?;
    tokenizer
        .save(out.join("tokenizer.json"), false)
        .map_err(failed)?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT,
        "chat_template": CHAT_TEMPLATE,
    });
    write_json(&out.join("tokenizer_config.json"), &config)?;
    Ok(tokenizer)
}

/// The trained tensors, matrices and vectors apart because their ranks differ.
#[derive(Module, Debug)]
struct Parameters {
    matrices: Vec<Param<Tensor<2>>>,
    vectors: Vec<Param<Tensor<1>>>,
}

/// Names of the parameters as in a checkpoint, in the order of [`Parameters`].
#[derive(Debug, Clone, Default)]
struct Names {
    matrices: Vec<String>,
    vectors: Vec<String>,
}

struct Weights {
    names: Names,
    module: Option<Parameters>,
}

impl Weights {
    /// Normal with standard deviation 0.02, projections into the residual stream scaled down by depth (GPT-2), norms 1.
    fn init(config: &DecoderConfig, seed: u64, device: &Device) -> Result<Self> {
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
        Ok(Self {
            names: init.names,
            module: Some(init.parameters),
        })
    }
}

impl Parameters {
    /// A decoder over the tracked tensors: its forward pass builds the graph.
    fn decoder(&self, config: &DecoderConfig, names: &Names, device: &Device) -> Result<Decoder> {
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
fn save(config: &DecoderConfig, module: &Parameters, names: &Names, out: &Path) -> Result<()> {
    let mut tensors = e2p_prefix::NamedTensors::new();
    for (name, param) in names.matrices.iter().zip(&module.matrices) {
        let tensor = param.val().inner();
        let shape = tensor.dims().to_vec();
        tensors.insert(
            name.clone(),
            (
                shape,
                tensor
                    .into_data()
                    .try_into_vec_as::<f32>()
                    .expect("weights are f32"),
            ),
        );
    }
    for (name, param) in names.vectors.iter().zip(&module.vectors) {
        let tensor = param.val().inner();
        let shape = tensor.dims().to_vec();
        tensors.insert(
            name.clone(),
            (
                shape,
                tensor
                    .into_data()
                    .try_into_vec_as::<f32>()
                    .expect("weights are f32"),
            ),
        );
    }
    e2p_prefix::write_safetensors(&out.join("model.safetensors"), &tensors)?;
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

fn write_json(path: &Path, json: &serde_json::Value) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(json).expect("plain JSON");
    std::fs::write(path, bytes).map_err(io(path))
}
