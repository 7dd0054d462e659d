//! Beam search over the prefix tree: recommendations at a bounded cost.
//!
//! At every depth only the most likely beginnings go on, so the list is an approximation of the
//! ranking: what is found has its exact score, but an item may be missed. Generation is constrained
//! to the catalogue, so every answer is an item.

use std::collections::HashSet;

use e2p_model::Decoder;
use e2p_prefix::Prefilled;

use super::search::{Open, for_each_child, run};
use super::tree::NameTree;
use crate::error::Result;

/// At most `width` items that are not in `seen`, with the log-likelihoods of their names, best
/// first.
///
/// # Errors
/// Whatever the decoder refuses.
pub(crate) fn search(
    decoder: &Decoder,
    tree: &NameTree,
    prefilled: &Prefilled,
    width: usize,
    seen: &HashSet<usize>,
) -> Result<Vec<(usize, f64)>> {
    let mut found: Vec<(usize, f64)> = Vec::new();
    let mut nodes = vec![Open::ROOT];
    let (mut cache, mut hidden) = (None, prefilled.hidden.clone());
    loop {
        let mut open = Vec::new();
        for_each_child(decoder, tree, hidden, &nodes, |child| {
            let node = tree.node(child.node);
            let new = node.items.iter().filter(|item| !seen.contains(item));
            found.extend(new.map(|item| (*item, child.score)));
            if !node.children.is_empty() {
                open.push(child);
            }
        });
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(width);
        // A beginning that is less likely than a full list of whole names cannot enter it.
        let bar = if found.len() == width {
            found[width - 1].1
        } else {
            f64::NEG_INFINITY
        };
        open.retain(|open| open.score >= bar);
        open.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
        open.truncate(width);
        if open.is_empty() {
            return Ok(found);
        }
        let parents = cache.as_ref().unwrap_or(&prefilled.cache);
        if parents.len() == decoder.config().max_seq_len {
            return Ok(found);
        }
        let (next, states) = run(decoder, parents, &open)?;
        (cache, hidden, nodes) = (Some(next), states, open);
    }
}
