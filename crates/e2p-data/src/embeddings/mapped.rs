//! Bytes of a file, mapped rather than read.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{DataError, Result};

/// Bytes that are either mapped from a file or held in memory.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps `path`.
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
        let length = file
            .metadata()
            .map_err(|source| DataError::io(path, "open", source))?
            .len();
        if length == 0 {
            // An empty file cannot be mapped on every platform.
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is read-only and lives no longer than this value. A file that another process shortens meanwhile would fault, as with every
        // mapped file; embedding files are written under another name and renamed, never changed in place.
        #[allow(unsafe_code)]
        let map =
            unsafe { Mmap::map(&file) }.map_err(|source| DataError::io(path, "map", source))?;
        Ok(Self::Mapped(map))
    }

    /// Tells the system that reads will jump around, so that it does not read ahead.
    pub(crate) fn expect_random_reads(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // Only advice: a system that does not take it works all the same.
            let _ = map.advise(memmap2::Advice::Random);
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
