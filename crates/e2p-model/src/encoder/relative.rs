//! Attention that sees both ways with a learned bias by distance (MPNet; T5's buckets,
//! arXiv 1910.10683, section 2.1).
//!
//! Composed of tensor operations on every device: the kernels' attention takes no bias.

use burn::tensor::{Int, Tensor, TensorData, activation, s};

use crate::config::DecoderConfig;
use crate::families::Names;
use crate::linear::Linear;
use crate::load::WeightSource;
use crate::mask::Visible;

/// Rows of the matrix of biases: half for keys behind the query, half for keys before it.
pub(super) const BUCKETS: usize = 32;
/// Distances from here on share the last bucket.
const MAX_DISTANCE: f32 = 128.0;

/// Biases by distance, `[BUCKETS, n_heads]`, shared by all layers.
#[derive(Debug, Clone)]
pub(super) struct RelativePositions {
    table: Tensor<2>,
}

/// One layer's attention.
#[derive(Debug, Clone)]
pub(super) struct RelativeAttention {
    qkv_proj: Linear,
    o_proj: Linear,
    n_heads: usize,
    head_dim: usize,
}

impl RelativePositions {
    pub(super) fn load(source: &mut dyn WeightSource, path: &str, n_heads: usize) -> Self {
        let table = source.matrix(&[(format!("{path}.weight"), BUCKETS)], n_heads, false);
        Self { table }
    }

    /// What is added to the scores of a sequence of `seq_len`: `[1, n_heads, seq_len, seq_len]`.
    pub(super) fn bias(&self, seq_len: usize) -> Tensor<4> {
        let buckets: Vec<i32> = (0..seq_len)
            .flat_map(|query| (0..seq_len).map(move |key| bucket(query, key) as i32))
            .collect();
        let buckets = TensorData::new(buckets, [seq_len * seq_len]);
        let buckets = Tensor::<1, Int>::from_data(buckets, &self.table.device());
        let n_heads = self.table.dims()[1];
        self.table
            .clone()
            .select(0, buckets)
            .swap_dims(0, 1)
            .reshape([1, n_heads, seq_len, seq_len])
    }
}

impl RelativeAttention {
    pub(super) fn load(
        source: &mut dyn WeightSource,
        config: &DecoderConfig,
        names: &Names,
        layer: &str,
    ) -> Self {
        let width = config.d_model;
        let named = |name: &&str| (format!("{layer}{name}"), width);
        let qkv: Vec<_> = names.qkv_proj.iter().map(named).collect();
        let o = [named(&names.o_proj)];
        Self {
            qkv_proj: Linear::load(source, &qkv, width, true, false),
            o_proj: Linear::load(source, &o, width, true, false),
            n_heads: config.n_heads,
            head_dim: config.head_dim,
        }
    }

    /// # Shapes
    /// - `x`, output: `[batch_size, seq_len, d_model]`
    /// - `bias`: `[1, n_heads, seq_len, seq_len]`
    pub(super) fn forward(&self, x: Tensor<3>, visible: &Visible, bias: &Tensor<4>) -> Tensor<3> {
        let [batch_size, seq_len, d_model] = x.dims();
        let device = x.device();
        let qkv = self.qkv_proj.forward(x);
        let heads = |part: usize| {
            let at = part * d_model;
            qkv.clone()
                .slice(s![.., .., at..at + d_model])
                .reshape([batch_size, seq_len, self.n_heads, self.head_dim])
                .swap_dims(1, 2)
        };
        let scale = 1.0 / (self.head_dim as f64).sqrt();
        let scores = heads(0).matmul(heads(1).swap_dims(2, 3)).mul_scalar(scale);
        let mut scores = scores + bias.clone().cast(qkv.dtype());
        if let Some(hidden) = visible.hidden(seq_len, &device) {
            scores = scores
                .clone()
                .mask_fill(hidden.expand(scores.dims()), -1e30);
        }
        let mixed = activation::softmax(scores, 3).matmul(heads(2));
        self.o_proj.forward(
            mixed
                .swap_dims(1, 2)
                .reshape([batch_size, seq_len, d_model]),
        )
    }
}

/// The row of the bias between a query and a key: one for each of the first distances, then ever
/// longer ranges, in f32 as transformers computes them.
fn bucket(query: usize, key: usize) -> usize {
    const ONE_WAY: usize = BUCKETS / 2;
    const EXACT: usize = ONE_WAY / 2;
    let distance = query.abs_diff(key);
    let first = if key > query { ONE_WAY } else { 0 };
    if distance < EXACT {
        return first + distance;
    }
    let exact = EXACT as f32;
    let further = (distance as f32 / exact).ln() / (MAX_DISTANCE / exact).ln();
    first + (EXACT + (further * (ONE_WAY - EXACT) as f32) as usize).min(ONE_WAY - 1)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn distances_fall_into_the_buckets_of_transformers() {
        // Distances up to each bucket's end, counted with torch 2.15.0 in f32 over 0..600.
        let ends = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91, 600];
        for distance in 0..600 {
            let expected = ends.iter().filter(|end| distance >= **end).count();
            assert_eq!(bucket(distance, 0), expected, "{distance} behind");
            let before = if distance == 0 { 0 } else { 16 };
            assert_eq!(bucket(0, distance), before + expected, "{distance} before");
        }
    }
}
