//! Equalities between our own paths, for every family.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close, device, tiny, tiny_configs, tiny_llama_config};
use e2p_model::burn::tensor::{Int, Tensor, s};
use e2p_model::{Decoder, Keep, KvCache, ModelError, Padding};

const IDS: [u32; 9] = [3, 14, 15, 9, 26, 5, 35, 8, 30];

fn embeds(decoder: &Decoder, ids: &[u32]) -> Tensor<3> {
    decoder.embed_rows(&[ids], Padding::Right).unwrap().0
}

fn logits(decoder: &Decoder, hidden: Tensor<3>) -> Tensor<2> {
    let [batch_size, seq_len, d_model] = hidden.dims();
    decoder.logits(hidden.reshape([batch_size * seq_len, d_model]))
}

#[test]
fn embeds_entry_equals_token_entry() {
    for config in tiny_configs() {
        let decoder = tiny(config, 1);
        let ids = Tensor::<1, Int>::from_ints(IDS.map(|id| id as i32), &device()).reshape([1, 9]);
        let from_tokens = decoder.forward_tokens(ids).unwrap();
        let from_embeds = decoder.forward_embeds(embeds(&decoder, &IDS), &[]).unwrap();
        assert_close(from_tokens, from_embeds, &decoder.config().model_type);
    }
}

#[test]
fn cached_equals_whole_sequence_at_every_split() {
    for config in tiny_configs() {
        let decoder = tiny(config, 2);
        let whole = decoder.forward_embeds(embeds(&decoder, &IDS), &[]).unwrap();
        for split in 1..IDS.len() {
            let mut cache = decoder.new_cache(vec![0], IDS.len());
            let first = decoder
                .forward_cached(embeds(&decoder, &IDS[..split]), &mut cache)
                .unwrap();
            let second = decoder
                .forward_cached(embeds(&decoder, &IDS[split..]), &mut cache)
                .unwrap();
            assert_eq!(cache.len(), IDS.len());
            let what = format!("{} split at {split}", decoder.config().model_type);
            assert_close(Tensor::cat(vec![first, second], 1), whole.clone(), &what);
        }
    }
}

#[test]
fn a_row_alone_equals_the_row_in_a_padded_batch() {
    for config in tiny_configs() {
        let decoder = tiny(config, 3);
        let rows = [&IDS[..], &IDS[2..5], &IDS[1..2], &IDS[3..8]];
        for padding in [Padding::Left, Padding::Right] {
            let (batch, starts) = decoder.embed_rows(&rows, padding).unwrap();
            let together = decoder.forward_embeds(batch, &starts).unwrap();
            for (index, row) in rows.iter().enumerate() {
                let alone = decoder.forward_embeds(embeds(&decoder, row), &[]).unwrap();
                let at = starts[index]..starts[index] + row.len();
                let in_batch = together.clone().slice(s![index..index + 1, at, ..]);
                assert_close(
                    in_batch,
                    alone,
                    &format!("{} row {index} {padding:?}", decoder.config().model_type),
                );
            }
        }
    }
}

#[test]
fn a_padded_batch_continues_from_its_cache_like_each_row_alone() {
    for config in tiny_configs() {
        let decoder = tiny(config, 4);
        let rows = [&IDS[..6], &IDS[2..4], &IDS[5..6]];
        let next = [7u32, 21, 2];
        let (batch, starts) = decoder.embed_rows(&rows, Padding::Left).unwrap();
        let mut cache = decoder.new_cache(starts, 8);
        decoder.forward_cached(batch, &mut cache).unwrap();
        let step = decoder
            .embed_rows(&next.map(|id| [id]), Padding::Left)
            .unwrap()
            .0;
        let together = decoder.forward_cached(step, &mut cache).unwrap();
        for (index, row) in rows.iter().enumerate() {
            let alone: Vec<u32> = row.iter().copied().chain([next[index]]).collect();
            let hidden = decoder
                .forward_embeds(embeds(&decoder, &alone), &[])
                .unwrap();
            let last = hidden.slice(s![.., row.len().., ..]);
            assert_close(
                together.clone().slice(s![index..index + 1, .., ..]),
                last,
                &format!("{} row {index}", decoder.config().model_type),
            );
        }
    }
}

#[test]
fn a_soft_row_set_to_a_tokens_embedding_gives_the_tokens_logits() {
    for config in tiny_configs() {
        let decoder = tiny(config, 5);
        let token_row = embeds(&decoder, &[17]);
        let spliced = Tensor::cat(
            vec![
                embeds(&decoder, &IDS[..4]),
                token_row,
                embeds(&decoder, &IDS[4..]),
            ],
            1,
        );
        let inserted: Vec<u32> = IDS[..4]
            .iter()
            .copied()
            .chain([17])
            .chain(IDS[4..].iter().copied())
            .collect();
        let soft = logits(&decoder, decoder.forward_embeds(spliced, &[]).unwrap());
        let hard = logits(
            &decoder,
            decoder
                .forward_embeds(embeds(&decoder, &inserted), &[])
                .unwrap(),
        );
        assert_close(soft, hard, &decoder.config().model_type);
    }
}

