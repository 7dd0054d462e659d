//! Large JSON documents, element by element: an array, or an object of arrays.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};

use crate::error::{DataError, Problem, Result};
use crate::lines::Problems;

/// Takes one element: the key its array stands under (empty for a bare array), its position from zero, and itself.
type Take<'f, T> = &'f mut dyn FnMut(&str, u64, T) -> Result<()>;

/// Gives every element of the document in `reader` to `take`. In an object, keys that `wanted` refuses are passed over.
pub(crate) fn for_each<T: DeserializeOwned>(
    path: &Path,
    reader: impl Read,
    wanted: fn(&str) -> bool,
    take: Take<'_, T>,
) -> Result<()> {
    let mut failure = None;
    let mut json =
        serde_json::Deserializer::from_reader(std::io::BufReader::with_capacity(1 << 18, reader));
    let document = Document {
        wanted,
        take,
        failure: &mut failure,
    };
    let outcome = json.deserialize_any(document).and_then(|()| json.end());
    match (failure, outcome) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(DataError::io(path, "read", error.into())),
        (None, Err(error)) => {
            let cut_off = if error.is_eof() {
                " (the file seems to be cut off)"
            } else {
                ""
            };
            let message = error.to_string();
            let found = message
                .split(" at line ")
                .next()
                .unwrap_or(&message)
                .to_owned();
            let expected = format!("JSON of the documented form{cut_off}");
            Err(Problems::new(path).fatal(Problem::byte(
                error.line() as u64,
                error.column().max(1),
                found,
                expected,
            )))
        }
    }
}

struct Document<'f, 'e, T> {
    wanted: fn(&str) -> bool,
    take: Take<'f, T>,
    failure: &'e mut Option<DataError>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Document<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object of lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<(), A::Error> {
        Elements {
            key: "",
            take: self.take,
            failure: self.failure,
            element: PhantomData,
        }
        .visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if (self.wanted)(&key) {
                let take = &mut *self.take;
                map.next_value_seed(Elements {
                    key: &key,
                    take,
                    failure: self.failure,
                    element: PhantomData,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Elements<'f, 'e, 'k, T> {
    key: &'k str,
    take: Take<'f, T>,
    failure: &'e mut Option<DataError>,
    element: PhantomData<fn() -> T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Elements<'_, '_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Elements<'_, '_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let mut position = 0;
        while let Some(element) = list.next_element::<T>()? {
            if let Err(error) = (self.take)(self.key, position, element) {
                *self.failure = Some(error);
                return Err(A::Error::custom("stopped"));
            }
            position += 1;
        }
        Ok(())
    }
}
