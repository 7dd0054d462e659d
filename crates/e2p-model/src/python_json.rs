//! Jinja's `tojson` as transformers defines it: Python's `json.dumps(value, ensure_ascii=False)`.
//!
//! minijinja's own filter escapes `<`, `>` and `&` for HTML and leaves out the spaces after `,` and
//! `:`, so that a rendered prompt would differ from the one the model was trained on.

use std::io;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The filter: `value | tojson` or `value | tojson(indent=4)`.
pub(crate) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut json = Vec::new();
    let written = if let Some(indent) = indent {
        let indent = " ".repeat(indent);
        value.serialize(&mut Serializer::with_formatter(
            &mut json,
            PrettyFormatter::with_indent(indent.as_bytes()),
        ))
    } else {
        value.serialize(&mut Serializer::with_formatter(&mut json, SpacedFormatter))
    };
    written.map_err(|source| {
        Error::new(ErrorKind::BadSerialization, "cannot write JSON").with_source(source)
    })?;
    Ok(Value::from_safe_string(
        String::from_utf8(json).expect("serde_json writes UTF-8"),
    ))
}

/// `, ` and `: ` as separators.
struct SpacedFormatter;

impl Formatter for SpacedFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
