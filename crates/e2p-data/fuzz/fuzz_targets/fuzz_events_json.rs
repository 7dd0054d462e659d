//! Any bytes as JSON Lines of events.

#![no_main]

use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data_fuzz::{check, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let paths = vec![file("events.jsonl", bytes)];
    check(Ok(Interactions::new(paths, InteractionsOptions::default())));
});
