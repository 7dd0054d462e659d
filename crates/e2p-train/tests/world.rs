//! The method on the synthetic world, end to end and small.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Small, open};
use e2p_data::world::WorldSize;
use e2p_train::{Condition, EvalOptions, PretrainRecipe, Silent, Start, evaluate, train};

#[test]
fn training_helps_strangers_and_only_with_their_own_embedding() {
    let dir = tempfile::tempdir().unwrap();
    let small = Small {
        size: WorldSize {
            population: 1000,
            users: [300, 40, 20],
            questions: 8,
        },
        // Enough to learn that tastes go together; a backbone that does not know this cannot be
        // told by a soft token.
        pretraining: PretrainRecipe {
            vocab_size: 512,
            d_model: 64,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            d_ff: 192,
            max_seq_len: 192,
            window: 128,
            steps: 400,
            lr: 4e-3,
            ..PretrainRecipe::default()
        },
    };
    let recipe = small.write(dir.path(), &[]);
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    let summary = train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    assert!(!summary.is_interrupted);

    let options = EvalOptions {
        conditions: vec![Condition::None, Condition::E2p, Condition::E2pShuffled],
        generate: 0,
        ..EvalOptions::default()
    };
    let report = evaluate(&run, &inputs, &options, |_| true).unwrap().report;
    assert_eq!((report.n_users, report.n_examples), (20, 160));
    for comparison in ["e2p_vs_none", "e2p_vs_shuffled"] {
        let gain = report.gain(comparison, "nll").unwrap();
        assert!(gain.low > 0.02, "{comparison}: {gain:?}");
    }
}
