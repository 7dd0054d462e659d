//! Text that is packed with gzip or zstd, unpacked while it is read.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Reads what `R` has, unpacked if its first bytes say that it is packed.
pub enum Unpacked<R: Read> {
    /// Nothing was read yet.
    Start(Option<R>),
    /// As it is.
    Plain(BufReader<R>),
    /// gzip, perhaps in several members.
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    /// zstd, perhaps in several frames.
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes when it is read.
    pub fn new(reader: R) -> Self {
        Self::Start(Some(reader))
    }

    fn begin(reader: R) -> io::Result<Self> {
        let mut reader = BufReader::new(reader);
        let start = reader.fill_buf()?;
        Ok(if start.starts_with(&[0x1F, 0x8B]) {
            Self::Gzip(Box::new(MultiGzDecoder::new(reader)))
        } else if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
            Self::Zstd(Box::new(zstd::Decoder::with_buffer(reader)?))
        } else {
            Self::Plain(reader)
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Start(reader) => {
                let Some(reader) = reader.take() else {
                    return Ok(0);
                };
                *self = Self::begin(reader)?;
                self.read(buffer)
            }
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

/// What a file is by its name, in lower case: `csv` of `events.csv` and of `events.CSV.gz`.
pub(crate) fn extension(path: &Path) -> Option<String> {
    let last = |path: &Path| {
        let extension = path.extension()?.to_str()?;
        Some(extension.to_ascii_lowercase())
    };
    let extension = last(path)?;
    if matches!(extension.as_str(), "gz" | "zst") {
        return last(path.file_stem()?.as_ref());
    }
    Some(extension)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        Unpacked::new(bytes).read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn packed_bytes_are_unpacked_and_others_stay() {
        let gzip = |text: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text).unwrap();
            out.finish().unwrap()
        };
        let text = b"user,item\na,b\n".as_slice();
        let zstd = zstd::encode_all(text, 1).unwrap();
        let members = [gzip(text), gzip(b"c,d\n")].concat();
        assert_eq!(all(&members).unwrap(), b"user,item\na,b\nc,d\n");
        assert_eq!(all(&zstd).unwrap(), text);
        assert_eq!(all(text).unwrap(), text);
        assert_eq!(all(b"").unwrap(), b"");
        assert!(all(&gzip(text)[..20]).is_err() && all(&zstd[..zstd.len() - 2]).is_err());
    }

    #[test]
    fn the_extension_is_that_of_what_is_packed() {
        let of = |name: &str| extension(Path::new(name));
        assert_eq!(of("a/events.csv.gz").as_deref(), Some("csv"));
        assert_eq!(of("events.JSONL.zst").as_deref(), Some("jsonl"));
        assert_eq!(of("events.Parquet").as_deref(), Some("parquet"));
        assert_eq!((of("events"), of("events.gz")), (None, None));
    }
}
