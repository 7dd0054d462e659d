//! Users × items with weights, row by row.

use std::collections::HashSet;

use crate::data_dir::DataDir;
use crate::error::{DataError, Result};
use crate::example::Split;
use crate::interner::Interner;

/// Compressed sparse rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// Where each row ends.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    pub(crate) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn map_values(&self, map: impl Fn(f32) -> f32) -> Self {
        let values = self.values.iter().map(|value| map(*value)).collect();
        Self {
            starts: self.starts.clone(),
            columns: self.columns.clone(),
            values,
        }
    }

    pub(crate) fn transposed(&self, columns: usize) -> Self {
        let mut starts = vec![0; columns + 1];
        for &column in &self.columns {
            starts[column as usize + 1] += 1;
        }
        for column in 0..columns {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let mut transposed = Self {
            starts,
            columns: vec![0; self.columns.len()],
            values: vec![0.0; self.values.len()],
        };
        for row in 0..self.len() {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                let at = &mut next[column as usize];
                transposed.columns[*at] = row as u32;
                transposed.values[*at] = value;
                *at += 1;
            }
        }
        transposed
    }
}

/// What users chose and how much.
#[derive(Debug, Clone)]
pub struct InteractionMatrix {
    users: Vec<String>,
    items: Vec<String>,
    by_user: Rows,
    held_out: [Vec<(u32, u32)>; 2],
}

impl InteractionMatrix {
    /// The histories of a data directory, which never have what is held out, and the items that its
    /// `valid` and `test` examples hold out.
    ///
    /// Users without a history have no row.
    pub fn from_data_dir(data: &DataDir) -> Result<Self> {
        let mut items = Interner::default();
        for item in data.items()? {
            items.number(&item?.item);
        }
        let mut users = Interner::default();
        let mut rows = Rows {
            starts: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
        };
        for user in data.users()? {
            let user = user?;
            let mut met = HashSet::new();
            for (at, item) in user.history.iter().enumerate() {
                let item = items.number(item);
                if met.insert(item) {
                    rows.columns.push(item);
                    rows.values
                        .push(user.weights.get(at).copied().unwrap_or(1.0));
                }
            }
            if !user.history.is_empty()
                && users.number(&user.user) as usize + 1 == rows.starts.len()
            {
                rows.starts.push(rows.columns.len());
            }
        }
        if rows.columns.is_empty() {
            return Err(DataError::NothingLeft {
                task: "embed interactions",
                what: "history",
            });
        }
        let held_out = |split| -> Result<Vec<(u32, u32)>> {
            let mut pairs = Vec::new();
            for example in data.examples(split)? {
                let example = example?;
                let user = users.lookup(&example.user);
                let item = example.item.as_deref().and_then(|item| items.lookup(item));
                pairs.extend(user.zip(item));
            }
            Ok(pairs)
        };
        let held_out = [held_out(Split::Valid)?, held_out(Split::Test)?];
        let names = |interner: &Interner| {
            (0..interner.len() as u32)
                .map(|n| interner.get(n).to_owned())
                .collect()
        };
        Ok(Self {
            users: names(&users),
            items: names(&items),
            by_user: rows,
            held_out,
        })
    }

    /// The users' ids, in row order.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// The items' ids, in column order.
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// How many pairs of user and item there are.
    pub fn len(&self) -> usize {
        self.by_user.columns.len()
    }

    /// Whether there are none; never true of a matrix from a data directory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn by_user(&self) -> &Rows {
        &self.by_user
    }

    /// Pairs of user and item that `split` holds out.
    pub(crate) fn held_out(&self, split: Split) -> &[(u32, u32)] {
        match split {
            Split::Train => &[],
            Split::Valid => &self.held_out[0],
            Split::Test => &self.held_out[1],
        }
    }

    #[cfg(test)]
    pub(super) fn from_pairs(users: usize, items: usize, pairs: &[(usize, u32, f32)]) -> Self {
        let mut rows = Rows {
            starts: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
        };
        for user in 0..users {
            for (_, item, value) in pairs.iter().filter(|(other, _, _)| *other == user) {
                rows.columns.push(*item);
                rows.values.push(*value);
            }
            rows.starts.push(rows.columns.len());
        }
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect();
        Self {
            users: names(users),
            items: names(items),
            by_user: rows,
            held_out: [Vec::new(), Vec::new()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_is_nothing() {
        let pairs = [(0, 2, 1.0), (0, 0, 2.0), (2, 2, 3.0), (3, 1, 4.0)];
        let matrix = InteractionMatrix::from_pairs(4, 3, &pairs);
        let transposed = matrix.by_user().transposed(3);
        assert_eq!(
            transposed.row(2),
            ([0, 2].as_slice(), [1.0, 3.0].as_slice())
        );
        let twice = transposed.transposed(4);
        assert_eq!(twice.row(0), ([0, 2].as_slice(), [2.0, 1.0].as_slice()));
        assert_eq!(twice.transposed(3), transposed);
        assert_eq!(twice.len(), 4);
    }
}
