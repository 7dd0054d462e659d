//! The backward pass by hand against autodiff over the same layers, and against finite differences.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close_within, device, tiny, tiny_configs, tolerance, values};
use e2p_model::burn::tensor::{Tensor, TensorData, activation, s};
use e2p_model::{Decoder, Keep, KvCache, Padding, TargetScores};

const ROWS: [[u32; 6]; 3] = [
    [3, 14, 15, 9, 26, 5],
    [35, 8, 30, 1, 2, 22],
    [4, 4, 19, 33, 7, 12],
];
/// `(row, slot)` and the token that should follow.
const SELECTED: [(usize, usize); 5] = [(0, 2), (0, 5), (1, 3), (2, 0), (2, 4)];
const TARGETS: [u32; 5] = [9, 11, 2, 4, 12];
const WEIGHTS: [f32; 5] = [0.3, 0.2, 1.0, -0.5, 0.7];

fn loss_and_gradient(
    decoder: &Decoder,
    embeds: Tensor<3>,
    earlier: Option<&KvCache>,
    keep: Keep,
) -> (f32, Tensor<3>) {
    let (logits, tape) = decoder
        .forward_recorded(embeds, earlier, &SELECTED, keep)
        .unwrap();
    let scores = TargetScores::new(logits, &TARGETS);
    let loss = -values(scores.log_likelihood())
        .iter()
        .zip(WEIGHTS)
        .map(|(l, w)| l * w)
        .sum::<f32>();
    (
        loss,
        decoder.backward(tape, earlier, scores.backward(&WEIGHTS)),
    )
}

/// The same loss by autodiff over the same layers.
fn oracle(decoder: &Decoder, embeds: Tensor<3>) -> (f32, Tensor<3>) {
    let [batch_size, seq_len, d_model] = embeds.dims();
    let embeds = embeds.autodiff().require_grad();
    let hidden = decoder
        .forward_embeds(embeds.clone(), &[])
        .unwrap()
        .reshape([batch_size * seq_len, d_model]);
    let mut loss = Tensor::<1>::zeros([1], &device()).autodiff();
    for (((row, slot), target), weight) in SELECTED.into_iter().zip(TARGETS).zip(WEIGHTS) {
        let at = row * seq_len + slot;
        let logits = decoder.logits(hidden.clone().slice(s![at..at + 1, ..]));
        let target = target as usize;
        let log_likelihood = activation::log_softmax(logits, 1)
            .slice(s![0..1, target..target + 1])
            .reshape([1]);
        loss = loss - log_likelihood.mul_scalar(weight);
    }
    let gradients = loss.backward();
    (loss.inner().into_scalar(), embeds.grad(&gradients).unwrap())
}

#[test]
fn the_backward_pass_by_hand_equals_autodiff_for_every_family() {
    for (index, config) in tiny_configs().into_iter().enumerate() {
        let decoder = tiny(config, 10 + index as u64);
        let (embeds, _) = decoder.embed_rows(&ROWS, Padding::Right).unwrap();
        let (expected_loss, expected) = oracle(&decoder, embeds.clone());
        for keep in [Keep::Activations, Keep::LayerInputs] {
            let (loss, gradient) = loss_and_gradient(&decoder, embeds.clone(), None, keep);
            let what = format!("case {index}, {}, {keep:?}", decoder.config().model_type);
            assert!(
                (loss - expected_loss).abs() < 1e-4 * expected_loss.abs(),
                "{what}: loss {loss} and {expected_loss}"
            );
            let largest = values(expected.clone())
                .iter()
                .fold(0f32, |a, b| a.max(b.abs()));
            assert!(
                largest > 1e-2,
                "{what}: the gradient is large enough to compare"
            );
            let (rel, abs) = tolerance();
            assert_close_within(
                gradient,
                expected.clone(),
                rel,
                2.0 * abs * largest.max(1.0),
                &what,
            );
        }
    }
}

