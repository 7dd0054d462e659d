//! Any bytes as outputs of LaMP, and behind the first zero byte as questions.

#![no_main]

use e2p_data::Input;
use e2p_data::lamp::{Lamp, LampOptions};
use e2p_data_fuzz::{check, file, two};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (outputs, questions) = two(bytes);
    file("train_outputs.json", outputs);
    let inputs = [Input::new(file("train_questions.json", questions))];
    check(Lamp::new(&inputs, LampOptions::default()));
});
