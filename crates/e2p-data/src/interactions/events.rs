//! Who chose what, how much and when, in twenty-four bytes an event.

use crate::interner::Interner;

/// One event, or all of one user with one item once they are merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Event {
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) weight: f32,
    pub(crate) time: i64,
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
    /// Whether every event has a time.
    pub(crate) timed: bool,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            timed: true,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, user: &str, item: &str, weight: f32, time: Option<i64>) {
        self.timed &= time.is_some();
        let (user, item) = (self.users.number(user), self.items.number(item));
        self.events.push(Event {
            user,
            item,
            weight,
            time: time.unwrap_or(0),
        });
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

    /// Makes the events of one user with one item one event: weights add up, and the time is the last. How many events went away.
    pub(crate) fn merge(&mut self) -> u64 {
        let before = self.events.len();
        self.events
            .sort_unstable_by_key(|event| (event.user, event.item, event.time));
        self.events.dedup_by(|later, kept| {
            let same = (later.user, later.item) == (kept.user, kept.item);
            if same {
                kept.weight += later.weight;
                kept.time = later.time;
            }
            same
        });
        (before - self.events.len()) as u64
    }

    /// Drops users and items with too few events, again and again until none is left with too few. How many events went away.
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
        let mut events = Events::new();
        for (user, item, weight, time) in [
            ("a", "x", 1.0, 5),
            ("b", "x", 1.0, 1),
            ("a", "x", 2.5, 3),
            ("a", "y", 1.0, 9),
        ] {
            events.push(user, item, weight, Some(time));
        }
        assert_eq!(events.merge(), 1);
        assert_eq!(
            events.events[0],
            Event {
                user: 0,
                item: 0,
                weight: 3.5,
                time: 5
            }
        );
        assert_eq!(events.events.len(), 3);
    }

    #[test]
    fn rare_users_and_items_go_together() {
        let mut events = Events::new();
        // Without `z`, user `b` has one event left and goes as well.
        for (user, item) in [
            ("a", "x"),
            ("a", "y"),
            ("b", "x"),
            ("b", "z"),
            ("c", "x"),
            ("c", "y"),
        ] {
            events.push(user, item, 1.0, None);
        }
        assert_eq!(events.require(2, 2), 2);
        assert!(events.events.iter().all(|event| event.user != 1) && !events.timed);
    }
}
