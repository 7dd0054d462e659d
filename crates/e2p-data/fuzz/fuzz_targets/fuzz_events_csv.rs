//! Any bytes as a CSV of events, and behind the first zero byte a TSV of items.

#![no_main]

use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data_fuzz::{check, file, two};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (events, items) = two(bytes);
    let mut paths = vec![file("events.csv", events)];
    if !items.is_empty() {
        paths.push(file("items.tsv", items));
    }
    check(Ok(Interactions::new(paths, InteractionsOptions::default())));
});
