//! How many rows go through the backbone at a time, from a budget of memory.
//!
//! A batch that needs more than the budget is taken in parts whose gradients are added: the same
//! step, up to the order of summation.

use e2p_model::{DecoderConfig, Keep, MlpKind};
use e2p_prefix::SplicedRow;

/// What is alive at once beside what is kept: the working set of one layer, and what the allocator
/// holds back (ours, measured on the CPU).
const SLACK: f64 = 1.25;

/// Bytes that one row takes in a training pass in f32.
fn row_bytes(config: &DecoderConfig, row: &SplicedRow, n_prefix: usize, keep: Keep) -> usize {
    let n_new = row.after.len() + n_prefix;
    let n_keys = row.before.len() + n_new;
    let (q_width, kv_width) = (
        config.n_heads * config.head_dim,
        2 * config.n_kv_heads * config.head_dim,
    );
    let up_width = match config.mlp {
        MlpKind::GatedSilu => 2 * config.d_ff,
        MlpKind::Gelu | MlpKind::GeluTanh => config.d_ff,
    };
    let attention = (q_width + config.n_heads * n_keys) * n_new + kv_width * n_keys;
    let layer = (2 * config.d_model + up_width) * n_new + attention;
    let kept = match keep {
        Keep::Activations => config.n_layers * layer,
        // Every layer's input, and one layer in full.
        Keep::LayerInputs => config.n_layers * config.d_model * n_new + layer,
    };
    // Constant keys and values; a layer's activations and their gradients; logits and their
    // gradient.
    let earlier = config.n_layers * kv_width * row.before.len();
    let passing = 2 * layer + 2 * row.n_targets * config.vocab_size;
    (SLACK * (4 * (kept + earlier + passing)) as f64) as usize
}

/// Cuts `batch`, indices of `rows`, into parts that each fit into `budget` bytes, a row at least.
pub(crate) fn parts<'a>(
    batch: &'a [usize],
    row: impl Fn(usize) -> &'a SplicedRow,
    config: &DecoderConfig,
    n_prefix: usize,
    keep: Keep,
    budget: usize,
) -> Vec<&'a [usize]> {
    let largest = batch
        .iter()
        .map(|index| row_bytes(config, row(*index), n_prefix, keep))
        .max();
    let n_rows = largest.map_or(1, |bytes| (budget / bytes.max(1)).max(1));
    batch.chunks(n_rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pass keeps, tensor by tensor: `[rows, width]` of each, in the shape below.
    #[test]
    fn a_row_counts_what_is_kept_and_no_more_than_three_times_that() {
        let config = DecoderConfig::small_llama(1000, 64, 4, 4, 2, 128, 256);
        let row = SplicedRow::new(&[1; 120], 100, &[2; 30]);
        // 100 slots before the soft tokens; one soft token, 20 of the prompt, 30 of the target.
        let (before, new) = (100, 51);
        let all = before + new;
        let residuals = 2 * new * 64;
        let queries = new * 4 * 16;
        let keys_and_values = 2 * all * 2 * 16;
        let probabilities = 4 * new * all;
        let gate_and_up = new * 2 * 128;
        let layer = residuals + queries + keys_and_values + probabilities + gate_and_up;
        let kept = 4 * 4 * layer;
        let counted = row_bytes(&config, &row, 1, Keep::Activations);
        assert!((kept..3 * kept).contains(&counted), "{counted} of {kept}");
        // Recomputing keeps the input of each layer, and the head's logits come on top.
        let inputs = 4 * (4 * new * 64 + layer + 2 * 30 * 1000);
        let counted = row_bytes(&config, &row, 1, Keep::LayerInputs);
        assert!(
            (inputs..4 * inputs).contains(&counted),
            "{counted} of {inputs}"
        );
    }

    #[test]
    fn parts_hold_every_row_once_and_shrink_with_the_budget() {
        let config = DecoderConfig::small_llama(1000, 64, 4, 4, 2, 128, 256);
        let rows: Vec<SplicedRow> = (1..40u32)
            .map(|n| SplicedRow::new(&vec![1; 20 + n as usize], 1, &[2, 3, 4]))
            .collect();
        let batch: Vec<usize> = (0..rows.len()).collect();
        let cut = |budget, keep| parts(&batch, |index| &rows[index], &config, 1, keep, budget);
        let mut before = usize::MAX;
        for budget in [1 << 12, 1 << 22, 1 << 24, usize::MAX] {
            let parts = cut(budget, Keep::Activations);
            assert_eq!(parts.concat(), batch);
            assert!(parts.len() <= before);
            assert!(cut(budget, Keep::LayerInputs).len() <= parts.len());
            before = parts.len();
        }
        assert_eq!(cut(1, Keep::Activations).len(), rows.len());
        assert_eq!(before, 1);
    }
}
