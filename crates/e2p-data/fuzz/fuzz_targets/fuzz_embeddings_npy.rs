//! Any bytes as a numpy file and behind its last zero byte as ids: an error, or rows that can be
//! asked for.

#![no_main]

use e2p_data::UserEmbeddings;
use e2p_data_fuzz::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let (array, ids) = bytes.split_at(split);
    file("users.ids.txt", ids.get(1..).unwrap_or_default());
    if let Ok(users) = UserEmbeddings::open(file("users.npy", array)) {
        let _ = users.validate();
        let _ = users.statistics();
    }
});
