//! The decoder: embeddings, a stack of layers, a final norm, a head. How it is loaded and how ids
//! become embeddings.
//!
//! What runs the layers is in `forward.rs`, the gradient in `backward.rs`. All five families run
//! through these files.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::config::{DecoderConfig, Positions};
use crate::error::{ModelError, Result};
use crate::families;
use crate::kernels;
use crate::kv_cache::KvCache;
use crate::layer::DecoderLayer;
use crate::linear::{Linear, load_matrix};
use crate::load::{Checkpoint, CheckpointSource, LoadOptions, LoadReport, WeightSource, read_json};
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::precision::MatmulPrecision;
use crate::rotary::Rotary;

/// A frozen decoder-only language model. Preferred variable name: `decoder`.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) config: DecoderConfig,
    /// `[vocab_size, d_model]`
    embed_tokens: Matrix,
    /// `[max_seq_len, d_model]` where positions are learned.
    pub(crate) embed_positions: Option<Tensor<2>>,
    pub(crate) rotary: Option<Rotary>,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: Norm,
    pub(crate) lm_head: Linear,
    device: Device,
    dtype: DType,
    /// Tensors of the checkpoint that have no place here.
    unused: Arc<[String]>,
}

/// On which side rows of unequal length are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Rows end together: for generation, where all rows go on at the same slot.
    Left,
    /// Rows begin together: for scoring and training, where no mask is needed.
    Right,
}

impl Decoder {
    /// Loads a Hugging Face directory: `config.json` and `*.safetensors`.
    ///
    /// # Errors
    /// An unsupported family or option, unreadable or malformed files, weights that do not fit (all
    /// of them listed at once), a device that does not compute in the chosen data type.
    pub fn from_dir(
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        Self::load(dir, options, device, true)
    }

    /// As [`Self::from_dir`], of files that may lack a head, as those of encoders do: logits of
    /// such a decoder mean nothing.
    pub(crate) fn without_head(
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        Self::load(dir, options, device, false)
    }

    fn load(
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
        needs_head: bool,
    ) -> Result<(Self, LoadReport)> {
        let json = read_json(dir, "config.json")?;
        let mut config = families::parse_config(&json)?;
        options.check(device)?;
        let names = families::family(&json)?.names;
        let checkpoint = Checkpoint::open(dir)?;
        let head = format!("{}.weight", names.lm_head);
        if !needs_head && !checkpoint.tensors().any(|(name, _)| name == head) {
            config.tie_word_embeddings = true;
        }
        let root = if checkpoint
            .tensors()
            .any(|(name, _)| name.starts_with(names.root))
        {
            names.root
        } else {
            ""
        };
        let mut source = CheckpointSource::new(&checkpoint, options, device);
        if config.tie_word_embeddings {
            // A tied matrix is stored once, under either name.
            source.allow_instead(
                &format!("{root}{}.weight", names.embed_tokens),
                &format!("{}.weight", names.lm_head),
            );
        }
        let dtype = options.compute_dtype(device);
        let mut decoder = Self::build(config, &names, root, &mut source, device, dtype);
        let mut ignored = names.buffers.to_vec();
        // Some checkpoints store the tied head a second time. Another one is said: transformers 5
        // takes it whatever the configuration says, transformers 4 does not.
        let embed_tokens = format!("{root}{}.weight", names.embed_tokens);
        if decoder.config.tie_word_embeddings && checkpoint.are_equal(&head, &embed_tokens) {
            ignored.push(&head);
        }
        let mut report = source.into_report(&ignored);
        if let Some(unused) = report.unused.iter_mut().find(|name| **name == head) {
            *unused = format!("{head} (not the embeddings, though tie_word_embeddings is true)");
        }
        decoder.unused = report.unused.clone().into();
        if report.is_complete() {
            Ok((decoder, report))
        } else {
            Err(ModelError::Weights {
                dir: dir.into(),
                report: Box::new(report),
            })
        }
    }

    /// Builds a decoder from any source of weights, asked by the names of a Hugging Face
    /// checkpoint.
    ///
    /// # Errors
    /// An invalid configuration or a `model_type` that is not supported.
    pub fn from_source(
        config: DecoderConfig,
        source: &mut dyn WeightSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        config.validate()?;
        let names =
            families::family(&serde_json::json!({ "model_type": config.model_type }))?.names;
        Ok(Self::build(
            config, &names, names.root, source, device, dtype,
        ))
    }

