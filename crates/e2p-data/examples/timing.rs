//! One preparation or one factorization with its time and its memory, for
//! `benches/data/compare.py`.
//!
//! ```sh
//! cargo run --release -p e2p-data --example timing -- prepare interactions events.csv data/events
//! cargo run --release -p e2p-data --example timing -- als data/events 64 15
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use e2p_data::als::{AlsOptions, InteractionMatrix, factorize, held_out_recall};
use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{DataDir, Input, Overwrite, PrepareOptions, Source, Split, prepare};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["prepare", task, input, out] => time_prepare(task, input, Path::new(out)),
        ["als", data, dim, iterations] => {
            time_als(data, dim.parse().unwrap(), iterations.parse().unwrap());
        }
        _ => panic!("usage: timing prepare TASK INPUT OUT, or timing als DATA DIM ITERATIONS"),
    }
}

fn time_prepare(task: &str, input: &str, out: &Path) {
    let inputs = vec![Input::parse(input)];
    let source: Box<dyn Source> = match task {
        "jsonl" => Box::new(Jsonl::new(inputs, JsonlOptions::default())),
        "personachat" => {
            let options = PersonaChatOptions {
                restore_text: false,
                ..PersonaChatOptions::default()
            };
            Box::new(PersonaChat::new(inputs, options).unwrap())
        }
        "interactions" => {
            let options = InteractionsOptions::default();
            Box::new(Interactions::new(vec![input.into()], options))
        }
        _ => panic!("no timing of `{task}`"),
    };
    let options = PrepareOptions {
        overwrite: Overwrite::Replace,
        ..PrepareOptions::default()
    };
    let start = Instant::now();
    let data = prepare(&*source, out, &options, &mut ()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let counts = data.info().counts;
    let examples = counts.train + counts.valid + counts.test;
    println!(
        "{{\"seconds\": {seconds:.4}, \"examples\": {examples}, \"users\": {}, \"peak_mib\": {}}}",
        counts.users,
        peak_mib()
    );
}

fn time_als(data: &str, dim: usize, iterations: usize) {
    let data = DataDir::open(data).unwrap();
    let matrix = InteractionMatrix::from_data_dir(&data).unwrap();
    let options = AlsOptions {
        dim,
        iterations,
        ..AlsOptions::default()
    };
    let start = Instant::now();
    let factors = factorize(&matrix, &options, &mut ()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let recall = held_out_recall(&factors, &matrix, Split::Test, 50);
    println!(
        "{{\"seconds\": {seconds:.4}, \"pairs\": {}, \"recall_at_50\": {:.4}, \"popularity\": {:.4}}}",
        matrix.len(),
        recall.recall,
        recall.popularity
    );
}

/// The most memory that this process ever had resident, where the system tells.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}
