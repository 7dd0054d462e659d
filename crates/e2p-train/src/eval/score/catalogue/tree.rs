//! The names of a catalogue as a prefix tree of token ids: what names begin with alike is scored
//! once.

use std::collections::HashMap;

/// A prefix tree. Node 0 is the root, the end of every prompt. Preferred variable name: `tree`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameTree {
    nodes: Vec<Node>,
    /// The node at which each item's name ends; `None` for names that are left out.
    ends: Vec<Option<usize>>,
}

/// A beginning of names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Next tokens and their nodes, by token.
    pub(crate) children: Vec<(u32, usize)>,
    /// Items whose name ends here.
    pub(crate) items: Vec<usize>,
}

impl NameTree {
    /// From the ids of every item's name, end of turn included; `None` leaves an item out.
    pub(crate) fn new(names: &[Option<Vec<u32>>]) -> Self {
        let mut tree = Self {
            nodes: vec![Node::default()],
            ends: vec![None; names.len()],
        };
        let mut next: HashMap<(usize, u32), usize> = HashMap::new();
        for (item, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            let mut at = 0;
            for id in name {
                at = *next.entry((at, *id)).or_insert_with(|| {
                    tree.nodes.push(Node::default());
                    tree.nodes.len() - 1
                });
            }
            tree.nodes[at].items.push(item);
            tree.ends[item] = Some(at);
        }
        for ((parent, id), node) in next {
            tree.nodes[parent].children.push((id, node));
        }
        for node in &mut tree.nodes {
            node.children.sort_unstable();
        }
        tree
    }

    /// A node by number.
    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// The items that have the same name as `item`, itself among them; `None` where its name is
    /// left out.
    pub(crate) fn namesakes(&self, item: usize) -> Option<&[usize]> {
        self.ends[item].map(|end| self.nodes[end].items.as_slice())
    }

    /// Items in the tree.
    pub(crate) fn n_items(&self) -> usize {
        self.ends.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_their_beginnings_and_namesakes_their_end() {
        let names = [vec![1, 2, 9], vec![1, 3, 9], vec![1, 9], vec![1, 2, 9]];
        let mut names: Vec<Option<Vec<u32>>> = names.into_iter().map(Some).collect();
        names.push(None);
        let tree = NameTree::new(&names);
        // The root, 1, 1-2, 1-3 and three ends.
        assert_eq!(tree.nodes.len(), 7);
        assert_eq!(tree.n_items(), 4);
        assert_eq!(tree.namesakes(3).unwrap(), [0, 3]);
        assert_eq!(tree.namesakes(2).unwrap(), [2]);
        assert!(tree.namesakes(4).is_none());
        let (id, first) = tree.node(0).children[0];
        let next: Vec<u32> = tree
            .node(first)
            .children
            .iter()
            .map(|child| child.0)
            .collect();
        assert_eq!((id, next), (1, vec![2, 3, 9]));
    }
}
