//! From an id to its row, for millions of ids, built in a few tens of milliseconds.
//!
//! The ids stay where they are, in the mapped text file. Beside it stand the end of every line and
//! an open-addressing table of four bytes a slot: the row, and in the bits that rows do not need,
//! some of the id's hash. A lookup touches one or two slots and one id; a million ids take 12 MiB.

use std::path::Path;

use rayon::prelude::*;

use super::mapped::Bytes;
use crate::error::DataError;
use crate::hash::hash_bytes;

/// The ids of a file, in row order, and the way back.
#[derive(Debug)]
pub(crate) struct IdIndex {
    text: Bytes,
    /// Bytes of the mark at the beginning.
    mark: usize,
    /// Where each id's line ends, without its line break.
    ends: Vec<u32>,
    /// `0` is free; otherwise the row plus one in the lower `row_bits`, and above them the upper
    /// bits of the id's hash.
    table: Vec<u32>,
    row_bits: u32,
}

/// Why a list of ids cannot be used: the row, from one, what was found and what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadIds {
    pub(crate) row: Option<u64>,
    pub(crate) found: String,
    pub(crate) expected: &'static str,
}

impl BadIds {
    /// The error of `file`.
    pub(crate) fn of(self, file: &Path) -> DataError {
        DataError::Embeddings {
            file: file.to_owned(),
            row: self.row,
            found: self.found,
            expected: self.expected.to_owned(),
        }
    }
}

impl IdIndex {
    /// Indexes a text with one id a line; a file may begin with a byte order mark.
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
        let is_file = matches!(text, Bytes::Mapped(..));
        let mark = if is_file && text.starts_with(b"\xEF\xBB\xBF") {
            3
        } else {
            0
        };
        let old_mac = is_file && memchr::memchr(b'\n', &text).is_none();
        let line_break = if old_mac { b'\r' } else { b'\n' };
        let mut ends: Vec<u32> = Vec::with_capacity(text.len() / 8);
        ends.extend(memchr::memchr_iter(line_break, &text).map(|end| end as u32));
        if text.last().is_some_and(|&last| last != line_break) {
            ends.push(text.len() as u32);
        }
        let mut index = Self {
            text,
            mark,
            ends,
            table: Vec::new(),
            row_bits: 0,
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
        self.row_bits = (self.ends.len() + 1).next_power_of_two().trailing_zeros();
        // Hashing needs all cores and no memory but its result; filling the table is one walk with
        // a few cache misses in flight at a time.
        let hashes: Vec<u64> = (0..self.ends.len())
            .into_par_iter()
            .with_min_len(1 << 14)
            .map(|row| hash_bytes(self.id_bytes(row)))
            .collect();
        for (row, hash) in hashes.into_iter().enumerate() {
            if self.id_bytes(row).is_empty() {
                let row = Some(row as u64 + 1);
                return Err(BadIds {
                    row,
                    found: "no id".into(),
                    expected: "an id on every line",
                });
            }
            match self.find(hash, |other| self.id_bytes(other) == self.id_bytes(row)) {
                Ok(first) => {
                    let id = String::from_utf8_lossy(self.id_bytes(row));
                    let found = format!("id `{id}` again, first in row {}", first + 1);
                    return Err(BadIds {
                        row: Some(row as u64 + 1),
                        found,
                        expected: "every id once",
                    });
                }
                Err(free) => self.table[free] = self.tag(hash) | (row as u32 + 1),
            }
        }
        Ok(())
    }

    /// The row that has this hash and is the same; otherwise the free slot where it would stand.
    fn find(&self, hash: u64, same: impl Fn(usize) -> bool) -> Result<usize, usize> {
        let mask = self.table.len() - 1;
        let row_mask = ((1_u64 << self.row_bits) - 1) as u32;
        let tag = self.tag(hash);
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                return Err(slot);
            }
            let row = (entry & row_mask) as usize - 1;
            if entry & !row_mask == tag && same(row) {
                return Ok(row);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn tag(&self, hash: u64) -> u32 {
        let row_mask = ((1_u64 << self.row_bits) - 1) as u32;
        (hash >> 32) as u32 & !row_mask
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The row of `id`.
    pub(crate) fn row(&self, id: &str) -> Option<usize> {
        self.find(hash_bytes(id.as_bytes()), |row| {
            self.id_bytes(row) == id.as_bytes()
        })
        .ok()
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: usize) -> &str {
        std::str::from_utf8(self.id_bytes(row))
            .expect("the whole text was checked in `new`, and lines end at ASCII")
    }

    fn id_bytes(&self, row: usize) -> &[u8] {
        let line = &self.text[self.line_start(row)..self.ends[row] as usize];
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn line_start(&self, row: usize) -> usize {
        if row == 0 {
            self.mark
        } else {
            self.ends[row - 1] as usize + 1
        }
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
