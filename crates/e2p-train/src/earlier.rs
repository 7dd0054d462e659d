//! Keys and values of fixed prompts, kept between steps and epochs within a memory budget.
//!
//! What stands before the soft tokens does not depend on the user or on the projector: its hidden states are the same in every epoch.
//! What does not fit into the budget is computed again each time.

use std::collections::HashMap;

use e2p_model::ops::FEW_ROWS;
use e2p_model::{Decoder, KvCache};
use e2p_prefix::{SplicedBatch, SplicedRow, prefill};

use crate::error::Result;

/// A store of single-row caches by their ids. Preferred variable name: `earlier`.
#[derive(Debug)]
pub struct EarlierStore {
    rows: HashMap<Vec<u32>, KvCache>,
    budget: usize,
    used: usize,
}

impl EarlierStore {
    /// A store that keeps at most `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self {
            rows: HashMap::new(),
            budget,
            used: 0,
        }
    }

    /// Bytes kept.
    pub fn used(&self) -> usize {
        self.used
    }

    /// A batch of `rows` whose fixed parts come from the store where it has them.
    ///
    /// # Errors
    /// As [`SplicedBatch::new`].
    pub fn batch(&mut self, decoder: &Decoder, rows: &[SplicedRow]) -> Result<SplicedBatch> {
        if rows.iter().any(|row| row.before.is_empty()) {
            return Ok(SplicedBatch::new(decoder, rows, None)?);
        }
        let mut new: Vec<&Vec<u32>> = rows
            .iter()
            .map(|row| &row.before)
            .filter(|ids| !self.rows.contains_key(*ids))
            .collect();
        new.sort();
        new.dedup();
        // Short prompts alone, the others in one padded pass: what is kept must not depend on what was missing beside it.
        let (alone, together): (Vec<&Vec<u32>>, Vec<&Vec<u32>>) =
            new.into_iter().partition(|ids| ids.len() <= FEW_ROWS);
        let mut computed = Vec::with_capacity(alone.len() + together.len());
        for ids in alone {
            computed.push((ids, prefill(decoder, &[ids])?.single_row(0)));
        }
        if !together.is_empty() {
            let caches = prefill(decoder, &together)?;
            let rows = together.iter().enumerate();
            computed.extend(rows.map(|(index, ids)| (*ids, caches.single_row(index))));
        }
        let mut fresh = HashMap::new();
        for (ids, row) in computed {
            if self.used + row.bytes() <= self.budget {
                self.used += row.bytes();
                self.rows.insert(ids.clone(), row);
            } else {
                fresh.insert(ids.clone(), row);
            }
        }
        let caches: Vec<&KvCache> = rows
            .iter()
            .map(|row| {
                self.rows
                    .get(&row.before)
                    .or_else(|| fresh.get(&row.before))
                    .expect("stored or fresh")
            })
            .collect();
        Ok(SplicedBatch::new(
            decoder,
            rows,
            Some(KvCache::join(&caches)),
        )?)
    }
}
