//! Ids as numbers, in little more than the ids' own bytes.

use crate::hash::hash_bytes;

/// Gives every distinct text a number, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    text: String,
    ends: Vec<usize>,
    /// `0` is free; otherwise the number plus one.
    table: Vec<u32>,
}

impl Interner {
    /// The number of `id`, a new one if it was not met before.
    pub(crate) fn number(&mut self, id: &str) -> u32 {
        if self.ends.len() * 4 >= self.table.len() * 3 {
            self.table = vec![0; (self.table.len() * 2).max(1024)];
            for number in 0..self.ends.len() {
                let free = self
                    .find(self.get(number as u32))
                    .expect_err("every id is there once");
                self.table[free] = number as u32 + 1;
            }
        }
        self.find(id).unwrap_or_else(|free| {
            self.text.push_str(id);
            self.ends.push(self.text.len());
            self.table[free] = self.ends.len() as u32;
            self.ends.len() as u32 - 1
        })
    }

    /// The number of an id that was met before.
    pub(crate) fn lookup(&self, id: &str) -> Option<u32> {
        if self.table.is_empty() {
            None
        } else {
            self.find(id).ok()
        }
    }

    /// The id of a number.
    pub(crate) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 {
            0
        } else {
            self.ends[number - 1]
        };
        &self.text[start..self.ends[number]]
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn find(&self, id: &str) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut slot = hash_bytes(id.as_bytes()) as usize & mask;
        while self.table[slot] != 0 {
            let number = self.table[slot] - 1;
            if self.get(number) == id {
                return Ok(number);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_in_order_and_kept() {
        let mut interner = Interner::default();
        assert_eq!(interner.lookup("7"), None);
        for round in 0..2 {
            for i in 0..5000_u32 {
                assert_eq!(interner.number(&i.to_string()), i, "round {round}");
            }
        }
        assert_eq!(
            (interner.len(), interner.get(17), interner.lookup("42")),
            (5000, "17", Some(42))
        );
        assert_eq!(interner.lookup("5000"), None);
    }
}
