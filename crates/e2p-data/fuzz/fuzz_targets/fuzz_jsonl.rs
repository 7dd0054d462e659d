//! Any bytes as the generic JSON Lines.

#![no_main]

use e2p_data::Input;
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data_fuzz::{check, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let inputs = vec![Input::new(file("a.jsonl", bytes))];
    check(Ok(Jsonl::new(inputs, JsonlOptions::default())));
});
