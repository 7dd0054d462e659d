//! Event and item files in the four formats.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use super::events::Events;
use super::{Columns, TASK};
use crate::delimited::{Delimited, Quoting};
use crate::error::{DataError, Problem, Result, excerpt};
use crate::json_lines::{field_problem, parse};
use crate::lines::{Encoding, Problems};
use crate::prepare::Sink;
use crate::time;

pub(super) fn read(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => read_delimited(path, b',', columns, events, sink),
        Some("tsv" | "dat" | "txt") => read_delimited(path, b'\t', columns, events, sink),
        Some("jsonl") => read_json_lines(path, columns, events, sink),
        Some("parquet") => read_parquet(path, columns, events, sink),
        _ => Err(DataError::UnknownInput {
            path: path.to_owned(),
            task: TASK,
            expected: "a `.csv`, `.tsv`, `.jsonl` or `.parquet` file of events, or the directory of Last.fm HetRec 2011",
        }),
    }
}

/// One row of any format. What is absent is empty.
#[derive(Default)]
struct Row<'a> {
    user: &'a str,
    item: &'a str,
    weight: Option<&'a str>,
    time: Option<&'a str>,
    text: &'a str,
    tags: &'a str,
    /// Whether the file has users at all.
    has_user: bool,
}

impl Row<'_> {
    /// Adds the row; otherwise which field is wrong, what was found, and what was expected.
    fn add(
        &self,
        events: &mut Events,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadField>> {
        if self.item.is_empty() {
            return Ok(Err((1, "nothing".into(), "an item id")));
        }
        if self.has_user {
            if self.user.is_empty() {
                return Ok(Err((0, "nothing".into(), "a user id")));
            }
            let weight = match self.weight {
                None => 1.0,
                Some(text) => match text.trim().parse::<f32>() {
                    Ok(weight) if weight.is_finite() && weight >= 0.0 => weight,
                    _ => {
                        return Ok(Err((
                            2,
                            excerpt(text),
                            "a finite number that is not negative",
                        )));
                    }
                },
            };
            let time = match self.time.map(|text| (text, time::parse(text))) {
                Some((text, None)) => {
                    return Ok(Err((3, excerpt(text), "a whole number or a date")));
                }
                Some((_, time)) => time,
                None => None,
            };
            sink.note("interactions read")?;
            events.push(self.user, self.item, weight, time);
        }
        if !self.text.is_empty() || !self.tags.is_empty() {
            let known = events.text_mut(self.item);
            if known.text.is_empty() {
                known.text.push_str(self.text.trim());
            }
            if known.tags.is_empty() {
                let tags = self
                    .tags
                    .split('|')
                    .map(str::trim)
                    .filter(|tag| !tag.is_empty());
                known.tags.extend(tags.map(str::to_owned));
            }
        }
        Ok(Ok(()))
    }
}

