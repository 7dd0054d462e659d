//! Negative log-likelihoods of many rows, batched by length, in their own order.

use burn::tensor::Tensor;
use e2p_model::Decoder;
use e2p_prefix::{PrefillCache, SplicedRow};

use crate::batches::sorted_batches;
use crate::error::{Result, TrainError};

/// The negative log-likelihood (nats) and number of targets of each row.
///
/// `prefix` gives the soft tokens of the rows with the given indices, or `None` for a run without
/// any; `go_on` is asked, with the number of rows finished so far, whether to go on.
///
/// # Errors
/// A row longer than the context; [`TrainError::Stopped`].
pub fn row_nlls(
    decoder: &Decoder,
    rows: &[SplicedRow],
    batch_size: usize,
    prefills: &mut PrefillCache,
    prefix: impl Fn(&[usize]) -> Option<Tensor<3>>,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Vec<(f64, usize)>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.after.len()).collect();
    let mut out = vec![(0.0, 0); rows.len()];
    let mut finished = 0;
    for indices in sorted_batches(&lengths, batch_size) {
        let batch_rows: Vec<SplicedRow> =
            indices.iter().map(|index| rows[*index].clone()).collect();
        let batch = prefills.batch(decoder, &batch_rows)?;
        let scores = batch.log_likelihoods(decoder, prefix(&indices))?;
        for (index, scores) in indices.iter().zip(scores) {
            let nll = scores.iter().map(|score| -f64::from(*score)).sum();
            out[*index] = (nll, scores.len());
        }
        finished += indices.len();
        if !go_on(finished) {
            return Err(TrainError::Stopped);
        }
    }
    Ok(out)
}

/// Mean over target tokens.
pub(crate) fn mean_nll(scores: &[(f64, usize)]) -> f64 {
    let (nll, tokens) = scores.iter().fold((0.0, 0), |(nll, tokens), score| {
        (nll + score.0, tokens + score.1)
    });
    nll / tokens.max(1) as f64
}

/// For each user another one, the same for the same seed: a cyclic shift of a shuffled order, so
/// nobody keeps their own.
///
/// With a single user there is nobody else; they keep their own.
pub(crate) fn other_users(n_users: usize, seed: u64) -> Vec<usize> {
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
