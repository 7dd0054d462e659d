//! CSV and TSV, record by record, with quoted cells over several lines and the line of every
//! record.
//!
//! The rules are RFC 4180's, with `\n` or `\r\n` line ends: a cell that *begins* with a double
//! quote ends with one, and a doubled quote inside stands for one. A quote inside an unquoted cell
//! is a plain character. A record is bounded like a line, so a quote that is never closed cannot
//! swallow the file.

use std::io::Read;

use crate::error::{Problem, Result};
use crate::lines::{LineReader, Problems, Step};

/// Whether cells can be quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// A cell that begins with a double quote is quoted.
    Rfc4180,
    /// A cell is quoted if it begins and ends with a double quote and those between are doubled,
    /// all on one line; any other quote is a character.
    WholeCell,
    /// A double quote is a character like any other.
    None,
}

/// The cells of one record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
    line: u64,
}

impl Record {
    /// Number of cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The line on which the record begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// A cell, counted from zero.
    pub fn get(&self, cell: usize) -> Option<&str> {
        let end = *self.ends.get(cell)?;
        let start = if cell == 0 { 0 } else { self.ends[cell - 1] };
        Some(&self.text[start..end])
    }

    /// All cells.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|cell| &self[cell])
    }
}

impl std::ops::Index<usize> for Record {
    type Output = str;

    fn index(&self, cell: usize) -> &str {
        self.get(cell)
            .expect("the reader gives every record as many cells as it has columns")
    }
}

/// Reads records from lines.
pub struct Delimited<R: Read> {
    lines: LineReader<R>,
    delimiter: u8,
    quoting: Quoting,
    columns: Vec<String>,
    record: Record,
    max_bytes: usize,
}

fn push_cell(text: &mut String, cell: &str, quoting: Quoting) {
    let inner = cell
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner.filter(|_| quoting == Quoting::WholeCell) {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => {
            text.push_str(&inner.replace("\"\"", "\""));
        }
        _ => text.push_str(cell),
    }
}

enum Cell {
    Start,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: its end, or the first half of a doubled quote.
    QuoteInQuoted,
}

impl<R: Read> Delimited<R> {
    /// Reads a file whose first record names the columns.
    pub fn with_header(
        lines: LineReader<R>,
        delimiter: u8,
        quoting: Quoting,
        problems: &mut Problems,
    ) -> Result<Self> {
        let mut reader = Self::without_header(lines, delimiter, quoting, &[]);
        if !reader.read(problems)? {
            return Err(problems.fatal(Problem::byte(
                1,
                1,
                "nothing",
                "a line that names the columns",
            )));
        }
        reader.columns = reader.record.iter().map(str::to_owned).collect();
        Ok(reader)
    }

    /// Reads a file without a header, whose columns are known by its format.
    pub fn without_header(
        lines: LineReader<R>,
        delimiter: u8,
        quoting: Quoting,
        columns: &[&str],
    ) -> Self {
        debug_assert!(delimiter.is_ascii());
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        let max_bytes = lines.max_bytes();
        Self {
            lines,
            delimiter,
            quoting,
            columns,
            record: Record::default(),
            max_bytes,
        }
    }

