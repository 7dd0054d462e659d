//! Any bytes as `news.tsv` of MIND, and behind the first zero byte as `behaviors.tsv`.

#![no_main]

use e2p_data::Input;
use e2p_data::mind::{Mind, MindOptions};
use e2p_data_fuzz::{check, directory, file, two};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (news, behaviors) = two(bytes);
    file("mind/news.tsv", news);
    file("mind/behaviors.tsv", behaviors);
    let inputs = vec![Input::new(directory().join("mind"))];
    check(Mind::new(inputs, MindOptions::default()));
});
