//! What a row of an event or item file says, whatever its format.

use std::borrow::Cow;

use super::events::Events;
use super::options::Columns;
use crate::cell::{self, Cell};
use crate::error::Result;
use crate::sink::Sink;
use crate::time::Time;

/// The fields in the order of [`Columns`].
pub(super) const USER: usize = 0;
pub(super) const ITEM: usize = 1;
const WEIGHT: usize = 2;
const TIME: usize = 3;
pub(super) const TEXT: usize = 4;
const TAGS: usize = 5;

/// One row of any format. What is absent is empty.
#[derive(Default)]
pub(super) struct Row<'a> {
    /// `None` in a file that describes items.
    pub(super) user: Option<&'a str>,
    pub(super) item: &'a str,
    pub(super) weight: Option<f32>,
    pub(super) time: Option<Time>,
    pub(super) text: &'a str,
    pub(super) tags: Vec<Cow<'a, str>>,
}

/// Number of the field in the order of [`Columns`], what was found, what was expected.
pub(super) type BadField = (usize, String, &'static str);

/// A field of a row, of which [`EXPECTED`] says what it should be.
fn field<T>(at: usize, read: std::result::Result<T, String>) -> std::result::Result<T, BadField> {
    read.map_err(|found| (at, found, EXPECTED[at]))
}

/// What each field should be.
const EXPECTED: [&str; 6] = [
    "a user id, a text or a whole number",
    "an item id, a text or a whole number",
    "a finite number that is not negative",
    "a whole number or a date",
    "a text",
    "tags, a text or a list of texts",
];

impl<'a> Row<'a> {
    /// A row of texts; an empty one is absent. `user` is `None` where the file has none.
    pub(super) fn of_texts(
        user: Option<&'a str>,
        [item, weight, time, text]: [&'a str; 4],
        tags: Vec<Cow<'a, str>>,
    ) -> std::result::Result<Self, BadField> {
        let weight = match weight {
            "" => None,
            weight => Some(field(WEIGHT, cell::weight(weight))?),
        };
        let time = match time {
            "" => None,
            time => Some(field(TIME, cell::time(time))?),
        };
        Ok(Self {
            user,
            item,
            weight,
            time,
            text,
            tags,
        })
    }

    /// A row of typed values in the order of [`Columns`]. `describes` says that a row without a
    /// user and with a name is one of an item.
    pub(super) fn of_cells(
        cells: &'a [Cell; 6],
        describes: bool,
    ) -> std::result::Result<Self, BadField> {
        let user = field(USER, cells[USER].id())?;
        let text = field(TEXT, cells[TEXT].text())?.unwrap_or_default();
        let is_item = describes && user.is_none() && !text.is_empty();
        Ok(Self {
            user: (!is_item).then_some(user.unwrap_or_default()),
            item: field(ITEM, cells[ITEM].id())?.unwrap_or_default(),
            weight: field(WEIGHT, cells[WEIGHT].weight())?,
            time: field(TIME, cells[TIME].time())?,
            text,
            tags: field(TAGS, cells[TAGS].tags())?,
        })
    }

    /// Adds the row; otherwise which field is wrong.
    pub(super) fn add(
        &self,
        events: &mut Events,
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), BadField>> {
        if self.item.is_empty() {
            return Ok(Err((ITEM, "nothing".into(), "an item id")));
        }
        if let Some(user) = self.user {
            if user.is_empty() {
                return Ok(Err((USER, "nothing".into(), "a user id")));
            }
            sink.note("interactions read")?;
            events.push(user, self.item, self.weight, self.time);
        }
        if !self.text.is_empty() || !self.tags.is_empty() {
            let known = events.text_mut(self.item);
            if known.text.is_empty() {
                known.text.push_str(self.text.trim());
            }
            if known.tags.is_empty() {
                known
                    .tags
                    .extend(self.tags.iter().map(|tag| tag.trim().to_owned()));
            }
        }
        Ok(Ok(()))
    }
}

pub(super) fn names(columns: &Columns) -> [&str; 6] {
    [
        &columns.user,
        &columns.item,
        &columns.weight,
        &columns.time,
        &columns.text,
        &columns.tags,
    ]
}
