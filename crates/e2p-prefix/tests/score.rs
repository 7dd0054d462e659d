//! What the home of inference computes, against the same by hand: one test for each place that used
//! to have code of its own.
#![allow(clippy::unwrap_used)]

use e2p_model::burn::tensor::{DType, Device, Int, Tensor, TensorData, s};
use e2p_model::{
    Decoder, DecoderConfig, Padding, PromptInput, RandomSource, TargetScores, pad_rows,
};
use e2p_prefix::{PrefillCache, Prefilled, Prompt, SplicedBatch, SplicedRow, inject, prompt_input};

const D_MODEL: usize = 24;

/// Wide enough for its head to be a product of many rows, and of few, in these tests.
fn decoder() -> Decoder {
    let config = DecoderConfig::small_llama(211, D_MODEL, 3, 4, 2, 48, 300);
    let mut source = RandomSource::new(7, DType::F32, &Device::flex()).with_std(0.3);
    Decoder::from_source(config, &mut source, &Device::flex(), DType::F32).unwrap()
}

fn ids(seed: usize, len: usize) -> Vec<u32> {
    (0..len)
        .map(|at| ((seed * 31 + at * 17) % 211) as u32)
        .collect()
}

/// Prompts of unequal length with the slot inside, at the beginning and at the end.
fn prompts() -> Vec<Prompt> {
    [(1, 9, 4), (2, 130, 1), (3, 3, 3), (4, 20, 0)]
        .map(|(seed, len, slot)| Prompt {
            ids: ids(seed, len),
            slot,
        })
        .into()
}

