//! TOML files whose keys all have defaults: unknown keys are errors that name the nearest known
//! one, overrides come on top.

use serde::Serialize;
use serde::de::DeserializeOwned;
use strsim::normalized_damerau_levenshtein as likeness;
use toml::{Table, Value};

use crate::error::{Result, TrainError};

/// Keys less alike than this are no slip of the pen; all known ones are named instead. Ours.
const ALIKE: f64 = 0.5;

/// A value with defaults from TOML text and overrides; every unknown key in one error.
pub(crate) fn read_toml<T: Default + Serialize + DeserializeOwned>(
    origin: &str,
    text: &str,
    overrides: &[String],
) -> Result<T> {
    let syntax = |source: toml::de::Error| TrainError::RecipeSyntax {
        origin: origin.into(),
        source: Box::new(source),
    };
    let mut table: Table = text.parse().map_err(syntax)?;
    for text in overrides {
        apply_override(&mut table, text)?;
    }
    let known = Table::try_from(T::default()).expect("the defaults are plain TOML");
    let mut problems = Vec::new();
    unknown_keys(&table, &known, "", &mut problems);
    if !problems.is_empty() {
        return Err(TrainError::Recipe {
            origin: origin.into(),
            problems,
        });
    }
    Value::Table(table).try_into().map_err(syntax)
}

fn apply_override(table: &mut Table, text: &str) -> Result<()> {
    let wrong = || TrainError::Override { found: text.into() };
    let (key, value) = text.split_once('=').ok_or_else(wrong)?;
    // `a = 3e-4` is TOML; `a = some/path` is not, and means the text.
    let parsed = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let last = path
        .pop()
        .filter(|last| !last.is_empty())
        .ok_or_else(wrong)?;
    let mut table = table;
    for part in path {
        let entry = table
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or_else(wrong)?;
    }
    // A whole number where the recipe has a fraction, and the other way round, is what people type.
    table.insert(last.to_owned(), value);
    Ok(())
}

fn unknown_keys(table: &Table, known: &Table, path: &str, problems: &mut Vec<String>) {
    for (key, value) in table {
        match (known.get(key), value) {
            (None, _) => {
                let nearest = known
                    .keys()
                    .max_by(|a, b| likeness(a, key).total_cmp(&likeness(b, key)))
                    .filter(|nearest| likeness(nearest, key) >= ALIKE);
                let known = known.keys().map(String::as_str).collect::<Vec<_>>();
                let instead = nearest.map_or_else(
                    || format!(", expected one of {}", known.join(", ")),
                    |nearest| format!("; did you mean `{path}{nearest}`?"),
                );
                problems.push(format!("unknown key `{path}{key}`{instead}"));
            }
            (Some(Value::Table(known)), Value::Table(table)) => {
                unknown_keys(table, known, &format!("{path}{key}."), problems);
            }
            (Some(Value::Table(_)), _) => problems.push(format!(
                "`{path}{key}` is {value}, expected a table of keys"
            )),
            _ => {}
        }
    }
}

/// Keys whose values differ, with both values.
pub(crate) fn differences(a: &Table, b: &Table, path: &str, out: &mut Vec<String>) {
    for (key, value) in a {
        match (value, b.get(key)) {
            (Value::Table(a), Some(Value::Table(b))) => {
                differences(a, b, &format!("{path}{key}."), out);
            }
            (value, Some(other)) if value != other => {
                out.push(format!("`{path}{key}` was {value} and is now {other}"));
            }
            _ => {}
        }
    }
}