#[test]
fn selected_rows_of_a_cache_continue_like_the_originals() {
    let decoder = tiny(tiny_llama_config(), 6);
    let rows = [&IDS[..4], &IDS[4..6]];
    let (batch, starts) = decoder.embed_rows(&rows, Padding::Left).unwrap();
    let mut cache = decoder.new_cache(starts, 4);
    decoder.forward_cached(batch, &mut cache).unwrap();
    let mut branches = cache.select_rows(&[1, 0, 1], 6);
    let step = |ids: &[[u32; 1]]| decoder.embed_rows(ids, Padding::Left).unwrap().0;
    let hidden = decoder
        .forward_cached(step(&[[9], [9], [11]]), &mut branches)
        .unwrap();
    for (index, (row, id)) in [(1, 9), (0, 9), (1, 11)].into_iter().enumerate() {
        let ids: Vec<u32> = rows[row].iter().copied().chain([id]).collect();
        let alone = decoder
            .forward_embeds(embeds(&decoder, &ids), &[])
            .unwrap()
            .slice(s![.., ids.len() - 1.., ..]);
        assert_close(
            hidden.clone().slice(s![index..index + 1, .., ..]),
            alone,
            "branch",
        );
    }
    branches.truncate(4);
    assert_eq!(branches.len(), 4);
}

#[test]
fn branches_continue_like_copies_of_their_row() {
    for config in tiny_configs() {
        let decoder = tiny(config, 7);
        let rows = [&IDS[..4], &IDS[4..6]];
        let (batch, starts) = decoder.embed_rows(&rows, Padding::Left).unwrap();
        let mut cache = decoder.new_cache(starts, 4);
        decoder.forward_cached(batch, &mut cache).unwrap();
        let of = [1, 0, 1];
        let (mut shared, mut copied) = (cache.branches(&of, 9), cache.select_rows(&of, 9));
        assert_eq!((shared.len(), shared.capacity()), (4, 9));
        assert_eq!(shared.bytes(), copied.bytes());
        let step = |shared: &mut KvCache, copied: &mut KvCache, ids: &[Vec<u32>], what: &str| {
            let next = || decoder.embed_rows(ids, Padding::Left).unwrap().0;
            let a = decoder.forward_cached(next(), shared).unwrap();
            let b = decoder.forward_cached(next(), copied).unwrap();
            assert_close(a, b, what);
        };
        let ids = [vec![9, 3], vec![9, 4], vec![11, 3]];
        step(&mut shared, &mut copied, &ids, "two tokens");
        let kept = [2, 0];
        let (mut shared, mut copied) = (shared.branches(&kept, 9), copied.select_rows(&kept, 9));
        let ids = [vec![5], vec![6]];
        step(&mut shared, &mut copied, &ids, "branches of branches");
        shared.truncate(4);
        copied.truncate(4);
        let ids = [vec![1, 2, 3], vec![4, 5, 6]];
        step(&mut shared, &mut copied, &ids, "after a truncation");
    }
}

#[test]
fn a_sequence_beyond_the_context_is_refused_with_both_numbers() {
    let decoder = tiny(tiny_llama_config(), 7);
    let ids = vec![1u32; 33];
    let error = decoder
        .forward_embeds(embeds(&decoder, &ids), &[])
        .unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::ContextOverflow {
                needed: 33,
                context: 32
            }
        ),
        "{error}"
    );
    let mut cache = decoder.new_cache(vec![0], 5);
    let error = decoder
        .forward_cached(embeds(&decoder, &ids[..6]), &mut cache)
        .unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::ContextOverflow {
                needed: 6,
                context: 5
            }
        ),
        "{error}"
    );
    assert!(
        cache.is_empty(),
        "a refused pass leaves the cache as it was"
    );
}

#[test]
fn rows_that_fit_may_form_a_batch_longer_than_the_context() {
    for mut config in tiny_configs() {
        config.max_seq_len = 10;
        let decoder = tiny(config, 9);
        // Nine slots before and one behind, and two before and five behind: together fourteen
        // slots.
        let (before, after) = ([&IDS[..9], &IDS[4..6]], [&IDS[..1], &IDS[..5]]);
        let (old, starts) = decoder.embed_rows(&before, Padding::Left).unwrap();
        let mut cache = decoder.new_cache(starts, 9);
        decoder.forward_cached(old, &mut cache).unwrap();
        let (new, _) = decoder.embed_rows(&after, Padding::Right).unwrap();
        let score = |selected: &[(usize, usize)]| {
            decoder
                .forward_recorded(new.clone(), Some(&cache), selected, Keep::Activations)
                .map(|found| found.0)
        };
        let found = score(&[(0, 0), (1, 4)]).unwrap();
        for row in 0..2 {
            let ids = [before[row], after[row]].concat();
            let alone = logits(
                &decoder,
                decoder.forward_embeds(embeds(&decoder, &ids), &[]).unwrap(),
            );
            let last = ids.len() - 1;
            assert_close(
                found.clone().slice(s![row..row + 1, ..]),
                alone.slice(s![last..last + 1, ..]),
                &decoder.config().model_type,
            );
        }
        // A slot beyond the context that somebody looks at is refused.
        let refused = score(&[(0, 1)]).unwrap_err();
        assert!(
            matches!(
                refused,
                ModelError::ContextOverflow {
                    needed: 11,
                    context: 10
                }
            ),
            "{refused}"
        );
    }
}

#[test]
fn ids_outside_the_vocabulary_and_empty_rows_are_refused() {
    let decoder = tiny(tiny_llama_config(), 8);
    let error = decoder
        .embed_rows(&[[36u32, 37]], Padding::Left)
        .unwrap_err();
    assert!(
        matches!(
            error,
            ModelError::TokenId {
                id: 37,
                vocab_size: 37
            }
        ),
        "{error}"
    );
    assert!(matches!(
        decoder.embed_rows::<Vec<u32>>(&[vec![1], vec![]], Padding::Left),
        Err(ModelError::EmptyPrompt)
    ));
    assert!(matches!(
        decoder.embed_rows::<Vec<u32>>(&[], Padding::Left),
        Err(ModelError::EmptyPrompt)
    ));
}
