//! What the decoder relies on: one validated description for every family.
//!
//! The families differ in few places (norm, positions, MLP, biases); each of those is a field here.
//! Wire formats live in [`crate::families`] and never reach the layers.

use crate::error::{ModelError, Result};

/// The shape and the options of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// `model_type` of `config.json`.
    pub model_type: String,
    /// Rows of the embedding matrix.
    pub vocab_size: usize,
    /// Width of the residual stream (`hidden_size`).
    pub d_model: usize,
    /// Width of the MLP (`intermediate_size`).
    pub d_ff: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; not always `d_model / n_heads`.
    pub head_dim: usize,
    /// Positions the model was built for (`max_position_embeddings`).
    pub max_seq_len: usize,
    /// The normalisation of every block.
    pub norm: NormKind,
    /// Added to the variance inside the norm.
    pub norm_eps: f64,
    /// How positions enter.
    pub positions: Positions,
    /// The feed-forward block.
    pub mlp: MlpKind,
    /// Biases on the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub o_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// RMS norm on every query and key head (Qwen3).
    pub qk_norm: bool,
    /// The head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Beginning-of-sequence token.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text; may be several.
    pub eos_token_ids: Vec<u32>,
}

/// Normalisation of a decoder's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square, scale only (Zhang and Sennrich, arXiv 1910.07467).
    RmsNorm,
    /// Mean and variance, scale and shift.
    LayerNorm,
}

/// How the position of a token enters the computation.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// Rotation of queries and keys.
    Rotary(RotaryConfig),
    /// A learned row per position, added to the input embeddings.
    Learned,
}

/// The feed-forward block of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpKind {
    /// `down(silu(gate(x)) * up(x))` (SwiGLU, arXiv 2002.05202).
    GatedSilu,
    /// `down(gelu(up(x)))` with the tanh approximation (`gelu_new`).
    GeluTanh,
    /// `down(gelu(up(x)))` with the exact error function.
    Gelu,
}

/// Rotary position embedding (arXiv 2104.09864), Hugging Face's half-split convention.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryConfig {
    /// Base of the frequencies (`rope_theta`).
    pub theta: f64,
    /// Stretching of the frequencies for longer contexts.
    pub scaling: RotaryScaling,
}

/// How rotary frequencies are stretched.
#[derive(Debug, Clone, PartialEq)]
pub enum RotaryScaling {
    /// Unchanged frequencies.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1's rule: low frequencies are divided, high ones kept, those between interpolated
    /// (transformers, `modeling_rope_utils._compute_llama3_parameters`).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths longer than `original / low_freq_factor` count as low.
        low_freq_factor: f64,
        /// Wavelengths shorter than `original / high_freq_factor` count as high.
        high_freq_factor: f64,
        /// Context length before stretching.
        original_max_seq_len: usize,
    },
}

