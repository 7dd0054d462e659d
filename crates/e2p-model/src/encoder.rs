//! A sentence encoder: BERT layers, mean pooling, L2 norm (sentence-transformers' `all-MiniLM-L6-v2` and its kin).
//!
//! Attention and MLP are the decoder's; BERT differs in seeing both ways and in normalising after each block instead of before.

use std::path::Path;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde_json::Value;

use crate::attention::{Earlier, Pass, SelfAttention};
use crate::config::{DecoderConfig, MlpKind, NormKind, Positions};
use crate::error::{ModelError, Result};
use crate::families::Names;
use crate::families::wire::Wire;
use crate::load::{Checkpoint, CheckpointSource, LoadOptions, LoadReport, WeightSource, read_json};
use crate::mask::Visible;
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::text_encoder::unit_means;

/// Names within a layer; the embedding names are BERT's alone and stand in [`SentenceEncoder::build`].
const NAMES: Names = Names {
    root: "bert.",
    embed_tokens: "embeddings.word_embeddings",
    embed_positions: "embeddings.position_embeddings",
    layers: "encoder.layer.",
    input_layernorm: "attention.output.LayerNorm",
    qkv_proj: &[
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    q_norm: "",
    k_norm: "",
    o_proj: "attention.output.dense",
    post_attention_layernorm: "output.LayerNorm",
    up_proj: &["intermediate.dense"],
    down_proj: "output.dense",
    norm: "embeddings.LayerNorm",
    lm_head: "",
    transposed: false,
    buffers: &[
        "embeddings.position_ids",
        "pooler.dense.weight",
        "pooler.dense.bias",
    ],
};

/// A frozen sentence encoder. Preferred variable name: `encoder`.
#[derive(Debug, Clone)]
pub struct SentenceEncoder {
    config: DecoderConfig,
    word_embeddings: Tensor<2>,
    position_embeddings: Tensor<2>,
    /// The row of token type 0, `[1, 1, d_model]`: sentences are embedded one at a time, never in pairs.
    token_type: Tensor<3>,
    embeddings_norm: Norm,
    layers: Vec<EncoderLayer>,
    max_seq_len: usize,
    device: Device,
    dtype: DType,
}

#[derive(Debug, Clone)]
struct EncoderLayer {
    attention: SelfAttention,
    attention_norm: Norm,
    mlp: Mlp,
    output_norm: Norm,
}

impl SentenceEncoder {
    /// Loads a sentence-transformers directory: `config.json`, `*.safetensors`, and where present `modules.json`,
    /// `1_Pooling/config.json` and `sentence_bert_config.json`.
    ///
    /// # Errors
    /// A model type other than `bert`, a pooling other than the mean, and whatever [`crate::Decoder::from_dir`] reports.
    pub fn from_dir(
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        let json = read_json(dir, "config.json")?;
        let (config, n_token_types) = parse_config(&json)?;
        check_pooling(dir)?;
        let max_seq_len = max_seq_len(dir, config.max_seq_len)?;
        let checkpoint = Checkpoint::open(dir)?;
        let root = if checkpoint
            .tensors()
            .any(|(name, _)| name.starts_with(NAMES.root))
        {
            NAMES.root
        } else {
            ""
        };
        options.check(device)?;
        let mut source = CheckpointSource::new(&checkpoint, options, device);
        let encoder = Self::build(
            config,
            n_token_types,
            max_seq_len,
            root,
            &mut source,
            device,
            options.compute_dtype(device),
        );
        let report = source.into_report(NAMES.buffers);
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
        config: DecoderConfig,
        n_token_types: usize,
        max_seq_len: usize,
        root: &str,
        source: &mut dyn WeightSource,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let mut table = |name: &str, rows: usize| {
            source.matrix(
                &[(format!("{root}{name}.weight"), rows)],
                config.d_model,
                false,
            )
        };
        let word_embeddings = table(NAMES.embed_tokens, config.vocab_size);
        let position_embeddings = table(NAMES.embed_positions, config.max_seq_len);
        let token_type = table("embeddings.token_type_embeddings", n_token_types)
            .select(0, Tensor::from_ints([0], device))
            .unsqueeze();
        let norm = |source: &mut dyn WeightSource, path: &str| {
            Norm::load(source, path, config.d_model, config.norm, config.norm_eps)
        };
        let embeddings_norm = norm(source, &format!("{root}{}", NAMES.norm));
        let layers = (0..config.n_layers)
            .map(|layer| {
                let path = format!("{root}{}{layer}.", NAMES.layers);
                EncoderLayer {
                    attention: SelfAttention::load(source, &config, &NAMES, &path),
                    attention_norm: norm(source, &format!("{path}{}", NAMES.input_layernorm)),
                    mlp: Mlp::load(source, &config, &NAMES, &path),
                    output_norm: norm(source, &format!("{path}{}", NAMES.post_attention_layernorm)),
                }
            })
            .collect();
        let device = device.clone();
        Self {
            config,
            word_embeddings,
            position_embeddings,
            token_type,
            embeddings_norm,
            layers,
            max_seq_len,
            device,
            dtype,
        }
    }

    /// Width of an embedding.
    pub fn d_model(&self) -> usize {
        self.config.d_model
    }

    /// Longest input in tokens, special tokens included; longer texts are to be truncated by the tokenizer.
    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// Rows of the word embedding matrix.
    pub fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    /// Embeddings of unit length, one for each row of token ids (special tokens included): `[rows.len(), d_model]`, f32.
    ///
    /// # Errors
    /// An empty row, an id outside the vocabulary, a row longer than [`Self::max_seq_len`].
    pub fn embed<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Tensor<2>> {
        let states = self.hidden_states(rows)?;
        let last = states
            .into_iter()
            .last()
            .expect("the embeddings are always there");
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        Ok(unit_means(last, &lengths))
    }

    /// The normalised input embeddings, then each layer's output: `n_layers + 1` tensors `[rows, longest row, d_model]`, rows padded on
    /// the right.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn hidden_states<R: AsRef<[u32]>>(&self, rows: &[R]) -> Result<Vec<Tensor<3>>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        if lengths.contains(&0) || rows.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if seq_len > self.max_seq_len {
            return Err(ModelError::ContextOverflow {
                needed: seq_len,
                context: self.max_seq_len,
            });
        }
        let vocab_size = self.config.vocab_size;
        if let Some(id) = rows
            .iter()
            .flat_map(AsRef::as_ref)
            .find(|id| **id as usize >= vocab_size)
        {
            return Err(ModelError::TokenId {
                id: i64::from(*id),
                vocab_size,
            });
        }
        let ids: Vec<i32> = rows
            .iter()
            .flat_map(|row| {
                let row = row.as_ref();
                row.iter()
                    .map(|id| *id as i32)
                    .chain(std::iter::repeat_n(0, seq_len - row.len()))
            })
            .collect();
        let ids =
            Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len() * seq_len]), &self.device);
        let words = self.word_embeddings.clone().select(0, ids).reshape([
            rows.len(),
            seq_len,
            self.config.d_model,
        ]);
        let positions = self
            .position_embeddings
            .clone()
            .slice(burn::tensor::s![..seq_len, ..])
            .unsqueeze();
        let pass = Pass {
            rotation: None,
            visible: Visible::BothWays { lengths },
        };
        let mut x = self.embeddings_norm.forward(
            words.cast(self.dtype)
                + positions.cast(self.dtype)
                + self.token_type.clone().cast(self.dtype),
        );
        let mut states = vec![x.clone()];
        for layer in &self.layers {
            let attended = layer
                .attention
                .forward(x.clone(), &pass, Earlier::None, false)
                .0;
            x = layer.attention_norm.forward(x + attended);
            x = layer
                .output_norm
                .forward(x.clone() + layer.mlp.forward(x, false).0);
            states.push(x.clone());
        }
        Ok(states)
    }
}

