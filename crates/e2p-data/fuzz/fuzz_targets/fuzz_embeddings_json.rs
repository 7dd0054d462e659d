//! Any bytes as JSON Lines of user embeddings: an error, or as many finite rows as it says.

#![no_main]

use e2p_data::UserEmbeddings;
use e2p_data_fuzz::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(users) = UserEmbeddings::open(file("users.jsonl", bytes)) {
        let ids: Vec<String> = users.ids().map(str::to_owned).collect();
        for id in ids {
            assert_eq!(users.get(&id).expect("it was read").len(), users.dim());
        }
    }
});
