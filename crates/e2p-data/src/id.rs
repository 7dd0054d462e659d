//! Ids as people write them in JSON: a text or a number. Inside they are texts.

use serde::{Deserialize, Deserializer};

/// An id in JSON; numbers keep their digits.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an id, a text or a number")]
pub(crate) enum Id {
    Text(String),
    Number(serde_json::Number),
}

impl Id {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// An id as text, for `#[serde(deserialize_with)]`.
pub fn id_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Id::deserialize(deserializer)?.to_text())
}

/// An id as text where there may be none, for `#[serde(default, deserialize_with)]`.
pub fn optional_id_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| id.to_text()))
}
