//! How the defaults of `AlsOptions` were chosen: recall@50 of held-out items for a grid of options.
//!
//! ```sh
//! cargo run --release -p e2p-data --example tune_als -- ../shared/data/lastfm_hetrec2011
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use e2p_data::als::{AlsOptions, InteractionMatrix, factorize, held_out_recall};
use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data::{PrepareOptions, Split, prepare};

fn main() {
    let paths = std::env::args().skip(1).map(Into::into).collect();
    let directory = tempfile::tempdir().unwrap();
    let source = Interactions::new(paths, InteractionsOptions::default());
    let data = prepare(
        &source,
        directory.path().join("data"),
        &PrepareOptions::default(),
        &mut (),
    )
    .unwrap();
    let matrix = InteractionMatrix::from_data_dir(&data).unwrap();
    println!(
        "{} users, {} items, {} pairs",
        matrix.users().len(),
        matrix.items().len(),
        matrix.len()
    );
    for log_weights in [true, false] {
        for alpha in if log_weights {
            [0.3, 1.0, 3.0, 10.0]
        } else {
            [0.001, 0.01, 0.1, 1.0]
        } {
            for regularization in [1.0, 10.0, 30.0, 100.0] {
                let options = AlsOptions {
                    log_weights,
                    alpha,
                    regularization,
                    ..AlsOptions::default()
                };
                let start = Instant::now();
                let factors = factorize(&matrix, &options, &mut ()).unwrap();
                let time = start.elapsed();
                let valid = held_out_recall(&factors, &matrix, Split::Valid, 50);
                let test = held_out_recall(&factors, &matrix, Split::Test, 50);
                println!(
                    "log {log_weights:5} alpha {alpha:6} reg {regularization:5}: valid {:.4} test {:.4} (popularity {:.4} {:.4}) {time:.1?}",
                    valid.recall, test.recall, valid.popularity, test.popularity
                );
            }
        }
    }
}