    /// The columns' names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Where a column is, if there is one of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Where a column is; an error that lists the columns there are if it is missing.
    pub fn column(&self, name: &str, problems: &mut Problems) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            let delimiter = match self.delimiter {
                b'\t' => "tabs".to_owned(),
                other => format!("`{}`", char::from(other)),
            };
            let found = format!("columns `{}`", self.columns.join("`, `"));
            problems.fatal(Problem::byte(
                1,
                1,
                found,
                format!("a column `{name}` (columns are separated by {delimiter})"),
            ))
        })
    }

    /// The next record that has as many cells as there are columns; others go to `problems`. Blank
    /// lines are passed over.
    pub fn next(&mut self, problems: &mut Problems) -> Result<Option<&Record>> {
        while self.read(problems)? {
            if self.record.len() == self.columns.len() {
                return Ok(Some(&self.record));
            }
            let cells = |count| {
                if count == 1 {
                    "1 cell".to_owned()
                } else {
                    format!("{count} cells")
                }
            };
            // The first cell that is missing or too many.
            let at = self.record.len().min(self.columns.len());
            let (found, expected) = (cells(self.record.len()), cells(self.columns.len()));
            problems.push(self.problem(at, found, expected))?;
        }
        Ok(None)
    }

    /// A problem of one cell of the current record.
    pub fn problem(
        &self,
        cell: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Problem {
        let name = self.columns.get(cell).map_or("", String::as_str);
        Problem::field(self.record.line, cell + 1, name, found, expected)
    }

    fn read(&mut self, problems: &mut Problems) -> Result<bool> {
        self.record.text.clear();
        self.record.ends.clear();
        loop {
            match self.lines.step()? {
                Step::End => return Ok(false),
                Step::Bad(problem) => problems.push(problem)?,
                Step::Line if self.lines.text().is_empty() => {}
                Step::Line => break,
            }
        }
        self.record.line = self.lines.number();
        let quotes = self.quoting == Quoting::Rfc4180
            && memchr::memchr(b'"', self.lines.text().as_bytes()).is_some();
        if quotes {
            self.read_quoted(problems)
        } else {
            Ok(self.read_plain())
        }
    }

    fn read_plain(&mut self) -> bool {
        let line = self.lines.text();
        let mut start = 0;
        for end in memchr::memchr_iter(self.delimiter, line.as_bytes()) {
            push_cell(&mut self.record.text, &line[start..end], self.quoting);
            self.record.ends.push(self.record.text.len());
            start = end + 1;
        }
        push_cell(&mut self.record.text, &line[start..], self.quoting);
        self.record.ends.push(self.record.text.len());
        true
    }

    fn read_quoted(&mut self, problems: &mut Problems) -> Result<bool> {
        let delimiter = char::from(self.delimiter);
        let mut cell = Cell::Start;
        let Record { text, ends, line } = &mut self.record;
        loop {
            for c in self.lines.text().chars() {
                cell = match cell {
                    Cell::Start if c == '"' => Cell::Quoted,
                    Cell::Quoted if c == '"' => Cell::QuoteInQuoted,
                    Cell::Quoted => {
                        text.push(c);
                        Cell::Quoted
                    }
                    Cell::QuoteInQuoted if c == '"' => {
                        text.push('"');
                        Cell::Quoted
                    }
                    _ if c == delimiter => {
                        ends.push(text.len());
                        Cell::Start
                    }
                    // Text after a closing quote is kept, as other readers do.
                    _ => {
                        text.push(c);
                        Cell::Plain
                    }
                };
            }
            if !matches!(cell, Cell::Quoted) {
                ends.push(text.len());
                return Ok(true);
            }
            text.push('\n');
            if text.len() > self.max_bytes {
                let found = format!(
                    "a quoted cell that begins here and is still open after {} bytes",
                    text.len()
                );
                let cell = ends.len() + 1;
                return Err(problems.fatal(Problem::field(
                    *line,
                    cell,
                    "",
                    found,
                    "a closing quote",
                )));
            }
            match self.lines.step()? {
                Step::Line => {}
                Step::Bad(problem) => problems.push(problem)?,
                Step::End => {
                    let found =
                        "a quoted cell that begins here and is still open at the end of the file";
                    let cell = ends.len() + 1;
                    return Err(problems.fatal(Problem::field(
                        *line,
                        cell,
                        "",
                        found,
                        "a closing quote",
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::lines::Encoding;

    fn reader(bytes: &[u8], max: usize) -> LineReader<&[u8]> {
        LineReader::new(Path::new("some.csv"), bytes, Encoding::Utf8, max)
    }

    fn records(bytes: &[u8], columns: usize, quoting: Quoting) -> Result<Vec<Vec<String>>> {
        let mut problems = Problems::new(Path::new("some.csv"));
        let mut reader =
            Delimited::without_header(reader(bytes, 1 << 20), b',', quoting, &vec!["c"; columns]);
        let mut records = Vec::new();
        while let Some(record) = reader.next(&mut problems)? {
            records.push(record.iter().map(str::to_owned).collect());
        }
        problems.finish()?;
        Ok(records)
    }

    #[test]
    fn quotes_work_as_written_down() {
        let text = b"a,\"b, \"\"c\"\"\r\nd\",e\n\n,x \"y\" z,\"\"\r\n";
        let expected = [["a", "b, \"c\"\nd", "e"], ["", "x \"y\" z", ""]];
        assert_eq!(records(text, 3, Quoting::Rfc4180).unwrap(), expected);
        assert_eq!(
            records(b"\"a,b\n", 2, Quoting::None).unwrap(),
            [["\"a", "b"]]
        );
        let text = b"\"a \"\"b\"\";; c\",\"d\" e\n\"\",\"f \"g\"\n";
        let expected = [["a \"b\";; c", "\"d\" e"], ["", "\"f \"g\""]];
        assert_eq!(records(text, 2, Quoting::WholeCell).unwrap(), expected);
    }

    #[test]
    fn records_of_another_length_are_named() {
        let error = records(b"a,b\nc\nd,\"e\nf\"\ng,h,i\n", 2, Quoting::Rfc4180)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column 2 (`c`): found 1 cell, expected 2 cells"),
            "{error}"
        );
        assert!(
            error.contains("line 5, column 3: found 3 cells, expected 2 cells"),
            "{error}"
        );
    }

    #[test]
    fn an_open_quote_is_found_at_its_beginning() {
        let error = records(b"a,b\nc,\"d\ne,f\n", 2, Quoting::Rfc4180)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column 2: found a quoted cell that begins here"),
            "{error}"
        );
        let text = [b"a,\"".to_vec(), b"xxxxxxxxx\n".repeat(1000)].concat();
        let mut problems = Problems::new(Path::new("some.csv"));
        let mut reader =
            Delimited::without_header(reader(&text, 100), b',', Quoting::Rfc4180, &["c", "c"]);
        let error = reader.next(&mut problems).unwrap_err().to_string();
        assert!(
            error.contains(
                "line 1, column 2: found a quoted cell that begins here and is still open after 1"
            ),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn it_reads_what_the_csv_crate_writes(rows in prop::collection::vec(prop::collection::vec("[a ,\"\n\\té]{0,6}", 3), 1..8)) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            prop_assert_eq!(records(&bytes, 3, Quoting::Rfc4180).unwrap(), rows);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = records(&bytes, 2, Quoting::Rfc4180);
        }
    }
}
