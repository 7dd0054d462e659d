//! The one place that decides which position sees which.
//!
//! A batch is a rectangle of slots. Row `b` begins at slot `row_starts[b]`; slots before that are padding. Padding on the right needs
//! no mention: a causal model never looks there. One rule then covers whole sequences, left-padded generation and continuation of a
//! cache: slot `i` of row `b` sees slots `row_starts[b] ..= i`.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Hidden slots, true where a query must not look: `[batch_size or 1, 1, n_queries, n_keys]`, or `None` when every query sees every key.
///
/// Queries are the slots `first .. first + n_queries`, keys the slots before `first + n_queries`. A padding slot sees itself, so that
/// its softmax stays finite; what it computes is never looked at.
pub(crate) fn hidden_slots(
    row_starts: &[usize],
    first: usize,
    n_queries: usize,
    device: &Device,
) -> Option<Tensor<4, Bool>> {
    let is_padded = row_starts.iter().any(|start| *start > 0);
    if n_queries == 1 && !is_padded {
        return None;
    }
    let rows = if is_padded { row_starts } else { &[0] };
    let n_keys = first + n_queries;
    let mut hidden = Vec::with_capacity(rows.len() * n_queries * n_keys);
    for start in rows {
        for query in first..n_keys {
            hidden.extend((0..n_keys).map(|key| key != query && (key > query || key < *start)));
        }
    }
    Some(Tensor::from_data(
        TensorData::new(hidden, [rows.len(), 1, n_queries, n_keys]),
        device,
    ))
}

/// Hidden slots of a batch that sees both ways: the padding behind each row, `[batch_size, 1, 1, seq_len]`, or `None` without any.
pub(crate) fn padding_slots(
    lengths: &[usize],
    seq_len: usize,
    device: &Device,
) -> Option<Tensor<4, Bool>> {
    if lengths.iter().all(|len| *len == seq_len) {
        return None;
    }
    let hidden: Vec<bool> = lengths
        .iter()
        .flat_map(|len| (0..seq_len).map(move |slot| slot >= *len))
        .collect();
    Some(Tensor::from_data(
        TensorData::new(hidden, [lengths.len(), 1, 1, seq_len]),
        device,
    ))
}

/// The position of every slot `first .. first + n`: one list per row, or a single one when no row is padded.
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
        let mask = hidden_slots(row_starts, first, n, &Device::default()).expect("a mask");
        mask.into_data().iter::<bool>().collect()
    }

    #[test]
    fn a_whole_sequence_is_causal() {
        let (f, t) = (false, true);
        assert_eq!(rows(&[0, 0], 0, 3), [f, t, t, f, f, t, f, f, f]);
    }

    #[test]
    fn one_query_without_padding_needs_no_mask() {
        assert!(hidden_slots(&[0, 0], 7, 1, &Device::default()).is_none());
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
