//! A bidirectional encoder: BERT and its kin, text in, one state for each token out.
//!
//! Attention and MLP are the decoder's; an encoder differs in seeing both ways and in normalising
//! after each block instead of before. What makes one vector of a text stands in
//! [`crate::TextEncoder`].

mod config;
mod families;
mod family;
mod relative;

use std::path::Path;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
pub(crate) use families::supported;

use self::config::EncoderConfig;
use self::family::EncoderFamily;
use self::relative::{RelativeAttention, RelativePositions};
use crate::attention::{Earlier, Pass, SelfAttention};
use crate::error::{ModelError, Result};
use crate::load::{Checkpoint, CheckpointSource, LoadOptions, LoadReport, WeightSource, read_json};
use crate::mask::Visible;
use crate::mlp::Mlp;
use crate::norm::Norm;

/// A frozen encoder. Preferred variable name: `encoder`.
#[derive(Debug, Clone)]
pub struct Encoder {
    config: EncoderConfig,
    word_embeddings: Tensor<2>,
    position_embeddings: Tensor<2>,
    /// The row of token type 0, `[1, 1, d_model]`: texts are embedded one at a time, never in
    /// pairs.
    token_type: Option<Tensor<3>>,
    relative_positions: Option<RelativePositions>,
    embeddings_norm: Norm,
    layers: Vec<EncoderLayer>,
    device: Device,
    dtype: DType,
}

#[derive(Debug, Clone)]
struct EncoderLayer {
    attention: Attention,
    attention_norm: Norm,
    mlp: Mlp,
    output_norm: Norm,
}

#[derive(Debug, Clone)]
enum Attention {
    Plain(SelfAttention),
    Relative(RelativeAttention),
}

impl Encoder {
    /// Whether a parsed `config.json` is of an encoder family.
    pub fn is_supported(config: &serde_json::Value) -> bool {
        families::is_encoder(config)
    }

    /// Loads `config.json` and `*.safetensors` of a Hugging Face directory.
    ///
    /// # Errors
    /// A model type that is no encoder family, an unsupported option, and whatever
    /// [`crate::Decoder::from_dir`] reports of files and weights.
    pub fn from_dir(
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        let (family, config) = families::parse(&read_json(dir, "config.json")?)?;
        options.check(device)?;
        let checkpoint = Checkpoint::open(dir)?;
        // `RobertaForMaskedLM` and other models around the encoder name it.
        let is_named = checkpoint
            .tensors()
            .any(|(name, _)| name.starts_with(family.names.root));
        let root = if is_named { family.names.root } else { "" };
        let mut source = CheckpointSource::new(&checkpoint, options, device);
        let dtype = options.compute_dtype(device);
        let encoder = Self::build(family, config, root, &mut source, device, dtype);
        let report = source.into_report(family.names.buffers);
        if report.is_complete() {
            Ok((encoder, report))
        } else {
            Err(ModelError::Weights {
                dir: dir.into(),
                report: Box::new(report),
            })
        }
    }

    fn build(
        family: &EncoderFamily,
        config: EncoderConfig,
        root: &str,
        source: &mut dyn WeightSource,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let (names, shape) = (&family.names, &config.shape);
        let mut table = |name: &str, rows: usize| {
            source.matrix(
                &[(format!("{root}{name}.weight"), rows)],
                shape.d_model,
                false,
            )
        };
        let word_embeddings = table(names.embed_tokens, shape.vocab_size);
        let position_embeddings = table(names.embed_positions, shape.max_seq_len);
        let token_type = (config.n_token_types > 0).then(|| {
            table(family.token_types, config.n_token_types)
                .select(0, Tensor::from_ints([0], device))
                .unsqueeze()
        });
        let relative_positions = config.has_relative_positions.then(|| {
            let path = format!("{root}{}", family.relative_positions);
            RelativePositions::load(source, &path, shape.n_heads)
        });
        let norm = |source: &mut dyn WeightSource, path: &str| {
            Norm::load(source, path, shape.d_model, shape.norm, shape.norm_eps)
        };
        let embeddings_norm = norm(source, &format!("{root}{}", names.norm));
        let layers = (0..shape.n_layers)
            .map(|layer| {
                let path = format!("{root}{}{layer}.", names.layers);
                EncoderLayer {
                    attention: if config.has_relative_positions {
                        let attention = RelativeAttention::load(source, shape, names, &path);
                        Attention::Relative(attention)
                    } else {
                        Attention::Plain(SelfAttention::load(source, shape, names, &path))
                    },
                    attention_norm: norm(source, &format!("{path}{}", names.input_layernorm)),
                    mlp: Mlp::load(source, shape, names, &path),
                    output_norm: norm(source, &format!("{path}{}", names.post_attention_layernorm)),
                }
            })
            .collect();
        Self {
            word_embeddings,
            position_embeddings,
            token_type,
            relative_positions,
            embeddings_norm,
            layers,
            device: device.clone(),
            dtype,
            config,
        }
    }

