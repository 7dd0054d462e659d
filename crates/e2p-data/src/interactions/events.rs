//! Who chose what, how much and when, in twenty-four bytes an event.

use crate::interner::Interner;
use crate::time::Time;

/// One event, or all of one user with one item once they are merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Event {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) weight: f32,
    nanos: u32,
    seconds: i64,
}

impl Event {
    pub(crate) fn new(user: u32, item: u32, weight: f32, time: Time) -> Self {
        let Time { seconds, nanos } = time;
        Self {
            user,
            item,
            weight,
            nanos,
            seconds,
        }
    }

    /// When it was, [`Time::UNKNOWN`] where the file does not say.
    pub(crate) fn time(&self) -> Time {
        Time {
            seconds: self.seconds,
            nanos: self.nanos,
        }
    }
}

/// What is known of an item.
#[derive(Debug, Clone, Default)]
pub(crate) struct ItemText {
    pub(crate) text: String,
    pub(crate) tags: Vec<String>,
}

/// All events of the inputs.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) users: Interner,
    pub(crate) items: Interner,
    pub(crate) events: Vec<Event>,
    /// By item number; shorter than `items` where the last ones have no text.
    pub(crate) texts: Vec<ItemText>,
    /// Events as they were read, before any were merged or dropped.
    pub(crate) read: u64,
    /// Those of them without a time.
    pub(crate) untimed: u64,
    /// Those of them without a weight.
    pub(crate) unweighted: u64,
}

impl Events {
    /// Adds an event; one without a weight weighs 1.
    pub(crate) fn push(&mut self, user: &str, item: &str, weight: Option<f32>, time: Option<Time>) {
        self.read += 1;
        self.untimed += u64::from(time.is_none());
        self.unweighted += u64::from(weight.is_none());
        let (user, item) = (self.users.number(user), self.items.number(item));
        let (weight, time) = (weight.unwrap_or(1.0), time.unwrap_or(Time::UNKNOWN));
        self.events.push(Event::new(user, item, weight, time));
    }

    /// Whether any event has a time, so that time orders them.
    pub(crate) fn timed(&self) -> bool {
        self.untimed < self.read
    }

    /// The text of an item, to be filled in.
    pub(crate) fn text_mut(&mut self, item: &str) -> &mut ItemText {
        let item = self.items.number(item) as usize;
        if self.texts.len() <= item {
            self.texts.resize_with(item + 1, ItemText::default);
        }
        &mut self.texts[item]
    }

    pub(crate) fn text(&self, item: u32) -> Option<&ItemText> {
        self.texts
            .get(item as usize)
            .filter(|text| !text.text.is_empty())
    }

    /// Makes the events of one user with one item one event: weights add up, and the time is the
    /// last. How many events went away.
    pub(crate) fn merge(&mut self) -> u64 {
        let before = self.events.len();
        self.events
            .sort_unstable_by_key(|event| (event.user, event.item, event.time()));
        self.events.dedup_by(|later, kept| {
            let same = (later.user, later.item) == (kept.user, kept.item);
            if same {
                kept.weight += later.weight;
                (kept.seconds, kept.nanos) = (later.seconds, later.nanos);
            }
            same
        });
        (before - self.events.len()) as u64
    }

    /// Drops users and items with too few events, again and again until none is left with too few.
    /// How many events went away.
    pub(crate) fn require(&mut self, per_user: usize, per_item: usize) -> u64 {
        let before = self.events.len();
        loop {
            let mut users = vec![0_u32; self.users.len()];
            let mut items = vec![0_u32; self.items.len()];
            for event in &self.events {
                users[event.user as usize] += 1;
                items[event.item as usize] += 1;
            }
            let size = self.events.len();
            self.events.retain(|event| {
                users[event.user as usize] as usize >= per_user
                    && items[event.item as usize] as usize >= per_item
            });
            if self.events.len() == size {
                return (before - size) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_merged() {
        let mut events = Events::default();
        for (user, item, weight, time) in [
            ("a", "x", 1.0, 5),
            ("b", "x", 1.0, 1),
            ("a", "x", 2.5, 3),
            ("a", "y", 1.0, 9),
        ] {
            events.push(user, item, Some(weight), Some(Time::from_parts(time, 1)));
        }
        assert_eq!(events.merge(), 1);
        assert_eq!(
            events.events[0],
            Event::new(0, 0, 3.5, Time::from_parts(5, 1))
        );
        assert_eq!(events.events.len(), 3);
    }

    #[test]
    fn rare_users_and_items_go_together() {
        let mut events = Events::default();
        // Without `z`, user `b` has one event left and goes as well.
        for (user, item) in [
            ("a", "x"),
            ("a", "y"),
            ("b", "x"),
            ("b", "z"),
            ("c", "x"),
            ("c", "y"),
        ] {
            events.push(user, item, None, None);
        }
        assert_eq!(events.require(2, 2), 2);
        assert!(events.events.iter().all(|event| event.user != 1));
        assert_eq!((events.read, events.untimed, events.unweighted), (6, 6, 6));
        assert_eq!(size_of::<Event>(), 24);
    }
}
