//! The one place that decides which position sees which.
//!
//! A batch is a rectangle of slots. Row `b` begins at slot `row_starts[b]`; slots before that are
//! padding. Padding on the right needs no mention: a causal model never looks there. One rule then
//! covers whole sequences, left-padded generation and continuation of a cache: slot `i` of row `b`
//! sees slots `row_starts[b] ..= i`.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Which keys each query of a pass sees: always one range.
#[derive(Debug, Clone)]
pub(crate) enum Visible {
    /// A causal pass: queries are the slots from `first` on, keys all slots up to the last query.
    /// Row `b` begins at slot `row_starts[b]`; empty means that no row is padded.
    Causal {
        row_starts: Vec<usize>,
        first: usize,
    },
    /// Both ways, the padding behind each row excepted.
    BothWays { lengths: Vec<usize> },
}

impl Visible {
    /// The keys that query `query` (counted within the pass) of row `row` sees.
    ///
    /// A padding slot sees itself, so that its softmax stays finite; what it computes is never
    /// looked at.
    pub(crate) fn range(&self, row: usize, query: usize) -> Range<usize> {
        match self {
            Self::Causal { row_starts, first } => {
                let slot = first + query;
                row_starts.get(row).map_or(0, |start| *start).min(slot)..slot + 1
            }
            Self::BothWays { lengths } => 0..lengths[row],
        }
    }

    /// Hidden slots, true where a query must not look: `[batch_size or 1, 1, n_queries or 1,
    /// n_keys]`, or `None` when every query sees every key.
    pub(crate) fn hidden(&self, n_queries: usize, device: &Device) -> Option<Tensor<4, Bool>> {
        let (n_rows, n_queries, n_keys) = match self {
            Self::Causal { row_starts, first } => {
                let is_padded = row_starts.iter().any(|start| *start > 0);
                if n_queries == 1 && !is_padded {
                    return None;
                }
                let n_rows = if is_padded { row_starts.len() } else { 1 };
                (n_rows, n_queries, first + n_queries)
            }
            Self::BothWays { lengths } => {
                let seq_len = n_queries;
                if lengths.iter().all(|len| *len == seq_len) {
                    return None;
                }
                (lengths.len(), 1, seq_len)
            }
        };
        let mut hidden = Vec::with_capacity(n_rows * n_queries * n_keys);
        for row in 0..n_rows {
            for query in 0..n_queries {
                let visible = self.range(row, query);
                hidden.extend((0..n_keys).map(|key| !visible.contains(&key)));
            }
        }
        let shape = [n_rows, 1, n_queries, n_keys];
        Some(Tensor::from_data(TensorData::new(hidden, shape), device))
    }
}

/// The position of every slot `first .. first + n`: one list per row, or a single one when no row
/// is padded.
///
/// Padding slots have position 0.
pub(crate) fn positions(row_starts: &[usize], first: usize, n: usize) -> Vec<Vec<usize>> {
    let rows = if row_starts.iter().any(|start| *start > 0) {
        row_starts
    } else {
        &[0]
    };
    rows.iter()
        .map(|start| {
            (first..first + n)
                .map(|slot| slot.saturating_sub(*start))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(row_starts: &[usize], first: usize, n: usize) -> Vec<bool> {
        let row_starts = row_starts.to_vec();
        let visible = Visible::Causal { row_starts, first };
        let mask = visible.hidden(n, &Device::default()).expect("a mask");
        mask.into_data().iter::<bool>().collect()
    }

    #[test]
    fn a_whole_sequence_is_causal() {
        let (f, t) = (false, true);
        assert_eq!(rows(&[0, 0], 0, 3), [f, t, t, f, f, t, f, f, f]);
    }

    #[test]
    fn one_query_without_padding_needs_no_mask() {
        let (row_starts, first) = (vec![0, 0], 7);
        let visible = Visible::Causal { row_starts, first };
        assert!(visible.hidden(1, &Device::default()).is_none());
    }

    #[test]
    fn padding_is_hidden_from_tokens_but_not_from_itself() {
        let (f, t) = (false, true);
        assert_eq!(
            rows(&[0, 2], 0, 3),
            [
                f, t, t, f, f, t, f, f, f, /* row 1 */ f, t, t, t, f, t, t, t, f
            ]
        );
    }

    #[test]
    fn a_continuation_sees_the_cache_but_not_its_padding() {
        let (f, t) = (false, true);
        assert_eq!(rows(&[0, 1], 2, 1), [f, f, f, t, f, f]);
        assert_eq!(positions(&[0, 1], 2, 1), [[2], [1]]);
        assert_eq!(positions(&[0, 0], 2, 2), [[2, 3]]);
    }
}