#[test]
fn earlier_slots_from_a_cache_give_the_gradient_of_the_whole_sequence() {
    for (index, config) in tiny_configs().into_iter().enumerate() {
        let decoder = tiny(config, 30 + index as u64);
        // Contexts of unequal length before the rows that are differentiated.
        let contexts: [&[u32]; 3] = [&[1, 2, 3, 4], &[5], &[6, 7]];
        let (embeds, _) = decoder.embed_rows(&ROWS, Padding::Right).unwrap();
        let (context_embeds, starts) = decoder.embed_rows(&contexts, Padding::Left).unwrap();
        let mut cache = decoder.new_cache(starts, 4);
        decoder.forward_cached(context_embeds, &mut cache).unwrap();
        for keep in [Keep::Activations, Keep::LayerInputs] {
            let (_, gradient) = loss_and_gradient(&decoder, embeds.clone(), Some(&cache), keep);
            for (row, context) in contexts.iter().enumerate() {
                // Each row alone, context and all, by the plain path.
                let context_row = decoder.embed_rows(&[context], Padding::Right).unwrap().0;
                let whole = Tensor::cat(
                    vec![context_row, embeds.clone().slice(s![row..row + 1, .., ..])],
                    1,
                );
                let (selected, rest): (Vec<_>, Vec<_>) = (0..5)
                    .filter(|i| SELECTED[*i].0 == row)
                    .map(|i| ((0, SELECTED[i].1 + context.len()), (TARGETS[i], WEIGHTS[i])))
                    .unzip();
                let (targets, weights): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
                let (logits, tape) = decoder
                    .forward_recorded(whole, None, &selected, Keep::Activations)
                    .unwrap();
                let expected = decoder.backward(
                    tape,
                    None,
                    TargetScores::new(logits, &targets).backward(&weights),
                );
                let expected = expected.slice(s![.., context.len().., ..]);
                let largest = values(expected.clone())
                    .iter()
                    .fold(0f32, |a, b| a.max(b.abs()));
                let found = gradient.clone().slice(s![row..row + 1, .., ..]);
                assert_close_within(
                    found,
                    expected,
                    1e-4,
                    2e-5 * largest.max(1.0),
                    &format!("case {index} row {row} {keep:?}"),
                );
            }
        }
    }
}

#[test]
fn the_gradient_agrees_with_finite_differences() {
    let decoder = tiny(tiny_configs().remove(3), 50);
    let (embeds, _) = decoder.embed_rows(&ROWS, Padding::Right).unwrap();
    let (_, gradient) = loss_and_gradient(&decoder, embeds.clone(), None, Keep::Activations);
    // Along a fixed direction, so that many components count at once.
    let n = embeds.dims().iter().product::<usize>();
    let direction: Vec<f32> = (0..n).map(|i| ((i * 7 % 13) as f32 - 6.0) / 6.0).collect();
    let direction = Tensor::<3>::from_data(TensorData::new(direction, embeds.dims()), &device());
    let step = 2e-3;
    let at = |sign: f64| {
        loss_and_gradient(
            &decoder,
            embeds.clone() + direction.clone().mul_scalar(sign * step),
            None,
            Keep::Activations,
        )
        .0
    };
    let finite = (at(1.0) - at(-1.0)) / (2.0 * step as f32);
    let along: f32 = (gradient * direction).sum().into_scalar();
    assert!(
        (finite - along).abs() < 2e-2 * along.abs().max(1.0),
        "finite differences {finite}, backward pass {along}"
    );
}

#[test]
fn tokens_after_the_last_target_do_not_change_loss_or_gradient() {
    let decoder = tiny(tiny_configs().remove(0), 51);
    let selected = [(0, 2)];
    let run = |ids: [u32; 6]| {
        let (embeds, _) = decoder.embed_rows(&[ids], Padding::Right).unwrap();
        let (logits, tape) = decoder
            .forward_recorded(embeds, None, &selected, Keep::Activations)
            .unwrap();
        decoder.backward(tape, None, TargetScores::new(logits, &[9]).backward(&[1.0]))
    };
    let (a, b) = (run([3, 14, 15, 9, 26, 5]), run([3, 14, 15, 30, 31, 32]));
    assert_eq!(
        values(a.clone().slice(s![.., ..3, ..])),
        values(b.slice(s![.., ..3, ..]))
    );
    assert!(
        values(a.slice(s![.., 3.., ..]))
            .iter()
            .all(|value| *value == 0.0)
    );
}
