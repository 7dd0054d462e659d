//! From an id to its row, for millions of ids, built in a few tens of milliseconds.
//!
//! The ids stay where they are, in the mapped text file. Beside it stand the end of every line and an open-addressing table of one word per slot: the
//! upper half of the id's hash and the row. A lookup touches one or two slots and one id; building is one pass over the file and one over the table.

use super::mapped::Bytes;
use crate::hash::hash_bytes;

/// The ids of a file, in row order, and the way back.
#[derive(Debug)]
pub(crate) struct IdIndex {
    text: Bytes,
    /// Where each id's line ends, without its line break.
    ends: Vec<u32>,
    /// `0` is free; otherwise the hash's upper half and the row plus one.
    table: Vec<u64>,
}

/// Why a list of ids cannot be used: the row, from one, what was found and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadIds {
    pub(crate) row: Option<u64>,
    pub(crate) found: String,
    pub(crate) expected: &'static str,
}

impl IdIndex {
    /// Indexes a text with one id a line.
    pub(crate) fn new(text: Bytes) -> Result<Self, BadIds> {
        if u32::try_from(text.len()).is_err() {
            let found = format!("{} bytes of ids", text.len());
            return Err(BadIds {
                row: None,
                found,
                expected: "less than 4 GiB",
            });
        }
        if let Err(error) = std::str::from_utf8(&text) {
            let row = memchr::memchr_iter(b'\n', &text[..error.valid_up_to()]).count() as u64 + 1;
            return Err(BadIds {
                row: Some(row),
                found: "bytes that are not UTF-8".into(),
                expected: "UTF-8 ids",
            });
        }
        let mut ends: Vec<u32> = Vec::with_capacity(text.len() / 8);
        ends.extend(memchr::memchr_iter(b'\n', &text).map(|end| end as u32));
        if text.last().is_some_and(|&last| last != b'\n') {
            ends.push(text.len() as u32);
        }
        let mut index = Self {
            text,
            ends,
            table: Vec::new(),
        };
        index.fill()?;
        Ok(index)
    }

    /// Indexes ids that are not in a file.
    pub(crate) fn from_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<Self, BadIds> {
        let mut text = Vec::new();
        for (row, id) in ids.into_iter().enumerate() {
            if id.contains(['\n', '\r']) {
                let found = "a line break in an id".to_owned();
                return Err(BadIds {
                    row: Some(row as u64 + 1),
                    found,
                    expected: "ids on one line",
                });
            }
            text.extend_from_slice(id.as_bytes());
            text.push(b'\n');
        }
        Self::new(Bytes::Owned(text))
    }

    fn fill(&mut self) -> Result<(), BadIds> {
        let slots = (self.ends.len() * 2).next_power_of_two().max(2);
        self.table = vec![0; slots];
        let mask = slots - 1;
        for row in 0..self.ends.len() {
            let id = self.id_bytes(row);
            if id.is_empty() {
                let row = Some(row as u64 + 1);
                return Err(BadIds {
                    row,
                    found: "no id".into(),
                    expected: "an id on every line",
                });
            }
            let hash = hash_bytes(id);
            let mut slot = hash as usize & mask;
            while self.table[slot] != 0 {
                let other = (self.table[slot] as u32 - 1) as usize;
                if self.table[slot] >> 32 == hash >> 32 && self.id_bytes(other) == id {
                    let found = format!(
                        "id `{}` again, first in row {}",
                        String::from_utf8_lossy(id),
                        other + 1
                    );
                    return Err(BadIds {
                        row: Some(row as u64 + 1),
                        found,
                        expected: "every id once",
                    });
                }
                slot = (slot + 1) & mask;
            }
            self.table[slot] = (hash >> 32 << 32) | (row as u64 + 1);
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The row of `id`.
    pub(crate) fn row(&self, id: &str) -> Option<usize> {
        let mask = self.table.len() - 1;
        let hash = hash_bytes(id.as_bytes());
        let mut slot = hash as usize & mask;
        while self.table[slot] != 0 {
            let row = (self.table[slot] as u32 - 1) as usize;
            if self.table[slot] >> 32 == hash >> 32 && self.id_bytes(row) == id.as_bytes() {
                return Some(row);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: usize) -> &str {
        std::str::from_utf8(self.id_bytes(row))
            .expect("the whole text was checked in `new`, and lines end at ASCII")
    }

    fn id_bytes(&self, row: usize) -> &[u8] {
        let start = if row == 0 {
            0
        } else {
            self.ends[row - 1] as usize + 1
        };
        let line = &self.text[start..self.ends[row] as usize];
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_finds_its_row() {
        let ids: Vec<String> = (0..5000).map(|i| format!("u{i}")).collect();
        let index = IdIndex::from_ids(ids.iter().map(String::as_str)).unwrap();
        assert_eq!(index.len(), ids.len());
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(index.row(id), Some(row));
            assert_eq!(index.id(row), id);
        }
        assert_eq!(index.row("u5000"), None);
        assert_eq!(index.row(""), None);
    }

    #[test]
    fn windows_line_ends_are_not_part_of_an_id() {
        let index = IdIndex::new(Bytes::Owned(b"a\r\nb".to_vec())).unwrap();
        assert_eq!(
            (index.row("a"), index.row("b"), index.len()),
            (Some(0), Some(1), 2)
        );
    }

    #[test]
    fn no_ids_are_no_rows() {
        let index = IdIndex::new(Bytes::Owned(Vec::new())).unwrap();
        assert_eq!((index.len(), index.row("a")), (0, None));
    }

    #[test]
    fn duplicates_and_gaps_are_named() {
        let bad = IdIndex::from_ids(["a", "b", "a"]).unwrap_err();
        assert_eq!(bad.row, Some(3));
        assert!(bad.found.contains("first in row 1"), "{}", bad.found);
        assert_eq!(IdIndex::from_ids(["a", "", "c"]).unwrap_err().row, Some(2));
        assert_eq!(
            IdIndex::new(Bytes::Owned(b"a\n\xFF\n".to_vec()))
                .unwrap_err()
                .row,
            Some(2)
        );
    }
}
