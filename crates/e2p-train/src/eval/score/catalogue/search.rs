//! Log-likelihoods of the names of a catalogue after one prompt.
//!
//! The prompt is run once. Then the tree is walked: each node that is run takes the keys and values
//! of its ancestors, and its logits score all of its children. A token's log-probability is at most
//! 0, so the score of a beginning bounds those of all names that begin so: what lies below the
//! threshold is never run, and everything at or above it is found. That is exact, and it is what
//! makes a whole catalogue affordable: to know the rank of a name only the beginnings that are at
//! least as likely as the whole name count.

use burn::tensor::Tensor;
use e2p_model::{Decoder, KvCache, Padding};
use e2p_prefix::Prefilled;

use super::log_sum_exp::log_sum_exp;
use super::tree::NameTree;
use crate::error::Result;

/// Nodes that run in one pass: enough to fill the matrix products, few enough for their logits and
/// caches to stay small (ours).
const ROWS_PER_PASS: usize = 256;

/// A node that is to be run: its row in the pass that ran its parent, the token that leads to it,
/// its score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    row: usize,
    id: u32,
    pub(crate) node: usize,
    pub(crate) score: f64,
}

impl Open {
    /// The end of the prompt, which is run already.
    pub(crate) const ROOT: Self = Self {
        row: 0,
        id: 0,
        node: 0,
        score: 0.0,
    };
}

/// The items whose name has a log-likelihood (nats) of at least `threshold`, with it; names that do
/// not fit behind the prompt cannot be written and are not among them.
///
/// # Errors
/// Whatever the decoder refuses.
pub(crate) fn at_least(
    decoder: &Decoder,
    tree: &NameTree,
    prefilled: &Prefilled,
    threshold: f64,
) -> Result<Vec<(usize, f64)>> {
    let mut walk = Walk {
        decoder,
        tree,
        threshold,
        found: Vec::new(),
    };
    walk.descend(&prefilled.cache, prefilled.hidden.clone(), &[Open::ROOT])?;
    Ok(walk.found)
}

/// A search on its way.
struct Walk<'a> {
    decoder: &'a Decoder,
    tree: &'a NameTree,
    threshold: f64,
    /// Items and the log-likelihoods of their names.
    found: Vec<(usize, f64)>,
}

impl Walk<'_> {
    /// Scores the children of nodes that have been run, then runs those that go on: depth first by
    /// passes, so that few caches are alive.
    fn descend(&mut self, cache: &KvCache, hidden: Tensor<2>, nodes: &[Open]) -> Result<()> {
        let (decoder, tree) = (self.decoder, self.tree);
        let mut open = Vec::new();
        for_each_child(decoder, tree, hidden, nodes, |child| {
            if child.score < self.threshold {
                return;
            }
            let node = tree.node(child.node);
            let items = node.items.iter().map(|item| (*item, child.score));
            self.found.extend(items);
            if !node.children.is_empty() {
                open.push(child);
            }
        });
        if cache.len() == decoder.config().max_seq_len {
            return Ok(());
        }
        for chunk in open.chunks(ROWS_PER_PASS) {
            let (cache, hidden) = run(decoder, cache, chunk)?;
            self.descend(&cache, hidden, chunk)?;
        }
        Ok(())
    }
}

/// Calls `visit` with every child of `nodes`, whose hidden states are the rows of `hidden`.
pub(crate) fn for_each_child(
    decoder: &Decoder,
    tree: &NameTree,
    hidden: Tensor<2>,
    nodes: &[Open],
    mut visit: impl FnMut(Open),
) {
    let vocab_size = decoder.config().vocab_size;
    let logits = decoder
        .logits(hidden)
        .into_data()
        .try_into_vec_as::<f32>()
        .expect("logits are numbers");
    for (row, (node, logits)) in nodes.iter().zip(logits.chunks(vocab_size)).enumerate() {
        let normalizer = log_sum_exp(logits);
        for (id, child) in &tree.node(node.node).children {
            visit(Open {
                row,
                id: *id,
                node: *child,
                score: node.score + f64::from(logits[*id as usize]) - normalizer,
            });
        }
    }
}

/// Runs nodes behind their parents: their keys and values on top of those of their ancestors, and
/// their hidden states.
pub(crate) fn run(
    decoder: &Decoder,
    parents: &KvCache,
    nodes: &[Open],
) -> Result<(KvCache, Tensor<2>)> {
    let rows: Vec<usize> = nodes.iter().map(|node| node.row).collect();
    let mut cache = parents.branches(&rows, parents.len() + 1);
    let ids: Vec<[u32; 1]> = nodes.iter().map(|node| [node.id]).collect();
    let (embeds, _) = decoder.embed_rows(&ids, Padding::Right)?;
    let hidden = decoder.forward_cached(embeds, &mut cache)?;
    Ok((cache, hidden.squeeze_dim(1)))
}
