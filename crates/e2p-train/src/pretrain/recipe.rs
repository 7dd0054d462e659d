//! What is pretrained and how long.

use std::path::Path;

use e2p_model::DecoderConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError, io};
use crate::toml_keys::read_toml;

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

impl PretrainRecipe {
    /// JSON Schema of a recipe, as [`crate::Recipe::schema`].
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// The default shape by the name `small`, or a TOML file, with overrides such as `steps=500` on
    /// top.
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

    pub(super) fn decoder_config(&self, vocab_size: usize) -> DecoderConfig {
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
