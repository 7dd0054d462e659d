//! Any bytes as a Parquet file of events.

#![no_main]

use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data_fuzz::{check, file, let_caught_panics_pass};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: let_caught_panics_pass(), |bytes: &[u8]| {
    let path = file("events.parquet", bytes);
    check(Ok(Interactions::new(vec![path], InteractionsOptions::default())));
});
