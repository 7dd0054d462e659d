//! A spliced batch against the plain whole computation under autodiff: the same loss, the same
//! gradient.
#![allow(clippy::unwrap_used)]

use e2p_model::burn::tensor::{DType, Device, Tensor, TensorData, activation, s};
use e2p_model::{Decoder, DecoderConfig, Keep, Padding, RandomSource, TargetScores};
use e2p_prefix::{SplicedBatch, SplicedRow};

const N_PREFIX: usize = 2;

/// Where the soft tokens go in a prompt.
type Slot = fn(&[u32]) -> usize;

fn decoder() -> Decoder {
    let config = DecoderConfig::small_llama(40, 24, 2, 4, 2, 48, 64);
    Decoder::from_source(
        config,
        &mut RandomSource::new(7, DType::F32, &Device::flex()).with_std(0.3),
        &Device::flex(),
        DType::F32,
    )
    .unwrap()
}

/// Rows of unequal length; the soft tokens stand behind `slot(row)` tokens of the prompt.
fn rows(slot: impl Fn(&[u32]) -> usize) -> Vec<SplicedRow> {
    let prompts: [&[u32]; 3] = [&[1, 5, 9, 13, 2], &[1, 7, 3], &[1, 30, 31, 32, 33, 34, 35]];
    let targets: [&[u32]; 3] = [&[4, 8, 15], &[16, 23, 39, 6], &[11]];
    prompts
        .into_iter()
        .zip(targets)
        .map(|(prompt, target)| SplicedRow::new(prompt, slot(prompt), target))
        .collect()
}

fn prefix() -> Tensor<3> {
    let values: Vec<f32> = (0..3 * N_PREFIX * 24)
        .map(|i| (i as f32 * 0.37).sin() * 0.3)
        .collect();
    Tensor::from_data(TensorData::new(values, [3, N_PREFIX, 24]), &Device::flex())
}

/// Each row alone, everything in one sequence, by autodiff.
fn oracle(decoder: &Decoder, rows: &[SplicedRow], prefix: Tensor<3>) -> (f32, Tensor<3>) {
    let prefix = prefix.autodiff().require_grad();
    let mut loss = Tensor::<1>::zeros([1], &Device::flex()).autodiff();
    for (index, row) in rows.iter().enumerate() {
        let mut parts = vec![prefix.clone().slice(s![index..index + 1])];
        if !row.before.is_empty() {
            parts.insert(
                0,
                decoder
                    .embed_rows(&[&row.before], Padding::Right)
                    .unwrap()
                    .0,
            );
        }
        parts.push(decoder.embed_rows(&[&row.after], Padding::Right).unwrap().0);
        let hidden = decoder.forward_embeds(Tensor::cat(parts, 1), &[]).unwrap();
        let seq_len = hidden.dims()[1];
        for (at, target) in (seq_len - row.n_targets..seq_len).zip(row.targets()) {
            let logits = decoder.logits(hidden.clone().slice(s![.., at - 1..at]).reshape([1, 24]));
            let target = *target as usize;
            let score = activation::log_softmax(logits, 1).slice(s![.., target..target + 1]);
            loss = loss - score.reshape([1]);
        }
    }
    let gradients = loss.backward();
    (loss.inner().into_scalar(), prefix.grad(&gradients).unwrap())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

#[track_caller]
fn assert_same(decoder: &Decoder, rows: &[SplicedRow], batch: &SplicedBatch, what: &str) {
    let (expected_loss, expected) = oracle(decoder, rows, prefix());
    let (logits, tape) = batch
        .forward(decoder, Some(prefix()), Keep::Activations)
        .unwrap();
    let scores = TargetScores::new(logits, batch.targets());
    let weights = vec![1.0; batch.targets().len()];
    let loss = -values(scores.log_likelihood()).iter().sum::<f32>();
    assert!(
        (loss - expected_loss).abs() < 1e-4,
        "{what}: loss {loss} and {expected_loss}"
    );
    let gradient = values(batch.backward(decoder, tape, scores.backward(&weights)));
    let expected = values(expected);
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(largest > 1e-2, "{what}: a gradient to speak of, {largest}");
    for (a, b) in gradient.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-4 * largest + 1e-5, "{what}: {a} and {b}");
    }
}

#[test]
fn shared_work_changes_neither_loss_nor_gradient_at_any_position() {
    let decoder = decoder();
    let positions: [(&str, Slot); 4] = [
        ("start", |_| 0),
        ("after_bos", |_| 1),
        ("in the middle", |prompt| prompt.len() / 2),
        ("before_target", <[u32]>::len),
    ];
    for (what, slot) in positions {
        let rows = rows(slot);
        let batch = SplicedBatch::new(&decoder, &rows, None).unwrap();
        assert_same(&decoder, &rows, &batch, what);
    }
}

#[test]
fn a_cache_handed_in_is_the_computation_it_saves() {
    let decoder = decoder();
    let rows = rows(|prompt| prompt.len() / 2);
    let before: Vec<&[u32]> = rows.iter().map(|row| row.before.as_slice()).collect();
    let cache = decoder.prefill(&before).unwrap();
    let batch = SplicedBatch::new(&decoder, &rows, Some(cache)).unwrap();
    assert_same(&decoder, &rows, &batch, "with a cache");
}

#[test]
fn a_soft_token_that_equals_a_token_is_that_token() {
    let decoder = decoder();
    let with_token = SplicedRow::plain(&[1, 5, 17, 9], &[4, 8]);
    let without = SplicedRow::new(&[1, 5, 9], 2, &[4, 8]);
    let token = decoder.embed_rows(&[&[17]], Padding::Right).unwrap().0;
    let score = |row: &SplicedRow, prefix: Option<Tensor<3>>| {
        let batch = SplicedBatch::new(&decoder, std::slice::from_ref(row), None).unwrap();
        let (logits, _) = batch.forward(&decoder, prefix, Keep::LayerInputs).unwrap();
        values(TargetScores::new(logits, batch.targets()).log_likelihood())
    };
    for (a, b) in score(&with_token, None)
        .iter()
        .zip(score(&without, Some(token)))
    {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn what_stands_behind_a_target_and_padding_do_not_matter() {
    let decoder = decoder();
    let all = rows(|_| 1);
    let batch = SplicedBatch::new(&decoder, &all, None).unwrap();
    let (logits, tape) = batch
        .forward(&decoder, Some(prefix()), Keep::Activations)
        .unwrap();
    let together = values(TargetScores::new(logits.clone(), batch.targets()).log_likelihood());
    let gradient = batch.backward(
        &decoder,
        tape,
        TargetScores::new(logits, batch.targets()).backward(&vec![1.0; together.len()]),
    );
    let mut alone = Vec::new();
    for (index, row) in all.iter().enumerate() {
        let batch = SplicedBatch::new(&decoder, std::slice::from_ref(row), None).unwrap();
        let own = prefix().slice(s![index..index + 1]);
        let (logits, tape) = batch
            .forward(&decoder, Some(own), Keep::Activations)
            .unwrap();
        let scores = TargetScores::new(logits, batch.targets());
        alone.extend(values(scores.log_likelihood()));
        let d_alone =
            values(batch.backward(&decoder, tape, scores.backward(&vec![1.0; row.n_targets])));
        let d_together = values(gradient.clone().slice(s![index..index + 1]));
        for (a, b) in d_alone.iter().zip(d_together) {
            assert!((a - b).abs() < 1e-4, "row {index}: {a} and {b}");
        }
    }
    for (a, b) in alone.iter().zip(together) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}