/// Soft tokens for `n` prompts.
fn prefix(n: usize) -> Tensor<3> {
    let values: Vec<f32> = (0..n * 2 * D_MODEL)
        .map(|i| (i as f32 * 0.37).sin() * 0.3)
        .collect();
    Tensor::from_data(TensorData::new(values, [n, 2, D_MODEL]), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// One prompt with its soft tokens by hand, `[positions, d_model]`.
fn embedded(decoder: &Decoder, prompt: &Prompt, prefix: Option<Tensor<3>>) -> Tensor<2> {
    let (embeds, _) = decoder.embed_rows(&[&prompt.ids], Padding::Right).unwrap();
    match prefix {
        Some(prefix) => inject(embeds, prefix, &[prompt.slot]).squeeze_dim(0),
        None => embeds.squeeze_dim(0),
    }
}

fn likelihoods(decoder: &Decoder, hidden: Tensor<2>, targets: &[u32]) -> Vec<f32> {
    values(TargetScores::new(decoder.logits(hidden), targets).log_likelihood())
}

fn rows_of(hidden: Tensor<2>, rows: &[i32]) -> Tensor<2> {
    let data = TensorData::new(rows.to_vec(), [rows.len()]);
    hidden.select(0, Tensor::<1, Int>::from_data(data, &Device::flex()))
}

/// Once: the rows of `e2p score`, each with its own prompt.
#[test]
fn whole_rows_are_scored_as_one_pass_over_prompt_and_target() {
    let decoder = decoder();
    let prompts = prompts();
    let targets = [ids(5, 4), ids(6, 1), ids(7, 90), ids(8, 12)];
    for with_prefix in [false, true] {
        let own = |row: usize| with_prefix.then(|| prefix(4).slice(s![row..row + 1]));
        let (mut rows, mut selected) = (Vec::new(), Vec::new());
        for (row, (prompt, target)) in prompts.iter().zip(&targets).enumerate() {
            let prompt = embedded(&decoder, prompt, own(row));
            let first = prompt.dims()[0] - 1;
            selected.push((row, first, target.len()));
            let read = &target[..target.len() - 1];
            rows.push(if read.is_empty() {
                prompt
            } else {
                let (target, _) = decoder.embed_rows(&[read], Padding::Right).unwrap();
                Tensor::cat(vec![prompt, target.squeeze_dim(0)], 0)
            });
        }
        let (embeds, _) = pad_rows(&rows, Padding::Right).unwrap();
        let hidden = decoder.forward_embeds(embeds, &[]).unwrap();
        let [batch_size, seq_len, d_model] = hidden.dims();
        let at: Vec<i32> = selected
            .iter()
            .flat_map(|(row, first, len)| {
                (0..*len).map(move |at| (row * seq_len + first + at) as i32)
            })
            .collect();
        let hidden = rows_of(hidden.reshape([batch_size * seq_len, d_model]), &at);
        let expected = likelihoods(&decoder, hidden, &targets.concat());

        let rows: Vec<SplicedRow> = prompts
            .iter()
            .zip(&targets)
            .map(|(prompt, target)| prompt.spliced(target))
            .collect();
        let batch = SplicedBatch::whole(&decoder, &rows).unwrap();
        let found = batch
            .log_likelihoods(&decoder, with_prefix.then(|| prefix(4)))
            .unwrap();
        assert_eq!(bits(&found.concat()), bits(&expected), "{with_prefix}");
    }
}

/// Once: the lines of `e2p score` that share a prompt.
#[test]
fn continuations_of_one_prompt_are_scored_on_top_of_its_cache() {
    let decoder = decoder();
    let targets = [ids(5, 4), ids(6, 1), ids(7, 30), ids(8, 12)];
    for (index, prompt) in prompts().iter().enumerate() {
        for with_prefix in [false, true] {
            let own = || with_prefix.then(|| prefix(4).slice(s![index..index + 1]));
            let embeds = embedded(&decoder, prompt, own());
            let len = embeds.dims()[0];
            let mut cache = decoder.new_cache(vec![0], len);
            let hidden = decoder
                .forward_cached(embeds.unsqueeze_dim(0), &mut cache)
                .unwrap();
            let last: Tensor<2> = hidden.slice(s![.., len - 1.., ..]).squeeze_dim(1);
            let firsts: Vec<u32> = targets.iter().map(|target| target[0]).collect();
            let first = likelihoods(&decoder, last.repeat_dim(0, targets.len()), &firsts);
            let longer: Vec<&Vec<u32>> = targets.iter().filter(|target| target.len() > 1).collect();
            let read: Vec<&[u32]> = longer
                .iter()
                .map(|target| &target[..target.len() - 1])
                .collect();
            let (embeds, _) = decoder.embed_rows(&read, Padding::Right).unwrap();
            let [batch_size, seq_len, d_model] = embeds.dims();
            let mut cache = cache.branches(&vec![0; batch_size], len + seq_len);
            let hidden = decoder.forward_cached(embeds, &mut cache).unwrap();
            let at: Vec<i32> = read
                .iter()
                .enumerate()
                .flat_map(|(row, read)| (0..read.len()).map(move |at| (row * seq_len + at) as i32))
                .collect();
            let hidden = rows_of(hidden.reshape([batch_size * seq_len, d_model]), &at);
            let next: Vec<u32> = longer
                .iter()
                .flat_map(|target| target[1..].to_vec())
                .collect();
            let mut rest = likelihoods(&decoder, hidden, &next).into_iter();
            let expected: Vec<Vec<f32>> = targets
                .iter()
                .zip(first)
                .map(|(target, first)| {
                    let rest = rest.by_ref().take(target.len() - 1);
                    std::iter::once(first).chain(rest).collect()
                })
                .collect();

            let prefilled = Prefilled::new(&decoder, &[prompt], own()).unwrap();
            let found = prefilled.log_likelihoods(&decoder, &[&targets]).unwrap();
            for (found, expected) in found[0].iter().zip(&expected) {
                assert_eq!(bits(found), bits(expected), "prompt {index}, {with_prefix}");
            }
        }
    }
}

/// Once: the candidates of the evaluation, several prompts at a time. There the prompt's last token
/// led every branch; now its state predicts the first token of all, so the sums agree to rounding.
#[test]
fn continuations_of_several_prompts_are_those_of_whole_rows() {
    let decoder = decoder();
    let prompts = prompts();
    let refs: Vec<&Prompt> = prompts.iter().collect();
    let all: Vec<Vec<Vec<u32>>> = (0..prompts.len())
        .map(|prompt| (0..60).map(|c| ids(prompt * 60 + c, 1 + c % 9)).collect())
        .collect();
    let lists: Vec<&[Vec<u32>]> = all.iter().map(Vec::as_slice).collect();
    for with_prefix in [false, true] {
        let own = |row: usize| with_prefix.then(|| prefix(4).slice(s![row..row + 1]));
        let prefilled = Prefilled::new(&decoder, &refs, with_prefix.then(|| prefix(4))).unwrap();
        let found = prefilled.log_likelihoods(&decoder, &lists).unwrap();
        let mut largest = 0f32;
        for (row, (prompt, all)) in prompts.iter().zip(&all).enumerate() {
            for (place, target) in all.iter().enumerate() {
                let batch = SplicedBatch::whole(&decoder, &[prompt.spliced(target)]).unwrap();
                let alone = batch.log_likelihoods(&decoder, own(row)).unwrap().remove(0);
                assert_eq!(found[row][place].len(), target.len());
                for (found, alone) in found[row][place].iter().zip(&alone) {
                    largest = largest.max((found - alone).abs());
                }
            }
        }
        // Log-likelihoods of 5 to 10 nats in f32: a few units in the last place.
        assert!(largest < 2e-5, "{with_prefix}: {largest}");
    }
}

/// Once: the search through a catalogue, and the cost of a prompt.
#[test]
fn a_prefilled_prompt_is_the_decoders_own_pass() {
    let decoder = decoder();
    for (index, prompt) in prompts().iter().enumerate() {
        let own = prefix(4).slice(s![index..index + 1]);
        let embeds = embedded(&decoder, prompt, Some(own.clone())).unsqueeze_dim::<3>(0);
        let len = embeds.dims()[1];
        let mut cache = decoder.new_cache(vec![0], len);
        let hidden = decoder.forward_cached(embeds, &mut cache).unwrap();
        let expected = values(hidden.slice(s![.., len - 1.., ..]));
        let prefilled = Prefilled::new(&decoder, &[prompt], Some(own)).unwrap();
        assert_eq!(bits(&values(prefilled.hidden)), bits(&expected));
        assert_eq!(prefilled.cache.len(), len);
    }
}

/// Once: the prompts of `e2p generate` and of the evaluation's answers.
#[test]
fn the_generator_gets_the_prompt_with_its_soft_tokens_and_the_ids_without() {
    let decoder = decoder();
    for (index, prompt) in prompts().iter().enumerate() {
        let own = prefix(4).slice(s![index..index + 1]);
        let expected = values(embedded(&decoder, prompt, Some(own.clone())));
        let found = prompt_input(&decoder, prompt, Some(own.squeeze_dim(0))).unwrap();
        let PromptInput::Embeds { inputs_embeds, ids } = found else {
            panic!("embeddings");
        };
        assert_eq!(bits(&values(inputs_embeds)), bits(&expected));
        assert_eq!(ids, prompt.ids);
        let bare = prompt_input(&decoder, prompt, None).unwrap();
        assert!(matches!(bare, PromptInput::Ids(ids) if ids == prompt.ids));
    }
}

/// Once: the targets of training's validation and of the evaluation.
#[test]
fn targets_on_top_of_kept_keys_and_values_are_those_of_the_recorded_pass() {
    let decoder = decoder();
    // Prompts with something before the slot, short ones and long ones.
    let rows: Vec<SplicedRow> = [(9, 4), (130, 110), (250, 1), (98, 97), (20, 20)]
        .iter()
        .enumerate()
        .map(|(seed, (len, slot))| SplicedRow::new(&ids(seed, *len), *slot, &ids(seed + 9, 7)))
        .collect();
    let mut prefills = PrefillCache::new(1 << 30);
    for pass in 0..2 {
        let batch = prefills.batch(&decoder, &rows).unwrap();
        let keep = e2p_model::Keep::Activations;
        let (logits, _) = batch.forward(&decoder, Some(prefix(5)), keep).unwrap();
        let expected = values(TargetScores::new(logits, batch.targets()).log_likelihood());
        let found = batch.log_likelihoods(&decoder, Some(prefix(5))).unwrap();
        let found = found.concat();
        let difference = found
            .iter()
            .zip(&expected)
            .fold(0f32, |largest, (a, b)| largest.max((a - b).abs()));
        // The pass with a tape takes the composed softmax, the other the attention kernel.
        assert!(difference < 2e-5, "pass {pass}: {difference}");
        let (logits, _) = batch
            .forward(&decoder, Some(prefix(5)), e2p_model::Keep::LayerInputs)
            .unwrap();
        let same = values(TargetScores::new(logits, batch.targets()).log_likelihood());
        assert_eq!(bits(&found), bits(&same), "pass {pass}");
    }
    assert!(prefills.used() > 0);
}
