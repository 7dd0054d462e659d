//! The `config.json` keys that Llama and its descendants share, and the refusals that go with them.

use serde_json::Value;

use crate::config::{DecoderConfig, MlpKind, NormKind, Positions, RotaryConfig, RotaryScaling};
use crate::error::{ModelError, Result};

/// Typed access to a parsed `config.json` with errors that name the key.
pub(crate) struct Wire<'a> {
    pub(crate) model_type: &'static str,
    pub(crate) json: &'a Value,
}

impl Wire<'_> {
    /// The value of `key`; JSON `null` counts as absent.
    fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.get(key)
            .map(|value| convert(value).ok_or_else(|| self.invalid(key, value, expected)))
            .transpose()
    }

    pub(crate) fn size_or_none(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number of at least 0", |value| {
            value.as_u64().map(|size| size as usize)
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        self.size_or_none(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        Ok(self.size_or_none(key)?.unwrap_or(default))
    }

    pub(crate) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self
            .read(key, "a number", Value::as_f64)?
            .unwrap_or(default))
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self
            .read(key, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    pub(crate) fn text_or(&self, key: &str, default: &str) -> Result<String> {
        Ok(self
            .read(key, "a string", |value| value.as_str().map(str::to_owned))?
            .unwrap_or_else(|| default.to_owned()))
    }

    /// `bos_token_id`, and `eos_token_id` as one id or a list.
    pub(crate) fn special_tokens(&self) -> Result<(Option<u32>, Vec<u32>)> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let bos = self.read("bos_token_id", "a token id", id)?;
        let eos = self.read(
            "eos_token_id",
            "a token id or a list of them",
            |value| match value {
                Value::Array(ids) => ids.iter().map(id).collect(),
                one => id(one).map(|id| vec![id]),
            },
        )?;
        Ok((bos, eos.unwrap_or_default()))
    }

    /// Refuses `key` unless it is absent or equal to one of `allowed`.
    pub(crate) fn only(&self, key: &str, allowed: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !allowed.contains(value) => {
                let expected = allowed
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" or ");
                Err(self.unsupported(key, value, &expected))
            }
            _ => Ok(()),
        }
    }

    /// Refuses quantized weights, which no family reads yet.
    pub(crate) fn refuse_quantized(&self) -> Result<()> {
        match self.get("quantization_config") {
            Some(value) => {
                let method = value.get("quant_method").unwrap_or(value);
                Err(self.unsupported("quantization_config", method, "weights in f32, f16 or bf16"))
            }
            None => Ok(()),
        }
    }

    /// Refuses a sliding window that would change the result within the context.
    pub(crate) fn refuse_sliding_window(&self, max_seq_len: usize) -> Result<()> {
        if let Some(window) = self.size_or_none("sliding_window")?
            && window < max_seq_len
        {
            let expected = format!("null, or at least max_position_embeddings = {max_seq_len}");
            return Err(self.unsupported("sliding_window", window, &expected));
        }
        Ok(())
    }

    /// Rotary settings in either spelling: `rope_theta` with `rope_scaling`, or `rope_parameters`.
    fn rotary(&self) -> Result<RotaryConfig> {
        let (key, parameters) = match (self.get("rope_parameters"), self.get("rope_scaling")) {
            (Some(parameters), _) => ("rope_parameters", Some(parameters)),
            (None, scaling) => ("rope_scaling", scaling),
        };
        let default_theta = self.number_or("rope_theta", 10_000.0)?;
        let Some(parameters) = parameters else {
            return Ok(RotaryConfig {
                theta: default_theta,
                scaling: RotaryScaling::None,
            });
        };
        let nested = Wire {
            model_type: self.model_type,
            json: parameters,
        };
        let theta = nested.number_or("rope_theta", default_theta)?;
        if nested.number_or("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(self.unsupported("partial_rotary_factor", parameters, "1.0"));
        }
        let kind = match nested.get("rope_type").or_else(|| nested.get("type")) {
            Some(kind) => kind
                .as_str()
                .ok_or_else(|| self.invalid(key, kind, "a rope type by name"))?,
            None => "default",
        };
        let factor = || match nested.get("factor").map(|value| (value, value.as_f64())) {
            Some((_, Some(factor))) => Ok(factor),
            Some((value, None)) => Err(self.invalid("rope_scaling.factor", value, "a number")),
            None => Err(self.missing("rope_scaling.factor")),
        };
        let scaling = match kind {
            "default" => RotaryScaling::None,
            "linear" => RotaryScaling::Linear { factor: factor()? },
            "llama3" => RotaryScaling::Llama3 {
                factor: factor()?,
                low_freq_factor: nested.number_or("low_freq_factor", f64::NAN)?,
                high_freq_factor: nested.number_or("high_freq_factor", f64::NAN)?,
                original_max_seq_len: nested.size("original_max_position_embeddings")?,
            },
            other => {
                return Err(self.unsupported(
                    &format!("{key}.rope_type"),
                    other,
                    "default, linear or llama3",
                ));
            }
        };
        Ok(RotaryConfig { theta, scaling })
    }

    /// The configuration of a plain Llama; descendants change single fields of it.
    pub(crate) fn llama_like(&self) -> Result<DecoderConfig> {
        self.refuse_quantized()?;
        self.only("hidden_act", &["silu".into()])?;
        self.only("partial_rotary_factor", &[1.0.into(), 1.into()])?;
        let d_model = self.size("hidden_size")?;
        let n_heads = self.size("num_attention_heads")?;
        let (bos_token_id, eos_token_ids) = self.special_tokens()?;
        Ok(DecoderConfig {
            model_type: self.model_type.into(),
            vocab_size: self.size("vocab_size")?,
            d_model,
            d_ff: self.size("intermediate_size")?,
            n_layers: self.size("num_hidden_layers")?,
            n_heads,
            n_kv_heads: self.size_or("num_key_value_heads", n_heads)?,
            head_dim: self.size_or("head_dim", d_model / n_heads.max(1))?,
            max_seq_len: self.size("max_position_embeddings")?,
            norm: NormKind::RmsNorm,
            norm_eps: self.number_or("rms_norm_eps", 1e-6)?,
            positions: Positions::Rotary(self.rotary()?),
            mlp: MlpKind::GatedSilu,
            qkv_bias: self.flag_or("attention_bias", false)?,
            o_bias: self.flag_or("attention_bias", false)?,
            mlp_bias: self.flag_or("mlp_bias", false)?,
            qk_norm: false,
            tie_word_embeddings: self.flag_or("tie_word_embeddings", false)?,
            bos_token_id,
            eos_token_ids,
        })
    }

    pub(crate) fn missing(&self, key: &str) -> ModelError {
        self.invalid(key, "nothing", "a value, the key is required")
    }

    pub(crate) fn invalid(&self, key: &str, found: impl ToString, expected: &str) -> ModelError {
        ModelError::Config {
            model_type: self.model_type.into(),
            option: key.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(
        &self,
        key: &str,
        found: impl ToString,
        expected: &str,
    ) -> ModelError {
        ModelError::Unsupported {
            model_type: self.model_type.into(),
            option: key.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}
