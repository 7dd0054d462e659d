//! From merged events to users, items and examples.

use std::collections::HashSet;

use super::events::{Event, Events};
use super::options::{HoldOut, InteractionsOptions, TASK};
use crate::error::{DataError, Result};
use crate::example::{Example, ItemRecord, Prompt, Split, UserRecord};
use crate::hash::{hash_bytes, mix};
use crate::sink::Sink;
use crate::split::{Placement, SplitOptions, SplitRule};
use crate::template::fill;

pub(super) fn emit(
    mut events: Events,
    options: &InteractionsOptions,
    sink: &mut Sink<'_>,
) -> Result<()> {
    sink.stage("write");
    let (users, items) = (events.users.len(), events.items.len());
    sink.note_many("users read", users as u64);
    let timed = events.timed();
    let without_time = if timed {
        "interactions without a time, taken as older than all others"
    } else {
        "interactions without a time"
    };
    sink.note_many(without_time, events.untimed);
    sink.note_many(
        "interactions without a weight, taken as 1",
        events.unweighted,
    );
    sink.note_many("items read", items as u64);
    let merged = events.merge();
    sink.note_many("repeated interactions merged", merged);
    let dropped = events.require(options.min_user_items, options.min_item_users);
    sink.note_many("interactions of rare users and items dropped", dropped);
    if events.events.is_empty() {
        return Err(DataError::NothingLeft {
            task: TASK,
            what: "interaction",
        });
    }
    let split = sink.split_options().clone();
    check_rules(options.hold_out, split.rule)?;
    if split.rule == SplitRule::User
        || (options.hold_out == HoldOut::Temporal && split.rule == SplitRule::Source)
    {
        sink.shares_decide();
    }
    let cuts = match options.hold_out {
        HoldOut::LeaveOneOut => None,
        HoldOut::Temporal => Some(time_cuts(&events, &split)?),
    };
    write_items(&events, options, sink)?;

    let draw =
        |event: &Event| mix(hash_bytes(events.items.get(event.item).as_bytes()) ^ mix(split.seed));
    let mut order = std::mem::take(&mut events.events);
    for user in order.chunk_by_mut(|a, b| a.user == b.user) {
        let id = events.users.get(user[0].user);
        let salt = hash_bytes(id.as_bytes());
        // The user's id in the key draws another order for every user.
        user.sort_by_cached_key(|event| {
            // Those without a time are in a drawn order before all others.
            let drawn = if event.time().is_known() {
                0
            } else {
                mix(draw(event) ^ salt)
            };
            (event.time(), drawn)
        });
        if !timed && cuts.is_none() {
            draw_last(user, salt ^ mix(split.seed));
        }
        let (history, held_out) = match cuts {
            None => leave_one_out(user, &split, id, timed),
            Some(cuts) => by_time(user, cuts),
        };
        if cuts.is_none()
            && held_out.is_empty()
            && user.len() >= 3
            && timed
            && split.rule != SplitRule::User
        {
            sink.note("users of whom nothing is held out, for the last items have no time")?;
        }
        if history.is_empty() {
            sink.note("users without a history left out")?;
            continue;
        }
        write_user(&events, options, timed, id, &history, sink)?;
        // Every example has its user's id, and this user comes once.
        sink.forget_examples();
        let of_user = split.of_user(id);
        // When users are split, those held out are not to be learnt from.
        if split.rule != SplitRule::User || of_user == Split::Train {
            let first = history.len().saturating_sub(options.train_targets);
            for event in &history[first..] {
                write_example(&events, options, id, event, Split::Train, sink)?;
            }
        }
        for (event, split) in &held_out {
            write_example(&events, options, id, event, *split, sink)?;
        }
    }
    Ok(())
}

