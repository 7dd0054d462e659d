//! One vector of a text from the states of its tokens, as sentence-transformers' `Pooling` does.

use burn::tensor::{Bool, DType, Tensor, TensorData};

/// How the states of a text become one; several are put side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolingMode {
    /// The first token's state.
    Cls,
    /// The largest value of each number.
    Max,
    Mean,
    /// The sum over the square root of their count.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, ..: later tokens of a causal model have seen more.
    WeightedMean,
    LastToken,
}

impl PoolingMode {
    /// In the order in which the old spelling puts them side by side: the name today, the old key.
    pub(super) const NAMED: [(Self, &str, &str); 6] = [
        (Self::Cls, "cls", "pooling_mode_cls_token"),
        (Self::Max, "max", "pooling_mode_max_tokens"),
        (Self::Mean, "mean", "pooling_mode_mean_tokens"),
        (
            Self::MeanSqrtLen,
            "mean_sqrt_len_tokens",
            "pooling_mode_mean_sqrt_len_tokens",
        ),
        (
            Self::WeightedMean,
            "weightedmean",
            "pooling_mode_weightedmean_tokens",
        ),
        (Self::LastToken, "lasttoken", "pooling_mode_lasttoken"),
    ];

    /// Its name in `pooling_mode`.
    pub(super) fn name(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(mode, ..)| *mode == self);
        named.expect("every mode is named").1
    }

    /// The weight of a token's state in the sum, `slot` of `len`; `None` where it is no sum.
    fn weight(self, slot: usize, first: usize, len: usize) -> Option<f32> {
        let count = (len - first) as f32;
        Some(match self {
            Self::Max => return None,
            Self::Cls => f32::from(u8::from(slot == first)),
            Self::LastToken => f32::from(u8::from(slot + 1 == len)),
            Self::Mean => 1.0 / count,
            Self::MeanSqrtLen => 1.0 / count.sqrt(),
            Self::WeightedMean => {
                // Tokens keep their own weights when those of a prompt are left out.
                let sum = (len * (len + 1) - first * (first + 1)) as f32 / 2.0;
                (slot + 1) as f32 / sum
            }
        })
    }
}

/// One vector for each row, `[batch_size, modes * d_model]`, f32.
///
/// # Shapes
/// - `states`: `[batch_size, seq_len, d_model]`
/// - `lengths`: tokens of each row; the first `first` of them are left out
pub(super) fn pool(
    states: Tensor<3>,
    lengths: &[usize],
    first: usize,
    modes: &[PoolingMode],
) -> Tensor<2> {
    let [batch_size, seq_len, d_model] = states.dims();
    let states = states.cast(DType::F32);
    let pooled = modes.iter().map(|mode| {
        let weight = |slot: usize, len: usize| {
            let inside = (first..len).contains(&slot);
            if inside {
                mode.weight(slot, first, len)
            } else {
                Some(0.0)
            }
        };
        let weights: Option<Vec<f32>> = lengths
            .iter()
            .flat_map(|len| (0..seq_len).map(move |slot| weight(slot, *len)))
            .collect();
        match weights {
            Some(weights) => {
                let weights = TensorData::new(weights, [batch_size, 1, seq_len]);
                Tensor::<3>::from_data(weights, &states.device())
                    .matmul(states.clone())
                    .reshape([batch_size, d_model])
            }
            None => {
                let hidden: Vec<bool> = lengths
                    .iter()
                    .flat_map(|len| (0..seq_len).map(move |slot| !(first..*len).contains(&slot)))
                    .collect();
                let hidden = TensorData::new(hidden, [batch_size, seq_len, 1]);
                let hidden = Tensor::<3, Bool>::from_data(hidden, &states.device());
                states
                    .clone()
                    .mask_fill(
                        hidden.expand([batch_size, seq_len, d_model]),
                        f32::NEG_INFINITY,
                    )
                    .max_dim(1)
                    .reshape([batch_size, d_model])
            }
        }
    });
    Tensor::cat(pooled.collect(), 1)
}

/// Rows at unit length, as `torch.nn.functional.normalize`: `[batch_size, width]` in and out.
pub(super) fn unit_length(rows: Tensor<2>) -> Tensor<2> {
    let norm = rows.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    rows / norm
}
