//! Typed access to the files of sentence-transformers, with errors that name file, key and value.

use serde_json::Value;

use crate::error::{ModelError, Result};

/// A JSON value and the file that it stands in. `null` counts as absent, as everywhere in Python.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    file: &'a str,
    json: &'a Value,
}

impl<'a> Entry<'a> {
    pub(super) fn new(file: &'a str, json: &'a Value) -> Self {
        Self { file, json }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let value = self.get(key);
        let read = |value| read(value).ok_or_else(|| self.refuse(key, value, expected));
        value.map(read).transpose()
    }

    pub(super) fn text_or_none(&self, key: &str) -> Result<Option<&'a str>> {
        self.read(key, "a string", Value::as_str)
    }

    pub(super) fn text_or(&self, key: &str, default: &'a str) -> Result<&'a str> {
        Ok(self.text_or_none(key)?.unwrap_or(default))
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str> {
        self.text_or_none(key)?
            .ok_or_else(|| self.refuse(key, "nothing", "a string"))
    }

    /// A string or a list of them; empty if the key is absent.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let texts = self.read(key, "a string or a list of strings", |value| match value {
            Value::Array(values) => values.iter().map(Value::as_str).collect(),
            one => one.as_str().map(|text| vec![text]),
        })?;
        Ok(texts.unwrap_or_default())
    }

    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        let flag = self.read(key, "true or false", Value::as_bool)?;
        Ok(flag.unwrap_or(default))
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number of at least 0", |value| {
            value.as_u64().and_then(|size| usize::try_from(size).ok())
        })
    }

    /// The entries of an object below `key`; none if the key is absent.
    pub(super) fn object(&self, key: &str) -> Result<Vec<(&'a String, &'a Value)>> {
        let entries = self.read(key, "an object", Value::as_object)?;
        Ok(entries.into_iter().flatten().collect())
    }

    pub(super) fn list(&self, expected: &str) -> Result<Vec<Self>> {
        let Value::Array(values) = self.json else {
            return Err(self.refuse("", kind(self.json), expected));
        };
        let file = self.file;
        Ok(values.iter().map(|json| Self { file, json }).collect())
    }

    /// Refuses a key that is neither absent nor empty.
    pub(super) fn only_empty(&self, key: &str) -> Result<()> {
        match self.get(key) {
            Some(Value::Array(values)) if values.is_empty() => Ok(()),
            Some(Value::Object(values)) if values.is_empty() => Ok(()),
            Some(value) => Err(self.refuse(key, value, "nothing")),
            None => Ok(()),
        }
    }

    /// Refuses keys other than these, and anything but an object.
    pub(super) fn only_keys(&self, known: &[&str]) -> Result<()> {
        let entries = match self.json {
            Value::Object(entries) => entries,
            Value::Null => return Ok(()),
            other => return Err(self.refuse("", kind(other), "an object")),
        };
        match entries
            .iter()
            .find(|(key, value)| !known.contains(&key.as_str()) && !value.is_null())
        {
            Some((key, value)) => {
                let expected = format!("none but the keys {}", known.join(", "));
                Err(self.refuse(key, value, &expected))
            }
            None => Ok(()),
        }
    }

    /// The value of `key` as it stands in the file.
    pub(super) fn shown(&self, key: &str) -> String {
        self.get(key)
            .map_or_else(|| "nothing".into(), Value::to_string)
    }

    pub(super) fn refuse(&self, key: &str, found: impl ToString, expected: &str) -> ModelError {
        let option = if key.is_empty() {
            self.file.to_owned()
        } else {
            format!("{}: {key}", self.file)
        };
        ModelError::Unsupported {
            model_type: "sentence-transformers".into(),
            option,
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

/// What a JSON value is, in a user's words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
