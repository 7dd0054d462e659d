//! Ids as people write them in JSON: a text or a number. Inside they are texts.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

use crate::json::custom;

/// An id as text where there may be none, for `#[serde(default, deserialize_with)]`.
///
/// # Errors
/// Anything else, and a number whose digits the parser has lost;
/// [`next_json`](crate::LineReader::next_json) keeps those of the ids that it is told of.
pub fn optional_id_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    struct Id;
    impl<'de> Visitor<'de> for Id {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an id, a text or a number")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, id: &str) -> Result<Self::Value, E> {
            Ok(Some(id.to_owned()))
        }

        fn visit_u64<E: Error>(self, id: u64) -> Result<Self::Value, E> {
            Ok(Some(id.to_string()))
        }

        fn visit_i64<E: Error>(self, id: i64) -> Result<Self::Value, E> {
            Ok(Some(id.to_string()))
        }

        fn visit_f64<E: Error>(self, id: f64) -> Result<Self::Value, E> {
            let found = format!("the number {id}, whose last digits are lost");
            Err(custom(found, "an id, a text or a whole number"))
        }
    }
    deserializer.deserialize_any(Id)
}
