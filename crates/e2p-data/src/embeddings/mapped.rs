//! Bytes of a file, mapped rather than read.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{DataError, Result};

/// The space of a file that does not say its own.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// Bytes that are either mapped from a file or held in memory.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(Mmap, File),
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
        // SAFETY: the map is read-only and lives no longer than this value. A file that another
        // process shortens meanwhile would fault, as with every mapped file; embedding files are
        // written under another name and renamed, never changed in place.
        #[allow(unsafe_code)]
        let map =
            unsafe { Mmap::map(&file) }.map_err(|source| DataError::io(path, "map", source))?;
        Ok(Self::Mapped(map, file))
    }

    /// Copies a few bytes from somewhere in the middle.
    ///
    /// A mapped file is read at its position instead of through the map: touching one page of a map
    /// makes Linux map the fifteen around it as well, which for 10,000 random rows of a gigabyte
    /// counted as 600 MiB of resident memory. Read like this they count as nothing and take no
    /// longer.
    pub(crate) fn copy_range(&self, start: usize, length: usize) -> io::Result<Vec<u8>> {
        #[cfg(unix)]
        if let Self::Mapped(_, file) = self {
            let mut bytes = vec![0; length];
            std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, start as u64)?;
            return Ok(bytes);
        }
        Ok(self[start..start + length].to_vec())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
