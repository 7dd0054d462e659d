//! A file whose pages are looked at before they are unpacked.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::DataError;

/// Bytes of the largest page that is unpacked. Pages are of about a megabyte; the writers that once
/// made one page of a whole row group stayed below this.
pub(super) const MAX_PAGE: u64 = 1 << 29;
/// A packed page of less cannot be larger than [`MAX_PAGE`] when unpacked with gzip, which makes
/// things at most 1032 times smaller.
const SURELY_SMALL: usize = (MAX_PAGE / 1032) as usize;

/// The file.
pub(super) struct CheckedFile(File);

impl CheckedFile {
    pub(super) fn open(path: &Path) -> crate::error::Result<Self> {
        let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
        Ok(Self(file))
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for CheckedFile {
    type T = BufReader<File>;

    /// Called where the header of a page begins.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut reader = self.0.get_read(start)?;
        match unpacked_size(reader.fill_buf()?) {
            Some(size) if size > MAX_PAGE => Err(too_large(size)),
            _ => Ok(reader),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A length of the file's own making would be asked for before it is read.
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF("the file ends before a page".to_owned()));
        }
        let bytes = self.0.get_bytes(start, length)?;
        // gzip is unpacked to its end whatever the header of the page says.
        if length > SURELY_SMALL && bytes.starts_with(&[0x1F, 0x8B]) {
            let unpacked = flate2::read::MultiGzDecoder::new(&bytes[..]);
            let size = io::copy(&mut unpacked.take(MAX_PAGE + 1), &mut io::sink())?;
            if size > MAX_PAGE {
                return Err(too_large(size));
            }
        }
        Ok(bytes)
    }
}

fn too_large(size: u64) -> ParquetError {
    ParquetError::General(format!(
        "a page of {size} bytes, where at most {MAX_PAGE} are read"
    ))
}

/// The second field of a page's header in Thrift's compact form, behind the type: the size in
/// bytes. `None` where something else stands there, which the reader refuses.
fn unpacked_size(header: &[u8]) -> Option<u64> {
    /// "The next field, a number of 32 bits."
    const NEXT_I32: u8 = 0x15;
    let (&[NEXT_I32], rest) = header.split_at_checked(1)? else {
        return None;
    };
    let (_, rest) = number(rest)?;
    let (&[NEXT_I32], rest) = rest.split_at_checked(1)? else {
        return None;
    };
    number(rest).map(|(size, _)| size)
}

/// A number of which every byte but the last has its highest bit, and whose lowest bit is its sign.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let digits = bytes[..length].iter().rev();
    let folded = digits.fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7F));
    let size = if folded & 1 == 0 { folded >> 1 } else { 0 };
    Some((size, &bytes[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_is_found_in_its_header() {
        // A data page (0), 2^30 bytes: zigzag 2^31.
        let header = [0x15, 0x00, 0x15, 0x80, 0x80, 0x80, 0x80, 0x08, 0x15, 0x02];
        assert_eq!(unpacked_size(&header), Some(1 << 30));
        assert_eq!(unpacked_size(&[0x15, 0x04, 0x15, 0x28, 0x15]), Some(20));
        for nonsense in [
            &[][..],
            &[0x15],
            &[0x15, 0x80],
            &[0x25, 0, 0x15, 2],
            &[0x15, 0, 0x15],
        ] {
            assert_eq!(unpacked_size(nonsense), None, "{nonsense:?}");
        }
    }
}
