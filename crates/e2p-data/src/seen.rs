//! Remembers which of millions of things were met, in about ten bytes each.

/// The bits of an entry that are flags; the others are the thing's hash.
const FLAGS: u64 = 0b1111;
/// Slots of an empty table.
const SMALLEST: usize = 64;

/// A set of 60-bit hashes with four flags each, in one open-addressing table.
///
/// Two things with the same 60 bits are taken for one: among five million that happens once in a
/// hundred thousand runs, and costs one line.
#[derive(Debug)]
pub(crate) struct Seen {
    /// `0` is free.
    table: Vec<u64>,
    len: usize,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![0; SMALLEST],
            len: 0,
        }
    }

    /// Forgets everything; cheap where little was inserted.
    pub(crate) fn clear(&mut self) {
        if self.len > 0 {
            self.table.truncate(SMALLEST);
            self.table.fill(0);
            self.len = 0;
        }
    }

    /// Adds `hash` with no flags unless it is there; whether it was new.
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        let before = self.len;
        self.slot(hash);
        self.len > before
    }

    /// Sets `flag`, one of the four lowest bits, of `hash`; the flags it had before.
    pub(crate) fn flag(&mut self, hash: u64, flag: u64) -> u64 {
        debug_assert_eq!(flag & !FLAGS, 0);
        let slot = self.slot(hash);
        let before = self.table[slot] & FLAGS;
        self.table[slot] |= flag;
        before
    }

    /// The flags of everything inserted, in no particular order.
    pub(crate) fn flags(&self) -> impl Iterator<Item = u64> {
        self.table
            .iter()
            .filter(|entry| **entry != 0)
            .map(|entry| entry & FLAGS)
    }

    fn slot(&mut self, hash: u64) -> usize {
        if self.len * 8 >= self.table.len() * 7 {
            let larger = vec![0; self.table.len() * 2];
            for entry in std::mem::replace(&mut self.table, larger) {
                if entry != 0 {
                    let slot = self.find(entry);
                    self.table[slot] = entry;
                }
            }
        }
        // Never zero, which would be a free slot.
        let key = (hash & !FLAGS).max(FLAGS + 1);
        let slot = self.find(key);
        if self.table[slot] == 0 {
            self.table[slot] = key;
            self.len += 1;
        }
        slot
    }

    fn find(&self, key: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = (key >> 4) as usize & mask;
        while self.table[slot] != 0 && (self.table[slot] ^ key) & !FLAGS != 0 {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::hash::mix;

    #[test]
    fn it_agrees_with_the_standard_set() {
        let mut seen = Seen::new();
        let mut set = HashSet::new();
        for i in 0..20_000_u64 {
            let hash = mix(i % 7_000);
            assert_eq!(seen.insert(hash), set.insert(hash), "{i}");
        }
        assert!(seen.insert(0) && !seen.insert(0));
        seen.clear();
        assert!(seen.insert(0) && seen.insert(mix(1)) && !seen.insert(mix(1)));
    }

    #[test]
    fn flags_stay_through_growth() {
        let mut seen = Seen::new();
        for i in 0..5_000 {
            assert_eq!(seen.flag(mix(i), 1 << (i % 3)), 0);
        }
        for i in 0..5_000 {
            assert_eq!(seen.flag(mix(i), 8), 1 << (i % 3));
        }
        assert!(seen.flags().all(|flags| flags & 8 != 0));
        assert_eq!(seen.flags().count(), 5_000);
    }
}
