//! Does the factorization find what was held out, and better than popularity does?

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::kernels::Scores;
use super::{Factors, InteractionMatrix};
use crate::example::Split;

/// Share of held-out items that stand among the first `k`, over all items that are not in the
/// user's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecall {
    /// How many first places count.
    pub k: usize,
    /// How many pairs of user and item were held out.
    pub pairs: usize,
    /// Of the factors.
    pub recall: f64,
    /// Of the same ranking for all: how many users have the item in their history.
    pub popularity: f64,
}

/// Ranks the full catalogue for every held-out pair of `split`; ties count against the held-out
/// item.
pub fn held_out_recall(
    factors: &Factors,
    matrix: &InteractionMatrix,
    split: Split,
    k: usize,
) -> HeldOutRecall {
    let mut popularity = vec![0.0_f32; matrix.items().len()];
    for user in 0..matrix.users().len() {
        for &item in matrix.by_user().row(user).0 {
            popularity[item as usize] += 1.0;
        }
    }
    let pairs = matrix.held_out(split);
    let arch = pulp::Arch::new();
    let hits: Vec<(bool, bool)> = pairs
        .par_iter()
        .map(|&(user, item)| {
            let seen: HashSet<u32> = matrix
                .by_user()
                .row(user as usize)
                .0
                .iter()
                .copied()
                .collect();
            let vector = factors.user(user as usize);
            let scores = arch.dispatch(Scores {
                rows: factors.item_matrix(),
                vector,
            });
            (
                is_among_first(&scores, item, &seen, k),
                is_among_first(&popularity, item, &seen, k),
            )
        })
        .collect();
    let share = |hit: fn(&(bool, bool)) -> bool| {
        hits.iter().filter(|pair| hit(pair)).count() as f64 / pairs.len().max(1) as f64
    };
    HeldOutRecall {
        k,
        pairs: pairs.len(),
        recall: share(|hit| hit.0),
        popularity: share(|hit| hit.1),
    }
}

fn is_among_first(scores: &[f32], gold: u32, seen: &HashSet<u32>, k: usize) -> bool {
    let score = scores[gold as usize];
    let before = scores
        .iter()
        .enumerate()
        .filter(|(item, other)| {
            **other >= score && *item as u32 != gold && !seen.contains(&(*item as u32))
        })
        .count();
    before < k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_seen_items_are_treated_as_said() {
        let scores = [3.0, 2.0, 2.0, 1.0];
        let none = HashSet::new();
        assert!(is_among_first(&scores, 0, &none, 1));
        assert!(
            !is_among_first(&scores, 1, &none, 2),
            "the tie counts against it"
        );
        assert!(is_among_first(&scores, 1, &none, 3));
        assert!(is_among_first(&scores, 1, &HashSet::from([0, 2]), 1));
    }
}
