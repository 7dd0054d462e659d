//! Text files line by line: bounded, decoded, counted, with the bad lines collected.
//!
//! A line longer than the limit is a problem of that line and is skipped without being held in
//! memory, so a file that is one endless line costs no more than the limit.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{DataError, MAX_PROBLEMS, Problem, Result};
use crate::unpack::Unpacked;

/// Longest line, or quoted record over several lines, that is read unless an option says otherwise:
/// 16 MiB.
pub const MAX_LINE_BYTES: usize = 16 << 20;

const BUFFER_BYTES: usize = 1 << 18;

/// How the bytes of a text file become characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[default]
    Utf8,
    /// ISO-8859-1: every byte is the character of that number.
    Latin1,
}

/// Collects the bad lines of one file up to [`MAX_PROBLEMS`].
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    found: Vec<Problem>,
}

impl Problems {
    /// No problems of `file` yet.
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            found: Vec::new(),
        }
    }

    /// Adds a problem; an error as soon as there are too many.
    pub fn push(&mut self, problem: Problem) -> Result<()> {
        self.found.push(problem);
        if self.found.len() < MAX_PROBLEMS {
            Ok(())
        } else {
            Err(self.take(true))
        }
    }

    /// Adds a problem after which the file makes no sense, and returns the error with all problems
    /// so far.
    pub fn fatal(&mut self, problem: Problem) -> DataError {
        self.found.push(problem);
        self.take(false)
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The verdict at the end of the file.
    pub fn finish(mut self) -> Result<()> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(self.take(false))
        }
    }

    fn take(&mut self, more: bool) -> DataError {
        DataError::BadInput {
            file: self.file.clone(),
            problems: std::mem::take(&mut self.found),
            more,
        }
    }
}

/// What [`LineReader::next`] met.
pub(crate) enum Step {
    /// A line, without its line break, is in the buffer.
    Line,
    /// A line that cannot be used.
    Bad(Problem),
    /// The end of the file.
    End,
}

/// Reads one file line by line.
///
/// A file packed with gzip or zstd is unpacked on the way. Lines end with `\n` or `\r\n`; in a file
/// whose beginning has no `\n` they end with `\r`.
pub struct LineReader<R: Read = File> {
    path: PathBuf,
    reader: BufReader<Unpacked<R>>,
    line_break: Option<u8>,
    encoding: Encoding,
    max_bytes: usize,
    raw: Vec<u8>,
    text: String,
    number: u64,
    /// Whether the last line read ended with a line break; false on a truncated last line.
    ended: bool,
}

impl LineReader<File> {
    /// Opens `path`.
    pub fn open(path: &Path, encoding: Encoding, max_bytes: usize) -> Result<Self> {
        let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
        Ok(LineReader::new(path, file, encoding, max_bytes))
    }
}