    /// Width of a state.
    pub fn d_model(&self) -> usize {
        self.config.shape.d_model
    }

    /// Longest input in tokens, special tokens included.
    pub fn max_seq_len(&self) -> usize {
        self.config.max_seq_len()
    }

    /// Rows of the word embedding matrix.
    pub fn vocab_size(&self) -> usize {
        self.config.shape.vocab_size
    }

    /// The last layer's output, `[rows, longest row, d_model]`, rows padded on the right.
    ///
    /// # Errors
    /// As [`Self::hidden_states`].
    pub fn forward<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor<3>> {
        self.pass(rows, |_| ())
    }

    /// The normalised input embeddings, then each layer's output: `n_layers + 1` tensors
    /// `[rows, longest row, d_model]`, rows padded on the right.
    ///
    /// # Errors
    /// No rows, an empty row, an id outside the vocabulary, a row longer than
    /// [`Self::max_seq_len`].
    pub fn hidden_states<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Vec<Tensor<3>>> {
        let mut states = Vec::new();
        self.pass(rows, |state| states.push(state.clone()))?;
        Ok(states)
    }

    /// The layer loop; `observe` sees the embeddings and each layer's output.
    fn pass<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        mut observe: impl FnMut(&Tensor<3>),
    ) -> Result<Tensor<3>> {
        let mut x = self.embeddings(rows)?;
        observe(&x);
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        let seq_len = x.dims()[1];
        let bias = self.relative_positions.as_ref().map(|r| r.bias(seq_len));
        let pass = Pass {
            rotation: None,
            visible: Visible::BothWays { lengths },
        };
        for layer in &self.layers {
            let attended = match (&layer.attention, &bias) {
                (Attention::Relative(attention), Some(bias)) => {
                    attention.forward(x.clone(), &pass.visible, bias)
                }
                (Attention::Relative(_), None) => unreachable!("built with relative positions"),
                (Attention::Plain(attention), _) => {
                    attention.forward(x.clone(), &pass, Earlier::None, false).0
                }
            };
            x = layer.attention_norm.forward(x + attended);
            let fed = layer.mlp.forward(x.clone(), false).0;
            x = layer.output_norm.forward(x + fed);
            observe(&x);
        }
        Ok(x)
    }

    /// Words, positions and token type, normalised: `[rows, longest row, d_model]`.
    fn embeddings<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor<3>> {
        let seq_len = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
        if rows.is_empty() || rows.iter().any(|row| row.as_ref().is_empty()) {
            return Err(ModelError::EmptyPrompt);
        }
        if seq_len > self.max_seq_len() {
            return Err(ModelError::ContextOverflow {
                needed: seq_len,
                context: self.max_seq_len(),
            });
        }
        let vocab_size = self.vocab_size();
        let mut ids = rows.iter().flat_map(AsRef::as_ref);
        if let Some(id) = ids.find(|id| **id as usize >= vocab_size) {
            return Err(ModelError::TokenId {
                id: i64::from(*id),
                vocab_size,
            });
        }
        // Padding reads row 0 of each table; nothing looks at what becomes of it.
        let table = |table: &Tensor<2>, values: &dyn Fn(&[u32]) -> Vec<i32>| {
            let padded = rows.iter().flat_map(|row| {
                let mut values = values(row.as_ref());
                values.resize(seq_len, 0);
                values
            });
            let padded = TensorData::new(padded.collect(), [rows.len() * seq_len]);
            let padded = Tensor::<1, Int>::from_data(padded, &self.device);
            let shape = [rows.len(), seq_len, self.d_model()];
            table
                .clone()
                .select(0, padded)
                .reshape(shape)
                .cast(self.dtype)
        };
        let words = table(&self.word_embeddings, &|row| {
            row.iter().map(|id| *id as i32).collect()
        });
        let positions = table(&self.position_embeddings, &|row| self.config.positions(row));
        let mut embeddings = words + positions;
        if let Some(token_type) = &self.token_type {
            embeddings = embeddings + token_type.clone().cast(self.dtype);
        }
        Ok(self.embeddings_norm.forward(embeddings))
    }
}