/// Number of the field in the order of [`Columns`], what was found, what was expected.
type BadField = (usize, String, &'static str);

fn names(columns: &Columns) -> [&str; 6] {
    [
        &columns.user,
        &columns.item,
        &columns.weight,
        &columns.time,
        &columns.text,
        &columns.tags,
    ]
}

fn read_delimited(
    path: &Path,
    delimiter: u8,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let lines = sink.lines(path, Encoding::Utf8)?;
    let mut table = Delimited::with_header(lines, delimiter, Quoting::Rfc4180, &mut problems)?;
    let at = names(columns).map(|name| table.find(name));
    table.column(&columns.item, &mut problems)?;
    if at[0].is_none() {
        // A file of items has names; one without either is an event file whose column is called otherwise.
        let needed = if at[4].is_none() {
            &columns.user
        } else {
            &columns.text
        };
        table.column(needed, &mut problems)?;
    }
    while let Some(record) = table.next(&mut problems)? {
        let cell = |column: usize| at[column].map(|at| &record[at]);
        let some = |column: usize| cell(column).filter(|text| !text.is_empty());
        let row = Row {
            user: cell(0).unwrap_or_default(),
            item: cell(1).unwrap_or_default(),
            weight: some(2),
            time: some(3),
            text: cell(4).unwrap_or_default(),
            tags: cell(5).unwrap_or_default(),
            has_user: at[0].is_some(),
        };
        if let Err((column, found, expected)) = row.add(events, sink)? {
            let problem = table.problem(at[column].unwrap_or_default(), found, expected);
            problems.push(problem)?;
        }
    }
    problems.finish()
}

fn read_json_lines(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let mut lines = sink.lines(path, Encoding::Utf8)?;
    let names = names(columns);
    while lines.advance(&mut problems)? {
        if lines.text().trim().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, Value> =
            match parse(lines.text(), lines.number(), lines.is_cut_off()) {
                Ok(object) => object,
                Err(problem) => {
                    problems.push(problem)?;
                    continue;
                }
            };
        let texts = names.map(|name| object.get(name).and_then(plain));
        let [user, item, weight, time, text, tags] = texts.each_ref().map(|text| text.as_deref());
        let has_user = object.contains_key(names[0]) || text.is_none();
        let row = Row {
            user: user.unwrap_or_default(),
            item: item.unwrap_or_default(),
            weight,
            time,
            text: text.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
            has_user,
        };
        if let Err((column, found, expected)) = row.add(events, sink)? {
            let (text, number) = (lines.text(), lines.number());
            problems.push(field_problem(text, number, names[column], &found, expected))?;
        }
    }
    problems.finish()
}

/// A scalar as text, and a list of texts as tags.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().filter_map(plain).collect();
            Some(texts.join("|"))
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

fn read_parquet(
    path: &Path,
    columns: &Columns,
    events: &mut Events,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(path);
    let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
    let names = names(columns);
    let reader = SerializedFileReader::new(file).map_err(|error| {
        problems.fatal(Problem::line(
            0,
            error.to_string(),
            "a complete parquet file",
        ))
    })?;
    let schema = reader.metadata().file_metadata().schema();
    let found: Vec<&str> = schema
        .get_fields()
        .iter()
        .map(|field| field.name())
        .collect();
    for needed in [&columns.user, &columns.item] {
        if !found.contains(&needed.as_str()) {
            let found = format!("columns `{}`", found.join("`, `"));
            return Err(problems.fatal(Problem::line(0, found, format!("a column `{needed}`"))));
        }
    }
    // Only the columns that are used are decoded.
    let wanted: Vec<_> = schema
        .get_fields()
        .iter()
        .filter(|field| names.contains(&field.name()))
        .cloned()
        .collect();
    let wanted = parquet::schema::types::Type::group_type_builder(schema.name())
        .with_fields(wanted)
        .build();
    let rows = wanted.and_then(|wanted| reader.get_row_iter(Some(wanted)));
    let rows = rows.map_err(|error| {
        problems.fatal(Problem::line(
            0,
            error.to_string(),
            "a readable parquet file",
        ))
    })?;
    for (number, row) in rows.enumerate() {
        let number = number as u64 + 1;
        let row = row.map_err(|error| {
            problems.fatal(Problem::line(
                number,
                error.to_string(),
                "a complete parquet file",
            ))
        })?;
        let mut texts: [Option<String>; 6] = Default::default();
        for (name, field) in row.get_column_iter() {
            if let Some(at) = names.iter().position(|wanted| wanted == name) {
                texts[at] = parquet_text(field);
            }
        }
        let [user, item, weight, time, text, tags] = texts.each_ref().map(|text| text.as_deref());
        let row = Row {
            user: user.unwrap_or_default(),
            item: item.unwrap_or_default(),
            weight,
            time,
            text: text.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
            has_user: true,
        };
        if let Err((column, found, expected)) = row.add(events, sink)? {
            problems.push(Problem::field(
                number,
                column + 1,
                names[column],
                found,
                expected,
            ))?;
        }
    }
    problems.finish()
}

fn parquet_text(field: &Field) -> Option<String> {
    match field {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => bytes.as_utf8().ok().map(str::to_owned),
        Field::Byte(number) => Some(number.to_string()),
        Field::Short(number) => Some(number.to_string()),
        Field::Int(number) => Some(number.to_string()),
        Field::Long(number) | Field::TimestampMillis(number) | Field::TimestampMicros(number) => {
            Some(number.to_string())
        }
        Field::UInt(number) => Some(number.to_string()),
        Field::ULong(number) => Some(number.to_string()),
        Field::Float(number) => Some(number.to_string()),
        Field::Double(number) => Some(number.to_string()),
        Field::ListInternal(list) => Some(
            list.elements()
                .iter()
                .filter_map(parquet_text)
                .collect::<Vec<_>>()
                .join("|"),
        ),
        _ => None,
    }
}
