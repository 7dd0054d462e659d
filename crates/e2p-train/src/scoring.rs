//! Negative log-likelihoods of many rows, batched by length, in their own order.

use burn::tensor::Tensor;
use e2p_model::{Decoder, Keep, TargetScores};
use e2p_prefix::SplicedRow;

use crate::batches::sorted_batches;
use crate::earlier::EarlierStore;
use crate::error::{Result, TrainError};

/// The negative log-likelihood (nats) and number of targets of each row.
///
/// `prefix` gives the soft tokens of the rows with the given indices, or `None` for a run without any; `go_on` is asked, with the number
/// of rows finished so far, whether to go on.
///
/// # Errors
/// A row longer than the context; [`TrainError::Stopped`].
pub fn row_nlls(
    decoder: &Decoder,
    rows: &[SplicedRow],
    batch_size: usize,
    earlier: &mut EarlierStore,
    prefix: impl Fn(&[usize]) -> Option<Tensor<3>>,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Vec<(f64, usize)>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.after.len()).collect();
    let mut out = vec![(0.0, 0); rows.len()];
    let mut finished = 0;
    for indices in sorted_batches(&lengths, batch_size) {
        let batch_rows: Vec<SplicedRow> =
            indices.iter().map(|index| rows[*index].clone()).collect();
        let batch = earlier.batch(decoder, &batch_rows)?;
        let (logits, _) = batch.forward(decoder, prefix(&indices), Keep::LayerInputs)?;
        let scores = TargetScores::new(logits, batch.targets()).log_likelihood();
        let scores = scores
            .into_data()
            .try_into_vec_as::<f32>()
            .expect("log-likelihoods are f32");
        for (row, score) in batch.target_rows().zip(scores) {
            let (nll, tokens) = &mut out[indices[row]];
            *nll -= f64::from(score);
            *tokens += 1;
        }
        finished += indices.len();
        if !go_on(finished) {
            return Err(TrainError::Stopped);
        }
    }
    Ok(out)
}

/// Mean over target tokens.
pub fn mean_nll(scores: &[(f64, usize)]) -> f64 {
    let (nll, tokens) = scores.iter().fold((0.0, 0), |(nll, tokens), score| {
        (nll + score.0, tokens + score.1)
    });
    nll / tokens.max(1) as f64
}

/// For each user another one, the same for the same seed: a cyclic shift of a shuffled order, so nobody keeps their own.
///
/// With a single user there is nobody else; they keep their own.
pub fn other_users(n_users: usize, seed: u64) -> Vec<usize> {
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..n_users).collect();
    order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
    let mut other = vec![0; n_users];
    for (at, user) in order.iter().enumerate() {
        other[*user] = order[(at + 1) % n_users];
    }
    other
}