/// The shape of the encoder in the decoder's terms, and its number of token types.
fn parse_config(json: &Value) -> Result<(DecoderConfig, usize)> {
    let wire = Wire {
        model_type: "bert",
        json,
    };
    let found = wire.text_or("model_type", "(none)")?;
    if found != "bert" {
        return Err(ModelError::ModelType {
            found,
            supported: "bert".into(),
        });
    }
    wire.refuse_quantized()?;
    wire.only("position_embedding_type", &["absolute".into()])?;
    wire.only("is_decoder", &[false.into()])?;
    let mlp = match wire.text_or("hidden_act", "gelu")?.as_str() {
        "gelu" => MlpKind::Gelu,
        "gelu_new" => MlpKind::GeluTanh,
        other => return Err(wire.unsupported("hidden_act", other, "gelu or gelu_new")),
    };
    let (d_model, n_heads) = (wire.size("hidden_size")?, wire.size("num_attention_heads")?);
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(wire.invalid(
            "num_attention_heads",
            n_heads,
            &format!("a divisor of hidden_size = {d_model}"),
        ));
    }
    let config = DecoderConfig {
        model_type: "bert".into(),
        vocab_size: wire.size("vocab_size")?,
        d_model,
        d_ff: wire.size("intermediate_size")?,
        n_layers: wire.size("num_hidden_layers")?,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: d_model / n_heads,
        max_seq_len: wire.size("max_position_embeddings")?,
        norm: NormKind::LayerNorm,
        norm_eps: wire.number_or("layer_norm_eps", 1e-12)?,
        positions: Positions::Learned,
        mlp,
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        qk_norm: false,
        tie_word_embeddings: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    };
    config.validate()?;
    let n_token_types = wire.size_or("type_vocab_size", 2)?;
    if n_token_types == 0 {
        return Err(wire.invalid("type_vocab_size", 0, "at least 1"));
    }
    Ok((config, n_token_types))
}

/// Refuses a pooling other than the mean over tokens.
fn check_pooling(dir: &Path) -> Result<()> {
    const FILE: &str = "1_Pooling/config.json";
    if !dir.join(FILE).is_file() {
        return Ok(());
    }
    let json = read_json(dir, FILE)?;
    let modes: Vec<&str> = json
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true))
        .map(|(key, _)| key.as_str())
        .collect();
    if modes.is_empty() || modes == ["pooling_mode_mean_tokens"] {
        return Ok(());
    }
    Err(ModelError::Unsupported {
        model_type: "bert".into(),
        option: FILE.into(),
        found: modes.join(" + "),
        expected: "pooling_mode_mean_tokens alone".into(),
    })
}

/// sentence-transformers' own limit, where it is below the model's.
fn max_seq_len(dir: &Path, of_model: usize) -> Result<usize> {
    const FILE: &str = "sentence_bert_config.json";
    if !dir.join(FILE).is_file() {
        return Ok(of_model);
    }
    let json = read_json(dir, FILE)?;
    let limit = json
        .get("max_seq_length")
        .and_then(Value::as_u64)
        .map_or(of_model, |limit| limit as usize);
    Ok(limit.min(of_model))
}
