//! Keys and values of what stands before the soft tokens, kept within a memory budget.
//!
//! It depends neither on the user nor on the projector: its states are the same in every epoch, and
//! the same for all users. What does not fit into the budget is computed again each time.

use std::collections::HashMap;

use e2p_model::{Decoder, KvCache};

use crate::error::Result;
use crate::spliced::{SplicedBatch, SplicedRow};

/// A store of single-row caches by their ids. Preferred variable name: `prefills`.
#[derive(Debug)]
pub struct PrefillCache {
    rows: HashMap<Vec<u32>, KvCache>,
    budget: usize,
    used: usize,
}

impl PrefillCache {
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
    /// What is kept does not depend on what was missing beside it, so that a resumed run finds the
    /// same bits.
    ///
    /// # Errors
    /// As [`SplicedBatch::new`].
    pub fn batch(&mut self, decoder: &Decoder, rows: &[SplicedRow]) -> Result<SplicedBatch> {
        if rows.iter().any(|row| row.before.is_empty()) {
            return Ok(SplicedBatch::new(decoder, rows, None)?);
        }
        let mut missing: Vec<&Vec<u32>> = rows
            .iter()
            .map(|row| &row.before)
            .filter(|ids| !self.rows.contains_key(*ids))
            .collect();
        missing.sort();
        missing.dedup();
        let mut fresh = HashMap::new();
        for (ids, row) in missing.iter().zip(decoder.prefill_each(&missing)?) {
            if self.used + row.bytes() <= self.budget {
                self.used += row.bytes();
                self.rows.insert((*ids).clone(), row);
            } else {
                fresh.insert((*ids).clone(), row);
            }
        }
        let caches: Vec<&KvCache> = rows
            .iter()
            .map(|row| {
                let stored = self.rows.get(&row.before);
                stored.or_else(|| fresh.get(&row.before))
            })
            .map(|row| row.expect("stored or fresh"))
            .collect();
        let earlier = KvCache::join(&caches);
        Ok(SplicedBatch::new(decoder, rows, Some(earlier))?)
    }
}
