//! Which examples go together, and in what order: rows of like length, another order every epoch,
//! the same for the same seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Batches per pool: within a pool rows are sorted by length, so padding stays small while batches
/// remain nearly random. Ours.
const POOL: usize = 32;

/// The batches of one epoch, as indices into the examples.
///
/// The order depends on `seed` and `epoch` alone, so a resumed run finds its place by counting.
pub(crate) fn epoch_batches(
    lengths: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64 + 1);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut rng);
    let mut batches = Vec::with_capacity(lengths.len().div_ceil(batch_size));
    for pool in order.chunks_mut(POOL * batch_size) {
        pool.sort_by_key(|index| lengths[*index]);
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// Batches in order of length for evaluation; every index once.
pub(crate) fn sorted_batches(lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| lengths[*index]);
    order.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_example_comes_once_an_epoch(lengths in prop::collection::vec(1usize..50, 1..300), batch_size in 1usize..20, seed in 0u64..99) {
            let batches = epoch_batches(&lengths, batch_size, seed, 3);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert!(batches.iter().all(|batch| batch.len() <= batch_size));
            prop_assert_eq!(&batches, &epoch_batches(&lengths, batch_size, seed, 3));
        }
    }

    #[test]
    fn epochs_differ_and_rows_of_a_batch_are_of_like_length() {
        let lengths: Vec<usize> = (0..1000).map(|i| i * 7919 % 97).collect();
        assert_ne!(
            epoch_batches(&lengths, 10, 0, 0),
            epoch_batches(&lengths, 10, 0, 1)
        );
        let spread: usize = epoch_batches(&lengths, 10, 0, 0)
            .iter()
            .map(|batch| {
                let lengths = batch.iter().map(|index| lengths[*index]);
                lengths.clone().max().unwrap() - lengths.min().unwrap()
            })
            .sum();
        assert!(spread < 100 * 10, "average spread {} of 97", spread / 100);
    }
}