impl DecoderConfig {
    /// Checks sizes and the relations between them.
    ///
    /// # Errors
    /// [`ModelError::Config`] for the first value out of range, naming it by its `config.json` key.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.d_model),
            ("intermediate_size", self.d_ff),
            ("num_hidden_layers", self.n_layers),
            ("num_attention_heads", self.n_heads),
            ("num_key_value_heads", self.n_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_seq_len),
        ];
        // The upper bound keeps products of two sizes far from overflow, whatever a file claims.
        for (option, value) in positive {
            if value == 0 || value > 1 << 24 {
                return Err(self.invalid(option, value, "a size between 1 and 16777216"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let expected = format!("a divisor of num_attention_heads = {}", self.n_heads);
            return Err(self.invalid("num_key_value_heads", self.n_kv_heads, &expected));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(self.invalid(
                "norm epsilon",
                self.norm_eps,
                "a finite number of at least 0",
            ));
        }
        for id in self.bos_token_id.iter().chain(&self.eos_token_ids) {
            if *id as usize >= self.vocab_size {
                let expected = format!("a token below vocab_size = {}", self.vocab_size);
                return Err(self.invalid("bos_token_id or eos_token_id", id, &expected));
            }
        }
        if let Positions::Rotary(rotary) = &self.positions {
            if !self.head_dim.is_multiple_of(2) {
                return Err(self.invalid(
                    "head_dim",
                    self.head_dim,
                    "an even number, rotary positions rotate pairs",
                ));
            }
            if !(rotary.theta.is_finite() && rotary.theta > 0.0) {
                return Err(self.invalid("rope_theta", rotary.theta, "a positive number"));
            }
            let factor = match rotary.scaling {
                RotaryScaling::None => 1.0,
                RotaryScaling::Linear { factor } | RotaryScaling::Llama3 { factor, .. } => factor,
            };
            if !(factor.is_finite() && factor >= 1.0) {
                return Err(self.invalid("rope_scaling.factor", factor, "a number of at least 1"));
            }
            if let RotaryScaling::Llama3 {
                low_freq_factor,
                high_freq_factor,
                original_max_seq_len,
                ..
            } = rotary.scaling
                && !(low_freq_factor > 0.0
                    && high_freq_factor > low_freq_factor
                    && original_max_seq_len > 0)
            {
                let found = format!(
                    "low {low_freq_factor}, high {high_freq_factor}, original {original_max_seq_len}"
                );
                return Err(self.invalid(
                    "rope_scaling",
                    found,
                    "0 < low_freq_factor < high_freq_factor and a positive original length",
                ));
            }
        }
        Ok(())
    }

    /// Width of the fused query, key and value projection.
    pub fn qkv_width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    /// Number of parameters, a tied head counted once.
    pub fn n_parameters(&self) -> usize {
        let norm = match self.norm {
            NormKind::RmsNorm => self.d_model,
            NormKind::LayerNorm => 2 * self.d_model,
        };
        let attention_width = self.n_heads * self.head_dim;
        let attention = self.d_model * self.qkv_width()
            + attention_width * self.d_model
            + usize::from(self.qkv_bias) * self.qkv_width()
            + usize::from(self.o_bias) * self.d_model
            + usize::from(self.qk_norm) * 2 * self.head_dim;
        let up = if self.mlp == MlpKind::GatedSilu {
            2 * self.d_ff
        } else {
            self.d_ff
        };
        let mlp =
            self.d_model * (up + self.d_ff) + usize::from(self.mlp_bias) * (up + self.d_model);
        let embeddings =
            self.vocab_size * self.d_model * if self.tie_word_embeddings { 1 } else { 2 };
        let positions =
            usize::from(self.positions == Positions::Learned) * self.max_seq_len * self.d_model;
        embeddings + positions + self.n_layers * (attention + mlp + 2 * norm) + norm
    }

    /// A small Llama with the given sizes: presets for tests, benches and pre-training.
    ///
    /// Heads are `head_dim` wide, every option is Llama's, the head is tied.
    pub fn small_llama(
        vocab_size: usize,
        d_model: usize,
        n_layers: usize,
        n_heads: usize,
        n_kv_heads: usize,
        d_ff: usize,
        max_seq_len: usize,
    ) -> Self {
        Self {
            model_type: "llama".into(),
            vocab_size,
            d_model,
            d_ff,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim: d_model / n_heads,
            max_seq_len,
            norm: NormKind::RmsNorm,
            norm_eps: 1e-5,
            positions: Positions::Rotary(RotaryConfig {
                theta: 10_000.0,
                scaling: RotaryScaling::None,
            }),
            mlp: MlpKind::GatedSilu,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            qk_norm: false,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
        }
    }

    /// `config.json` of a model that [`Self::small_llama`] describes, as transformers reads it.
    ///
    /// # Panics
    /// For positions that are not rotary.
    pub fn small_llama_json(&self) -> serde_json::Value {
        let Positions::Rotary(rotary) = &self.positions else {
            panic!("a Llama has rotary positions");
        };
        serde_json::json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.d_model,
            "intermediate_size": self.d_ff,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_seq_len,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": rotary.theta,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": true,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_ids,
        })
    }

    fn invalid(&self, option: &str, found: impl ToString, expected: &str) -> ModelError {
        ModelError::Config {
            model_type: self.model_type.clone(),
            option: option.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_written_is_the_one_read() {
        let mut config = DecoderConfig::small_llama(300, 24, 2, 4, 2, 48, 128);
        for eos_token_ids in [vec![], vec![0], vec![7, 9]] {
            config.bos_token_id = eos_token_ids.first().copied();
            config.eos_token_ids = eos_token_ids;
            let json = config.small_llama_json();
            assert_eq!(crate::parse_config(&json).unwrap(), config, "{json}");
        }
    }
}