    fn build(
        config: DecoderConfig,
        names: &families::Names,
        root: &str,
        source: &mut dyn WeightSource,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let path = |name: &str| format!("{root}{name}");
        let weight = |name: &str| format!("{root}{name}.weight");
        let embed_tokens = load_matrix(
            source,
            &[(weight(names.embed_tokens), config.vocab_size)],
            config.d_model,
            false,
        );
        let (rotary, embed_positions) = match &config.positions {
            Positions::Rotary(rotary) => (Some(Rotary::new(rotary, config.head_dim)), None),
            Positions::Learned => (
                None,
                Some(source.matrix(
                    &[(weight(names.embed_positions), config.max_seq_len)],
                    config.d_model,
                    false,
                )),
            ),
        };
        let layers = (0..config.n_layers)
            .map(|layer| {
                DecoderLayer::load(
                    source,
                    &config,
                    names,
                    &path(&format!("{}{layer}.", names.layers)),
                )
            })
            .collect();
        let norm = Norm::load(
            source,
            &path(names.norm),
            config.d_model,
            config.norm,
            config.norm_eps,
        );
        let lm_head = if config.tie_word_embeddings {
            Linear::tied(embed_tokens.clone())
        } else {
            Linear::load(
                source,
                &[(names.lm_head.into(), config.vocab_size)],
                config.d_model,
                false,
                false,
            )
        };
        Self {
            config,
            embed_tokens,
            embed_positions,
            rotary,
            layers,
            norm,
            lm_head,
            device: device.clone(),
            dtype,
            unused: Arc::new([]),
        }
    }

    /// Tensors of the checkpoint that this decoder does not use, as in [`LoadReport::unused`]:
    /// whoever shows the model to a person is to say them.
    pub fn unused_tensors(&self) -> &[String] {
        &self.unused
    }

    /// The shape and the options.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The data type of computation; matrices may be stored in another one
    /// ([`LoadOptions::dtype`]).
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The name of the data type that matrices are stored in: `f32`, `f16`, `bf16` or `int8`.
    pub fn weight_dtype(&self) -> &'static str {
        self.embed_tokens.dtype_name()
    }

    /// How exactly products with the weights are computed here: [`MatmulPrecision::Medium`] only
    /// where it was asked for and makes a difference on this CPU.
    pub fn matmul_precision(&self) -> MatmulPrecision {
        if kernels::are_on(&self.device) && kernels::has_pairs() {
            self.embed_tokens.precision()
        } else {
            MatmulPrecision::Highest
        }
    }

    /// Mean over the vocabulary of the root mean square of a token embedding: the size of a row of
    /// `inputs_embeds`.
    pub fn token_rms(&self) -> f32 {
        self.embed_tokens.row_rms()
    }

    /// Looks token ids up in the embedding matrix.
    ///
    /// # Shapes
    /// - `ids`: `[batch_size, seq_len]`
    /// - output: `[batch_size, seq_len, d_model]`
    ///
    /// # Panics
    /// If an id is outside the vocabulary; [`Self::embed_rows`] checks.
    pub fn embed_tokens(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch_size, seq_len] = ids.dims();
        self.embed_tokens
            .rows(ids.reshape([batch_size * seq_len]), self.dtype)
            .reshape([batch_size, seq_len, self.config.d_model])
    }

    /// Looks up rows of unequal length, filled up on one side: `[batch_size, longest, d_model]` and
    /// the slot at which each row begins (all 0 for [`Padding::Right`]).
    ///
    /// # Errors
    /// [`ModelError::TokenId`] for an id outside the vocabulary, [`ModelError::EmptyPrompt`] when
    /// there is no row or an empty one.
    pub fn embed_rows<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        padding: Padding,
    ) -> Result<(Tensor<3>, Vec<usize>)> {
        let longest = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
        if rows.iter().any(|row| row.as_ref().is_empty()) || rows.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        let mut ids = Vec::with_capacity(rows.len() * longest);
        let mut row_starts = Vec::with_capacity(rows.len());
        for row in rows {
            let row = row.as_ref();
            if let Some(id) = row
                .iter()
                .find(|id| **id as usize >= self.config.vocab_size)
            {
                return Err(ModelError::TokenId {
                    id: i64::from(*id),
                    vocab_size: self.config.vocab_size,
                });
            }
            let gap = longest - row.len();
            let (before, after) = if padding == Padding::Left {
                (gap, 0)
            } else {
                (0, gap)
            };
            row_starts.push(before);
            ids.extend(
                std::iter::repeat_n(0, before)
                    .chain(row.iter().map(|id| *id as i32))
                    .chain(std::iter::repeat_n(0, after)),
            );
        }
        let ids = Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), &self.device);
        Ok((self.embed_tokens(ids), row_starts))
    }

    /// An empty cache for rows that begin at the given slots, with room for `capacity` slots in
    /// all.
    pub fn new_cache(&self, row_starts: Vec<usize>, capacity: usize) -> KvCache {
        let shape = [self.config.n_kv_heads, capacity, self.config.head_dim];
        KvCache::new(
            self.config.n_layers,
            row_starts,
            shape,
            self.dtype,
            &self.device,
        )
    }
}
