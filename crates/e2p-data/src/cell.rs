//! One value of a file that has types, JSON or Parquet, and what each use takes it for.
//!
//! A use either takes the value or says what it found; nothing of another type counts as absent.

use std::borrow::Cow;

use crate::error::excerpt;
use crate::time::Time;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// `null`.
    Missing,
    Text(String),
    /// A number in its own digits, and whether they are all of its digits: a floating-point number
    /// beyond its mantissa is not what was written into it.
    Number {
        digits: String,
        exact: bool,
    },
    Bool(bool),
    Time(Time),
    List(Vec<Cell>),
    /// A list of numbers, where vectors are asked for.
    Numbers(Vec<f32>),
    Object(Vec<(String, Cell)>),
    /// A value that has no use here, in words such as "a time of day".
    Other(String),
}

/// What was found, in words.
pub(crate) type Found = String;

impl Cell {
    /// The value in words, for an error.
    pub(crate) fn found(&self) -> Found {
        match self {
            Self::Missing => "nothing".to_owned(),
            Self::Text(text) => format!("the text {}", excerpt(text)),
            Self::Number { digits, .. } => format!("the number {}", excerpt(digits)),
            Self::Bool(value) => format!("`{value}`"),
            Self::Time(_) => "a time".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Numbers(_) => "a list of numbers".to_owned(),
            Self::Object(_) => "an object".to_owned(),
            Self::Other(what) => what.clone(),
        }
    }

    /// An id: a text, or a number whose digits are known.
    pub(crate) fn id(&self) -> Result<Option<&str>, Found> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Number {
                digits,
                exact: true,
            } => Ok(Some(digits)),
            Self::Number { digits, .. } => Err(format!(
                "the floating-point number {digits}, whose last digits are lost"
            )),
            other => Err(other.found()),
        }
    }

    /// A name: a text or a number.
    pub(crate) fn text(&self) -> Result<Option<&str>, Found> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Number { digits, .. } => Ok(Some(digits)),
            other => Err(other.found()),
        }
    }

    /// A text and nothing else.
    pub(crate) fn only_text(&self) -> Result<Option<&str>, Found> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            other => Err(other.found()),
        }
    }

    /// How much: see [`weight`].
    pub(crate) fn weight(&self) -> Result<Option<f32>, Found> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) | Self::Number { digits: text, .. } => weight(text).map(Some),
            other => Err(other.found()),
        }
    }

    /// When: see [`time`].
    pub(crate) fn time(&self) -> Result<Option<Time>, Found> {
        match self {
            Self::Missing => Ok(None),
            Self::Time(time) => Ok(Some(*time)),
            Self::Text(text) | Self::Number { digits: text, .. } => time(text).map(Some),
            other => Err(other.found()),
        }
    }

    /// Tags: a text that separates them by `|`, or a list.
    pub(crate) fn tags(&self) -> Result<Vec<Cow<'_, str>>, Found> {
        match self {
            Self::List(cells) => {
                let texts = cells.iter().filter_map(|cell| match cell.text() {
                    Ok(text) => text
                        .filter(|text| !text.trim().is_empty())
                        .map(|text| Ok(Cow::Borrowed(text))),
                    Err(found) => Some(Err(format!("{found} in a list"))),
                });
                texts.collect()
            }
            other => Ok(tags(other.text()?.unwrap_or_default())),
        }
    }
}

/// A finite number that is not negative.
pub(crate) fn weight(text: &str) -> Result<f32, Found> {
    match text.trim().parse::<f32>() {
        Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight),
        _ => Err(excerpt(text)),
    }
}

/// A whole number or a date.
pub(crate) fn time(text: &str) -> Result<Time, Found> {
    Time::parse(text).ok_or_else(|| excerpt(text))
}

/// Tags of a text, separated by `|`.
pub(crate) fn tags(text: &str) -> Vec<Cow<'_, str>> {
    let tags = text.split('|').map(str::trim);
    tags.filter(|tag| !tag.is_empty())
        .map(Cow::Borrowed)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_never_absent() {
        let others = [
            Cell::Bool(true),
            Cell::Object(Vec::new()),
            Cell::Other("a time of day".into()),
        ];
        for cell in &others {
            assert!(cell.id().is_err() && cell.weight().is_err() && cell.time().is_err());
            assert!(cell.text().is_err() && cell.only_text().is_err() && cell.tags().is_err());
        }
        let list = Cell::List(vec![Cell::Text("a|b".into()), Cell::Missing]);
        assert_eq!(list.tags().unwrap(), ["a|b"]);
        assert!(list.id().is_err() && list.weight().is_err() && list.text().is_err());
        assert!(Cell::List(others.to_vec()).tags().is_err());
        let time = Cell::Time(Time::from_parts(1, 1));
        assert!(time.weight().is_err() && time.id().is_err());
        assert_eq!(Cell::Missing.weight(), Ok(None));
    }

    #[test]
    fn ids_have_all_their_digits() {
        let number = |digits: &str, exact| Cell::Number {
            digits: digits.to_owned(),
            exact,
        };
        assert_eq!(
            number("9007199254740993", true).id(),
            Ok(Some("9007199254740993"))
        );
        let lost = number("9007199254740992", false);
        assert!(lost.id().unwrap_err().contains("last digits are lost"));
        assert_eq!(lost.weight(), Ok(Some(9_007_199_254_740_992.0)));
    }
}
