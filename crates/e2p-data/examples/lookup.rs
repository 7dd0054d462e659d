//! Opens an embedding file, fetches rows of random users, and says what it cost.
//!
//! ```sh
//! cargo run --release -p e2p-data --example lookup -- users.safetensors 10000
//! cargo run --release -p e2p-data --example lookup -- --make 1000000 256 users.safetensors
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use e2p_data::UserEmbeddings;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, users, dim, path] = arguments.as_slice()
        && flag == "--make"
    {
        make(users.parse().unwrap(), dim.parse().unwrap(), path);
        return;
    }
    let [path, count] = arguments.as_slice() else {
        panic!("usage: lookup FILE COUNT, or lookup --make USERS DIM FILE");
    };
    let before = resident_kib();
    let start = Instant::now();
    let embeddings = UserEmbeddings::open(path).unwrap();
    let opened = start.elapsed();
    let after_open = resident_kib();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let ids: Vec<String> = {
        let all: Vec<&str> = embeddings.ids().collect();
        (0..count.parse().unwrap())
            .map(|_| all[rng.random_range(0..all.len())].to_owned())
            .collect()
    };
    let before_fetch = resident_kib();
    let start = Instant::now();
    let mut sum = 0.0_f32;
    for id in &ids {
        sum += embeddings.get(id).unwrap().iter().sum::<f32>();
    }
    let fetched = start.elapsed();
    println!(
        "{} users x {}, sum {sum:.3}",
        embeddings.len(),
        embeddings.dim()
    );
    println!(
        "open  {opened:?}, resident +{} KiB",
        after_open.saturating_sub(before)
    );
    println!(
        "fetch {fetched:?}, resident +{} KiB",
        resident_kib().saturating_sub(before_fetch)
    );
    println!("total {:?}", opened + fetched);
}

// ANCHOR: write
fn make(users: usize, dim: usize, path: &str) {
    let ids: Vec<String> = (0..users).map(|user| format!("user-{user}")).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let rows = (0..users).map(|_| {
        (0..dim)
            .map(|_| rng.random::<f32>() - 0.5)
            .collect::<Vec<f32>>()
    });
    UserEmbeddings::write(path, &ids, rows, &[]).unwrap();
}
// ANCHOR_END: write

/// Resident memory of this process, where the system tells.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
