//! Any bytes as a Parquet file of user embeddings.

#![no_main]

use e2p_data::UserEmbeddings;
use e2p_data_fuzz::{file, let_caught_panics_pass};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: let_caught_panics_pass(), |bytes: &[u8]| {
    if let Ok(users) = UserEmbeddings::open(file("users.parquet", bytes)) {
        let _ = users.validate();
        let _ = users.statistics();
    }
});
