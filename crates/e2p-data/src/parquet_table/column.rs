//! One column of a row group, a few rows at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::RowGroupReader;

use super::fault::{COMPLETE, Outcome, TableFault};
use super::kind::{Kind, double, float};
use super::shape::Shape;
use crate::cell::Cell;
use crate::time::Time;

/// Rows that are decoded together.
pub(super) const ROWS: usize = 4096;
/// Numbers of lists that are decoded together, so that rows of thousands come in smaller groups.
const NUMBERS: usize = 1 << 20;

/// Values of lists that are held at once; a row of more is refused.
const MAX_VALUES: u64 = 1 << 25;

/// How a table is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Longest text.
    pub(crate) max_bytes: usize,
    /// Whether lists of numbers are vectors: [`Cell::Numbers`].
    pub(crate) vectors: bool,
}

/// A column that is asked for.
pub(super) struct Column {
    name: String,
    shape: Shape,
    leaves: Vec<Leaf>,
    reading: Reading,
    /// Rows of a usual batch that hold [`NUMBERS`] values together.
    together: usize,
}

impl Column {
    pub(super) fn open(
        group: &dyn RowGroupReader,
        shape: Shape,
        name: &str,
        reading: Reading,
    ) -> Outcome<Self> {
        let (mut leaves, mut values) = (Vec::new(), 0);
        for &leaf in shape.leaves() {
            leaves.push(Leaf::open(group, leaf).map_err(|error| TableFault::of(&error))?);
            values = values.max(group.metadata().column(leaf).num_values());
        }
        let rows = group.metadata().num_rows().max(1);
        let per_row = usize::try_from(values / rows).unwrap_or(1).max(1);
        Ok(Self {
            name: name.to_owned(),
            shape,
            leaves,
            reading,
            together: (NUMBERS / per_row).clamp(1, ROWS),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many rows should be read together.
    pub(super) fn rows_together(&self) -> usize {
        self.together
    }

    /// The next `count` rows, fewer at the end.
    pub(super) fn next(&mut self, count: usize) -> Outcome<Vec<Cell>> {
        for leaf in &mut self.leaves {
            leaf.read(count).map_err(|error| TableFault::of(&error))?;
        }
        let max_bytes = self.reading.max_bytes;
        match &self.shape {
            Shape::Value { .. } => self.leaves[0].cells(max_bytes),
            Shape::List { element, .. } => {
                let leaf = &self.leaves[0];
                match leaf.vectors(*element).filter(|_| self.reading.vectors) {
                    Some(vectors) => Ok(vectors),
                    None => Ok(leaf
                        .lists(*element, max_bytes)?
                        .into_iter()
                        .map(|list| list.map_or(Cell::Missing, Cell::List))
                        .collect()),
                }
            }
            Shape::Objects { names, element, .. } => {
                let members = self.leaves.iter();
                let members = members.map(|leaf| leaf.lists(*element, max_bytes));
                let members = members.collect::<Outcome<Vec<_>>>()?;
                objects(names, members)
            }
        }
    }
}

/// Lists of the members' values to lists of objects.
fn objects(names: &[String], members: Vec<Vec<Option<Vec<Cell>>>>) -> Outcome<Vec<Cell>> {
    let rows = members.first().map_or(0, Vec::len);
    let uneven = || TableFault::new("objects of which some members are missing", COMPLETE);
    let mut columns: Vec<_> = members.into_iter().map(Vec::into_iter).collect();
    (0..rows)
        .map(|_| {
            let mut lists = Vec::new();
            for column in &mut columns {
                match column.next().ok_or_else(uneven)? {
                    Some(list) => lists.push(list.into_iter()),
                    None => return Ok(Cell::Missing),
                }
            }
            let length = lists.first().map_or(0, ExactSizeIterator::len);
            if lists.iter().any(|list| list.len() != length) {
                return Err(uneven());
            }
            let objects = (0..length).map(|_| {
                let members = names.iter().zip(&mut lists);
                let members = members
                    .map(|(name, list)| (name.clone(), list.next().unwrap_or(Cell::Missing)));
                Cell::Object(members.collect())
            });
            Ok(Cell::List(objects.collect()))
        })
        .collect()
}

/// A leaf of the file and the rows of it that were read last.
struct Leaf {
    reader: ColumnReader,
    kind: Kind,
    max_def: i16,
    fetched: Arc<AtomicU64>,
    records: usize,
    def: Vec<i16>,
    rep: Vec<i16>,
    values: Values,
}

/// Values that are there, in their physical types.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<parquet::data_type::Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<parquet::data_type::ByteArray>),
    Fixed(Vec<parquet::data_type::FixedLenByteArray>),
}

impl Leaf {
    fn open(group: &dyn RowGroupReader, leaf: usize) -> Result<Self> {
        let descriptor = group.metadata().schema_descr().column(leaf);
        let chunk = group.metadata().column(leaf);
        let fetched = Arc::new(AtomicU64::new(0));
        let pages = CheckedPages {
            inner: group.get_column_page_reader(leaf)?,
            left: u64::try_from(chunk.num_values()).unwrap_or(0),
            fetched: Arc::clone(&fetched),
            limit: (descriptor.max_rep_level() > 0).then_some(MAX_VALUES),
        };
        Ok(Self {
            kind: Kind::of(&descriptor),
            max_def: descriptor.max_def_level(),
            reader: get_column_reader(descriptor, Box::new(pages)),
            fetched,
            records: 0,
            def: Vec::new(),
            rep: Vec::new(),
            values: Values::Bool(Vec::new()),
        })
    }

    fn read(&mut self, count: usize) -> Result<()> {
        self.def.clear();
        self.rep.clear();
        self.fetched.store(0, Ordering::Relaxed);
        let levels = (&mut self.def, &mut self.rep);
        (self.records, self.values) = match &mut self.reader {
            ColumnReader::BoolColumnReader(r) => {
                next::<BoolType>(r, count, levels).map(|(n, v)| (n, Values::Bool(v)))
            }
            ColumnReader::Int32ColumnReader(r) => {
                next::<Int32Type>(r, count, levels).map(|(n, v)| (n, Values::Int32(v)))
            }
            ColumnReader::Int64ColumnReader(r) => {
                next::<Int64Type>(r, count, levels).map(|(n, v)| (n, Values::Int64(v)))
            }
            ColumnReader::Int96ColumnReader(r) => {
                next::<Int96Type>(r, count, levels).map(|(n, v)| (n, Values::Int96(v)))
            }
            ColumnReader::FloatColumnReader(r) => {
                next::<FloatType>(r, count, levels).map(|(n, v)| (n, Values::Float(v)))
            }
            ColumnReader::DoubleColumnReader(r) => {
                next::<DoubleType>(r, count, levels).map(|(n, v)| (n, Values::Double(v)))
            }
            ColumnReader::ByteArrayColumnReader(r) => {
                next::<ByteArrayType>(r, count, levels).map(|(n, v)| (n, Values::Bytes(v)))
            }
            ColumnReader::FixedLenByteArrayColumnReader(r) => {
                next::<FixedLenByteArrayType>(r, count, levels).map(|(n, v)| (n, Values::Fixed(v)))
            }
        }?;
        Ok(())
    }

    /// One value a row.
    fn cells(&self, max_bytes: usize) -> Outcome<Vec<Cell>> {
        let mut values = 0;
        let mut cells = Vec::with_capacity(self.records);
        for row in 0..self.records {
            if self.max_def > 0 && self.def[row] < self.max_def {
                cells.push(Cell::Missing);
            } else {
                cells.push(self.cell(values, row, max_bytes)?);
                values += 1;
            }
        }
        Ok(cells)
    }

    /// A list a row, `None` where there is none; elements are there from the level `element` on.
    fn lists(&self, element: i16, max_bytes: usize) -> Outcome<Vec<Option<Vec<Cell>>>> {
        let mut lists: Vec<Option<Vec<Cell>>> = Vec::with_capacity(self.records);
        let mut values = 0;
        for (&def, &rep) in self.def.iter().zip(&self.rep) {
            if rep == 0 {
                // An empty list and one that is not there differ by a level, of which none is left
                // where the list has to be there.
                let there = def >= element || def + 1 == element;
                lists.push(there.then(Vec::new));
            }
            if def < element {
                continue;
            }
            let row = lists.len();
            let Some(Some(list)) = lists.last_mut() else {
                let found = "a list that goes on without a beginning";
                return Err(TableFault::new(found, COMPLETE));
            };
            if def < self.max_def {
                list.push(Cell::Missing);
            } else {
                list.push(self.cell(values, row.saturating_sub(1), max_bytes)?);
                values += 1;
            }
        }
        Ok(lists)
    }

    /// Lists of numbers as vectors; `None` where something else is among them.
    fn vectors(&self, element: i16) -> Option<Vec<Cell>> {
        if !matches!(self.kind, Kind::Plain | Kind::Unsigned | Kind::Half) {
            return None;
        }
        let number: Box<dyn Fn(usize) -> f32> = match &self.values {
            Values::Float(values) => Box::new(|at| values[at]),
            Values::Double(values) => Box::new(|at| values[at] as f32),
            Values::Int32(values) if self.kind == Kind::Unsigned => {
                Box::new(|at| values[at] as u32 as f32)
            }
            Values::Int32(values) => Box::new(|at| values[at] as f32),
            Values::Int64(values) if self.kind == Kind::Unsigned => {
                Box::new(|at| values[at] as u64 as f32)
            }
            Values::Int64(values) => Box::new(|at| values[at] as f32),
            _ => return None,
        };
        let mut lists: Vec<Vec<f32>> = Vec::with_capacity(self.records);
        let mut values = 0;
        for (&def, &rep) in self.def.iter().zip(&self.rep) {
            if def < element || def < self.max_def {
                return None;
            }
            if rep == 0 {
                lists.push(Vec::new());
            }
            lists.last_mut()?.push(number(values));
            values += 1;
        }
        Some(lists.into_iter().map(Cell::Numbers).collect())
    }

    /// Value number `at`, which is in row `row` of those that were read.
    fn cell(&self, at: usize, row: usize, max_bytes: usize) -> Outcome<Cell> {
        let bytes = |bytes: &[u8]| {
            if bytes.len() <= max_bytes {
                return Ok(self.kind.bytes(bytes));
            }
            let expected = format!("at most {max_bytes} (`--max-line-bytes`)");
            Err(TableFault {
                row: Some(row as u64 + 1),
                ..TableFault::new(format!("{} bytes", bytes.len()), expected)
            })
        };
        Ok(match &self.values {
            Values::Bool(values) => Cell::Bool(values[at]),
            Values::Int32(values) => self.kind.integer(i64::from(values[at]), 32),
            Values::Int64(values) => self.kind.integer(values[at], 64),
            Values::Int96(values) => Cell::Time(julian(values[at].data())),
            Values::Float(values) => float(values[at]),
            Values::Double(values) => double(values[at]),
            Values::Bytes(values) => bytes(values[at].data())?,
            Values::Fixed(values) => bytes(values[at].data())?,
        })
    }
}

/// The moment of an `INT96`: nanoseconds of the day in two words, and a Julian day.
fn julian(words: &[u32]) -> Time {
    const DAY_OF_1970: i64 = 2_440_588;
    let nanos = u64::from(words[1]) << 32 | u64::from(words[0]);
    let day = i64::from(words[2] as i32) - DAY_OF_1970;
    Time {
        seconds: day * 86_400 + (nanos / 1_000_000_000) as i64,
        nanos: (nanos % 1_000_000_000) as u32,
    }
}

fn next<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    (def, rep): (&mut Vec<i16>, &mut Vec<i16>),
) -> Result<(usize, Vec<T::T>)> {
    let mut values = Vec::new();
    let (records, ..) = reader.read_records(count, Some(def), Some(rep), &mut values)?;
    Ok((records, values))
}

/// Pages that hold no more values than the file's own description says, nor more than are held.
struct CheckedPages {
    inner: Box<dyn PageReader>,
    left: u64,
    fetched: Arc<AtomicU64>,
    limit: Option<u64>,
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(page @ (Page::DataPage { .. } | Page::DataPageV2 { .. })) = &page {
            let values = u64::from(page.num_values());
            self.left = self.left.checked_sub(values).ok_or_else(|| {
                let text = "a page of more values than the file says that there are";
                ParquetError::General(text.to_owned())
            })?;
            let fetched = values + self.fetched.fetch_add(values, Ordering::Relaxed);
            if self.limit.is_some_and(|limit| fetched > limit) {
                let text = format!("a row of more than {MAX_VALUES} values");
                return Err(ParquetError::General(text));
            }
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
