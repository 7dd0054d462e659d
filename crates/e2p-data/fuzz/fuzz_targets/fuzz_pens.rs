//! Any bytes as `news.tsv` of PENS, and behind the first zero byte as a file of readers.

#![no_main]

use e2p_data::Input;
use e2p_data::pens::{Pens, PensOptions};
use e2p_data_fuzz::{check, file, two};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (news, readers) = two(bytes);
    let files = [("news.tsv", news), ("train.tsv", readers)];
    let inputs = files.map(|(name, bytes)| Input::new(file(name, bytes)));
    check(Pens::new(inputs.to_vec(), PensOptions::default()));
});