impl<R: Read> LineReader<R> {
    /// Reads `reader`, which errors will call `path`.
    pub fn new(path: &Path, reader: R, encoding: Encoding, max_bytes: usize) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, Unpacked::new(reader));
        Self {
            path: path.to_owned(),
            reader,
            line_break: None,
            encoding,
            max_bytes,
            raw: Vec::new(),
            text: String::new(),
            number: 0,
            ended: true,
        }
    }

    /// The file's name for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the longest line that is read.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Number of the current line, from one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The current line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the current line is the last one and lacks its line break, as in a file that was cut
    /// off.
    pub fn is_cut_off(&self) -> bool {
        !self.ended
    }

    /// Moves to the next line; false at the end of the file. Lines that cannot be read go to
    /// `problems` and are passed over.
    pub fn advance(&mut self, problems: &mut Problems) -> Result<bool> {
        loop {
            match self.step()? {
                Step::Line => return Ok(true),
                Step::Bad(problem) => problems.push(problem)?,
                Step::End => return Ok(false),
            }
        }
    }

    /// Moves to the next line, whatever it is.
    pub(crate) fn step(&mut self) -> Result<Step> {
        self.text.clear();
        self.raw.clear();
        let io_error = |source: io::Error| DataError::io(&self.path, "read", source);
        let mut length = 0_usize;
        let mut any = false;
        self.ended = false;
        while !self.ended {
            let buffer = self.reader.fill_buf().map_err(io_error)?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let line_break = *self.line_break.get_or_insert_with(|| ending(buffer));
            let line_break = memchr::memchr(line_break, buffer);
            let taken = line_break.unwrap_or(buffer.len());
            length += taken;
            if length <= self.max_bytes {
                self.raw.extend_from_slice(&buffer[..taken]);
            }
            self.ended = line_break.is_some();
            self.reader.consume(taken + usize::from(self.ended));
        }
        if !any {
            return Ok(Step::End);
        }
        self.number += 1;
        if length > self.max_bytes {
            let expected = format!("at most {} (`--max-line-bytes`)", self.max_bytes);
            return Ok(Step::Bad(Problem::byte(
                self.number,
                self.max_bytes + 1,
                format!("{length} bytes"),
                expected,
            )));
        }
        if self.raw.last() == Some(&b'\r') {
            self.raw.pop();
        }
        Ok(self.decode())
    }

    fn decode(&mut self) -> Step {
        if self.encoding == Encoding::Latin1 {
            self.text
                .extend(self.raw.iter().map(|&byte| char::from(byte)));
            return Step::Line;
        }
        let mut bytes = self.raw.as_slice();
        if self.number == 1 {
            if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
                return Step::Bad(Problem::byte(
                    1,
                    1,
                    "a UTF-16 byte order mark",
                    "UTF-8 text",
                ));
            }
            if bytes.starts_with(b"PK\x03\x04") {
                let expected = "UTF-8 text (unpack it first; gzip and zstd are read as they are)";
                return Step::Bad(Problem::byte(1, 1, "a zip archive", expected));
            }
            if bytes.starts_with(b"PAR1") {
                let expected = "UTF-8 text (a Parquet file is read if its name ends in `.parquet`)";
                return Step::Bad(Problem::byte(1, 1, "a Parquet file", expected));
            }
            bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                self.text.push_str(text);
                Step::Line
            }
            Err(error) => {
                let at = error.valid_up_to();
                let found = match bytes.get(at) {
                    Some(byte) if error.error_len().is_some() => format!("byte 0x{byte:02X}"),
                    _ => "a cut-off character".to_owned(),
                };
                Step::Bad(Problem::byte(self.number, at + 1, found, "UTF-8 text"))
            }
        }
    }
}

/// The byte that ends the lines of a file that begins so.
fn ending(start: &[u8]) -> u8 {
    let inside = &start[..start.len() - 1];
    if memchr::memchr(b'\n', start).is_none() && memchr::memchr(b'\r', inside).is_some() {
        b'\r'
    } else {
        b'\n'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Encoding, max: usize) -> (Vec<(u64, String)>, Result<()>) {
        let path = Path::new("some.txt");
        let mut reader = LineReader::new(path, bytes, encoding, max);
        let mut problems = Problems::new(path);
        let mut lines = Vec::new();
        loop {
            match reader.advance(&mut problems) {
                Ok(true) => lines.push((reader.number(), reader.text().to_owned())),
                Ok(false) => return (lines, problems.finish()),
                Err(error) => return (lines, Err(error)),
            }
        }
    }

    #[test]
    fn line_breaks_and_marks_are_stripped() {
        let (lines, verdict) = read("\u{feff}a\r\nb\n\nc".as_bytes(), Encoding::Utf8, 10);
        verdict.unwrap();
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "", "c"]);
    }

    #[test]
    fn lines_of_old_macs_end_with_a_carriage_return() {
        let (lines, verdict) = read(b"a,b\r1,2\r", Encoding::Utf8, 10);
        verdict.unwrap();
        assert_eq!(lines, [(1, "a,b".to_owned()), (2, "1,2".to_owned())]);
        let (lines, _) = read(b"a\rb\nc", Encoding::Utf8, 10);
        assert_eq!(lines[0].1, "a\rb");
    }

    #[test]
    fn latin1_reads_every_byte() {
        let (lines, verdict) = read(b"caf\xE9\n", Encoding::Latin1, 10);
        verdict.unwrap();
        assert_eq!(lines[0].1, "café");
    }

    #[test]
    fn bad_bytes_and_long_lines_are_named_and_passed_over() {
        let (lines, verdict) = read(b"ok\ncaf\xE9 x\ntoo long a line\nok\n", Encoding::Utf8, 10);
        assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 4]);
        let message = verdict.unwrap_err().to_string();
        assert!(
            message.contains("line 2, column 4: found byte 0xE9, expected UTF-8 text"),
            "{message}"
        );
        assert!(
            message.contains("line 3, column 11: found 15 bytes, expected at most 10"),
            "{message}"
        );
    }

    #[test]
    fn twenty_problems_are_enough() {
        let (_, verdict) = read(&b"\xFF\n".repeat(50), Encoding::Utf8, 10);
        let Err(DataError::BadInput { problems, more, .. }) = verdict else {
            panic!("no error")
        };
        assert_eq!((problems.len(), more), (MAX_PROBLEMS, true));
    }
}
