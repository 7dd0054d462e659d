//! Any bytes as ParlAI text.

#![no_main]

use e2p_data::Input;
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data_fuzz::{check, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let inputs = vec![Input::new(file("a.txt", bytes))];
    check(PersonaChat::new(inputs, PersonaChatOptions::default()));
});
