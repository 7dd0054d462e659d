//! Any bytes as the Hugging Face JSON of Persona-Chat.

#![no_main]

use e2p_data::Input;
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data_fuzz::{check, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = [b"{", bytes].concat();
    let inputs = vec![Input::new(file("a.json", &text))];
    check(PersonaChat::new(inputs, PersonaChatOptions::default()));
});