/// Leaving one out cannot follow the clock, and a cut in time cannot follow users.
fn check_rules(hold_out: HoldOut, rule: SplitRule) -> Result<()> {
    let (found, expected) = match (hold_out, rule) {
        (HoldOut::LeaveOneOut, SplitRule::Time { .. }) => {
            ("leave-one-out with a split by time", "temporal")
        }
        (HoldOut::Temporal, SplitRule::User) => ("temporal with a split by user", "leave-one-out"),
        _ => return Ok(()),
    };
    Err(DataError::InvalidOption {
        option: "hold-out",
        found: found.to_owned(),
        expected,
    })
}

/// Moves two events to the end, drawn in proportion to their weights: without times, as the last of
/// all plays would be.
///
/// Sums of weights are the same on every platform, which logarithms are not; so no keys, but two
/// walks.
fn draw_last(user: &mut [Event], seed: u64) {
    for step in 0..user.len().min(2) {
        let open = user.len() - step;
        let total: f64 = user[..open]
            .iter()
            .map(|event| f64::from(event.weight))
            .sum();
        let share = (mix(seed.wrapping_add(1 + step as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
        let mut left = share * total;
        let drawn = user[..open].iter().position(|event| {
            left -= f64::from(event.weight);
            left < 0.0
        });
        // Nothing is drawn where no weight is above zero; the order is random enough then.
        user[..open].rotate_left(drawn.map_or(0, |drawn| drawn + 1));
    }
}

type HeldOut = Vec<(Event, Split)>;

/// `user` is in the order in which things were chosen. Where time orders, nothing is held out whose
/// time is not known: the history could be its future.
fn leave_one_out(
    user: &[Event],
    split: &SplitOptions,
    id: &str,
    timed: bool,
) -> (Vec<Event>, HeldOut) {
    let may = |event: &Event| !timed || event.time().is_known();
    if split.rule == SplitRule::User {
        return match (user, split.of_user(id)) {
            ([history @ .., last], held_out)
                if held_out != Split::Train && !history.is_empty() && may(last) =>
            {
                (history.to_vec(), vec![(*last, held_out)])
            }
            (all, _) => (all.to_vec(), Vec::new()),
        };
    }
    match user {
        [history @ .., valid, test] if !history.is_empty() && may(valid) => (
            history.to_vec(),
            vec![(*valid, Split::Valid), (*test, Split::Test)],
        ),
        few => (few.to_vec(), Vec::new()),
    }
}

fn by_time(user: &[Event], (valid_from, test_from): (i64, i64)) -> (Vec<Event>, HeldOut) {
    let (mut history, mut held_out) = (Vec::new(), Vec::new());
    for event in user {
        match event.time().seconds {
            time if time >= test_from => held_out.push((*event, Split::Test)),
            time if time >= valid_from => held_out.push((*event, Split::Valid)),
            _ => history.push(*event),
        }
    }
    (history, held_out)
}

/// From when on events are held out: as the rule says, or so that the last events are the shares of
/// valid and test.
fn time_cuts(events: &Events, split: &SplitOptions) -> Result<(i64, i64)> {
    if events.untimed > 0 {
        let found = format!(
            "temporal, while {} of {} events have no time",
            events.untimed, events.read
        );
        return Err(DataError::InvalidOption {
            option: "hold-out",
            found,
            expected: "leave-one-out, or a time for every event",
        });
    }
    if let SplitRule::Time {
        valid_from,
        test_from,
    } = split.rule
    {
        return Ok((valid_from, test_from));
    }
    let mut times: Vec<i64> = events
        .events
        .iter()
        .map(|event| event.time().seconds)
        .collect();
    times.sort_unstable();
    let from = |share: f64| {
        let held_out = (times.len() as f64 * share).round() as usize;
        times
            .get(times.len() - held_out)
            .copied()
            .unwrap_or(i64::MAX)
    };
    Ok((from(split.valid + split.test), from(split.test)))
}

fn item_text(events: &Events, options: &InteractionsOptions, item: u32) -> String {
    let id = events.items.get(item);
    let known = events.text(item);
    let text = known.map_or(id, |known| known.text.as_str());
    let tags = known.map_or(&[][..], |known| {
        &known.tags[..known.tags.len().min(options.max_tags)]
    });
    let template = if tags.is_empty() && options.target.contains("{tags}") {
        &options.target_without_tags
    } else {
        &options.target
    };
    fill(
        template,
        &[
            ("{text}", text),
            ("{tags}", &tags.join(", ")),
            ("{item}", id),
        ],
    )
}

fn write_items(events: &Events, options: &InteractionsOptions, sink: &mut Sink<'_>) -> Result<()> {
    let mut used = vec![false; events.items.len()];
    for event in &events.events {
        used[event.item as usize] = true;
    }
    let mut texts = HashSet::new();
    for item in (0..events.items.len() as u32).filter(|item| used[*item as usize]) {
        if events.text(item).is_none() {
            sink.note("items named by their id")?;
        }
        let text = item_text(events, options, item);
        if !texts.insert(hash_bytes(text.as_bytes())) {
            sink.note("items with the text of another item")?;
        }
        sink.item(&ItemRecord {
            item: events.items.get(item).to_owned(),
            text,
        })?;
    }
    Ok(())
}

fn write_user(
    events: &Events,
    options: &InteractionsOptions,
    timed: bool,
    id: &str,
    history: &[Event],
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut history = history.to_vec();
    let mut profile = history.clone();
    profile.reverse();
    if !timed {
        history.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.item.cmp(&b.item)));
        profile.clone_from(&history);
    }
    let name = |event: &Event| {
        let text = events
            .text(event.item)
            .map_or(events.items.get(event.item), |known| known.text.as_str());
        text.to_owned()
    };
    sink.user(&UserRecord {
        user: id.to_owned(),
        profile: profile
            .iter()
            .take(options.profile_items)
            .map(name)
            .collect(),
        history: history
            .iter()
            .map(|event| events.items.get(event.item).to_owned())
            .collect(),
        weights: history.iter().map(|event| event.weight).collect(),
    })?;
    Ok(())
}

fn write_example(
    events: &Events,
    options: &InteractionsOptions,
    user: &str,
    event: &Event,
    split: Split,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let example = Example {
        user: user.to_owned(),
        prompt: Prompt::Text(options.prompt.clone()),
        target: item_text(events, options, event.item),
        candidates: Vec::new(),
        item: Some(events.items.get(event.item).to_owned()),
    };
    sink.example(
        Placement {
            split: Some(split),
            time: Some(event.time())
                .filter(|time| time.is_known())
                .map(|time| time.seconds),
        },
        &example,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn events(weights: &[f32]) -> Vec<Event> {
        let event = |(item, &weight)| Event::new(0, item as u32, weight, Time::UNKNOWN);
        weights.iter().enumerate().map(event).collect()
    }

    #[test]
    fn heavy_items_are_drawn_as_often_as_their_weight_says() {
        let mut times = [[0_u32; 3]; 2];
        for seed in 0..30_000 {
            let mut user = events(&[6.0, 3.0, 1.0]);
            draw_last(&mut user, mix(seed));
            times[0][user[2].item as usize] += 1;
            times[1][user[1].item as usize] += 1;
        }
        // The first draw by the weights; the second by those that are left, 6/10·3/4 + 1/10·3/9 for
        // the second item.
        let expected = [[0.6, 0.3, 0.1], [0.3238, 0.4833, 0.1929]];
        for (times, expected) in times.iter().zip(expected) {
            for (times, expected) in times.iter().zip(expected) {
                let share = f64::from(*times) / 30_000.0;
                assert!(
                    (share - expected).abs() < 0.01,
                    "{share} instead of {expected}"
                );
            }
        }
        let mut nothing = events(&[0.0, 0.0, 0.0]);
        draw_last(&mut nothing, 1);
        assert_eq!(nothing, events(&[0.0, 0.0, 0.0]));
    }
}
