//! Rotary position embedding in Hugging Face's half-split convention.
//!
//! Dimension `i` is rotated with dimension `i + head_dim / 2`, so query and key weights are used as
//! they lie in the checkpoint (transformers `models/llama/modeling_llama.py`, `rotate_half`).
//! burn's own `RotaryEncoding` rotates neighbours instead.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::config::{RotaryConfig, RotaryScaling};

/// Angles per position, made when a pass knows its positions: contexts of 128 k positions need no
/// table.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    /// `head_dim / 2` frequencies in radians per position.
    frequencies: Vec<f64>,
}

/// Cosines and sines for the positions of one pass, `[batch_size or 1, 1, seq_len, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotary {
    pub(crate) fn new(config: &RotaryConfig, head_dim: usize) -> Self {
        let frequencies = (0..head_dim / 2)
            .map(|i| config.theta.powf(-2.0 * i as f64 / head_dim as f64))
            .map(|frequency| scaled(frequency, &config.scaling))
            .collect();
        Self { frequencies }
    }

    /// The rotation for `positions`, one list per row of the batch or one list for all rows.
    pub(crate) fn rotation(
        &self,
        positions: &[Vec<usize>],
        dtype: DType,
        device: &Device,
    ) -> Rotation {
        let half = self.frequencies.len();
        let seq_len = positions.first().map_or(0, Vec::len);
        let table = |f: fn(f64) -> f64| {
            let mut values = Vec::with_capacity(positions.len() * seq_len * 2 * half);
            for position in positions.iter().flatten() {
                for _ in 0..2 {
                    values.extend(
                        self.frequencies
                            .iter()
                            .map(|frequency| f(*position as f64 * frequency) as f32),
                    );
                }
            }
            Tensor::from_data(
                TensorData::new(values, [positions.len(), 1, seq_len, 2 * half]),
                (device, dtype),
            )
        };
        Rotation {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }
}

impl Rotation {
    /// Cosines and sines, `[batch_size or 1, 1, seq_len, head_dim]` each, the second half of a row
    /// repeating the first.
    pub(crate) fn tables(&self) -> (Tensor<4>, Tensor<4>) {
        (self.cos.clone(), self.sin.clone())
    }
}

fn scaled(frequency: f64, scaling: &RotaryScaling) -> f64 {
    match *scaling {
        RotaryScaling::None => frequency,
        RotaryScaling::Linear { factor } => frequency / factor,
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_seq_len,
        } => {
            let turns = original_max_seq_len as f64 * frequency / std::f64::consts::TAU;
            if turns < low_freq_factor {
                frequency / factor
            } else if turns > high_freq_factor {
                frequency
            } else {
                let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}
