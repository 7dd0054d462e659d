//! Every kernel against the composed operations that it replaces: odd widths, one row, no rows, any
//! number of threads.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use burn::tensor::{DType, Device, Tensor, TensorData, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::config::{MlpKind, NormKind, RotaryConfig, RotaryScaling};
use crate::kernels::{self, Segment};
use crate::load::RandomSource;
use crate::mask::Visible;
use crate::norm::Norm;
use crate::ops::{self, TargetScores, composed};
use crate::rotary::{Rotary, Rotation};

/// Rows of a batch: none, one, and more than one task.
const BATCHES: [usize; 4] = [0, 1, 3, 41];
/// Widths that fill vectors of 4, 8 and 16 values, and that do not.
const WIDTHS: [usize; 7] = [1, 2, 7, 16, 33, 64, 576];

pub(crate) fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| 6.0 * rng.random::<f32>() - 3.0).collect();
    Tensor::from_data(
        TensorData::new(values, shape),
        (&Device::flex(), DType::F32),
    )
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("f32")
}

/// Asserts agreement relative to each value, with a floor relative to the largest one.
#[track_caller]
pub(super) fn assert_close<const D: usize>(
    found: &Tensor<D>,
    expected: &Tensor<D>,
    rel: f32,
    what: &str,
) {
    assert_eq!(found.dims(), expected.dims(), "{what}: shapes");
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let allowed = rel * expected.abs() + 0.1 * rel * largest;
        assert!(
            (found - expected).abs() <= allowed,
            "{what}: value {index} is {found}, expected {expected}"
        );
    }
}

/// Runs `f` on one thread and on three: the results must be equal bit by bit. Returns the last one.
#[track_caller]
pub(super) fn on_any_threads<const D: usize>(f: impl Fn() -> Tensor<D> + Sync) -> Tensor<D> {
    let run = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .expect("threads");
        pool.install(&f)
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(values(&one), values(&three), "one thread and three");
    three
}

pub(super) const FORWARD: f32 = 1e-5;
pub(super) const GRADIENT: f32 = 1e-4;

#[test]
fn norms_equal_the_composed_operations() {
    for kind in [NormKind::RmsNorm, NormKind::LayerNorm] {
        for width in WIDTHS {
            let mut source = RandomSource::new(1, DType::F32, &Device::flex()).with_std(0.3);
            let norm = Norm::load(&mut source, "norm", width, kind, 1e-5);
            for batch_size in BATCHES {
                let what = format!("{kind:?} {batch_size} x {width}");
                let x = random(2, [batch_size, 5, width]);
                let dy = random(3, [batch_size, 5, width]);
                assert!(kernels::serves(&x), "{what}");
                let y = on_any_threads(|| norm.forward(x.clone()));
                if batch_size == 0 {
                    assert_eq!(y.dims(), x.dims());
                    continue;
                }
                // Over one or two values a layer norm is a rounding error over a rounding error,
                // and so is the gradient of any norm.
                if width <= 2 && kind == NormKind::LayerNorm {
                    continue;
                }
                assert_close(
                    &y,
                    &composed::norm_composed(x.clone(), norm.weights()),
                    FORWARD,
                    &what,
                );
                if width <= 2 {
                    continue;
                }
                let dx = on_any_threads(|| norm.backward(x.clone(), dy.clone()));
                assert_close(
                    &dx,
                    &composed::norm_backward_composed(x, dy, norm.weights()),
                    GRADIENT,
                    &what,
                );
            }
        }
    }
}

#[test]
fn activations_equal_the_composed_operations() {
    for kind in [MlpKind::GatedSilu, MlpKind::Gelu, MlpKind::GeluTanh] {
        for width in WIDTHS {
            for batch_size in BATCHES {
                let what = format!("{kind:?} {batch_size} x {width}");
                let up_width = if kind == MlpKind::GatedSilu {
                    2 * width
                } else {
                    width
                };
                let up = random(4, [batch_size, 3, up_width]);
                let dy = random(5, [batch_size, 3, width]);
                let y = on_any_threads(|| kernels::activate(kind, up.clone()));
                assert_eq!(y.dims(), [batch_size, 3, width]);
                let dx =
                    on_any_threads(|| kernels::activate_backward(kind, up.clone(), dy.clone()));
                assert_eq!(dx.dims(), up.dims());
                if batch_size == 0 {
                    continue;
                }
                assert_close(
                    &y,
                    &composed::activate_composed(kind, up.clone()),
                    FORWARD,
                    &what,
                );
                let expected = composed::activate_backward_composed(kind, up, dy);
                assert_close(&dx, &expected, GRADIENT, &what);
            }
        }
    }
}

#[test]
fn activations_stay_finite_far_out() {
    let up = Tensor::<3>::from_floats(
        [[[-1e4, -200.0, -88.0, 88.0, 200.0, 1e4, 1.0, -1.0]]],
        &Device::flex(),
    );
    for kind in [MlpKind::GatedSilu, MlpKind::Gelu, MlpKind::GeluTanh] {
        let found = kernels::activate(kind, up.clone());
        assert_close(
            &found,
            &composed::activate_composed(kind, up.clone()),
            FORWARD,
            &format!("{kind:?}"),
        );
        let dy = found.ones_like();
        let found = kernels::activate_backward(kind, up.clone(), dy.clone());
        let expected = composed::activate_backward_composed(kind, up.clone(), dy);
        assert_close(&found, &expected, GRADIENT, &format!("{kind:?}"));
    }
}

fn rotation(batch_size: usize, seq_len: usize, head_dim: usize) -> Rotation {
    let config = RotaryConfig {
        theta: 1e4,
        scaling: RotaryScaling::None,
    };
    // Rows with positions of their own.
    let positions: Vec<Vec<usize>> = (0..batch_size)
        .map(|row| (row..row + seq_len).collect())
        .collect();
    Rotary::new(&config, head_dim).rotation(&positions, DType::F32, &Device::flex())
}

#[test]
fn heads_are_split_rotated_and_merged_as_by_composed_operations() {
    let (n_heads, first_head) = (3, 2);
    for head_dim in [2, 6, 32, 66] {
        for (batch_size, seq_len) in [(1, 1), (2, 7), (5, 40)] {
            let what = format!("{batch_size} x {seq_len} x {head_dim}");
            let rotation = rotation(batch_size, seq_len, head_dim);
            let rows = random(6, [batch_size, seq_len, 6 * head_dim]);
            let plain = kernels::split(&rows, first_head, n_heads, head_dim, None);
            let expected = rows
                .clone()
                .reshape([batch_size, seq_len, 6, head_dim])
                .swap_dims(1, 2)
                .slice(s![.., first_head..first_head + n_heads]);
            assert_close(&plain, &expected, 0.0, &what);
            let rotated = on_any_threads(|| {
                kernels::split(&rows, first_head, n_heads, head_dim, Some(&rotation))
            });
            let expected = composed::rotate_composed(plain.clone(), &rotation);
            assert_close(&rotated, &expected, FORWARD, &what);
            assert_close(
                &ops::rotate(plain.clone(), &rotation),
                &expected,
                FORWARD,
                &what,
            );
            let expected = composed::rotate_backward_composed(plain.clone(), &rotation);
            assert_close(
                &ops::rotate_backward(plain.clone(), &rotation),
                &expected,
                GRADIENT,
                &what,
            );
            let merged = on_any_threads(|| {
                kernels::merge([plain.clone(), rotated.clone()], Some(&rotation), 1)
            });
            let expected = Tensor::cat(
                vec![expected, rotated]
                    .into_iter()
                    .map(|heads| {
                        heads
                            .swap_dims(1, 2)
                            .reshape([batch_size, seq_len, n_heads * head_dim])
                    })
                    .collect(),
                2,
            );
            assert_close(&merged, &expected, GRADIENT, &what);
        }
    }
}

#[test]
fn softmax_equals_the_composed_operations() {
    for (batch_size, n_queries, first) in [(0, 3, 0), (1, 1, 0), (2, 9, 0), (3, 1, 20), (2, 33, 6)]
    {
        let (n_heads, n_keys) = (3, first + n_queries);
        let row_starts: Vec<usize> = (0..batch_size).map(|row| 4 * row).collect();
        let what = format!("{batch_size} x {n_queries} behind {first}");
        let visible = Visible::Causal { row_starts, first };
        let shape = [batch_size, n_heads, n_queries, n_keys];
        let (scores, dp) = (random(7, shape), random(8, shape));
        let p = on_any_threads(|| kernels::softmax(scores.clone(), &visible, 0.7));
        let ds = on_any_threads(|| kernels::softmax_backward(p.clone(), dp.clone(), &visible, 0.7));
        assert_eq!((p.dims(), ds.dims()), (shape, shape), "{what}");
        if batch_size == 0 {
            continue;
        }
        let expected = composed::softmax_composed(scores, &visible, 0.7);
        assert_close(&p, &expected, FORWARD, &what);
        let expected = composed::softmax_backward_composed(p, dp, 0.7);
        assert_close(&ds, &expected, GRADIENT, &what);
    }
}

#[test]
fn attention_without_a_record_equals_products_and_softmax() {
    // Heads narrower and wider than a vector, one and several queries, shared slots, own ones and
    // both, padding.
    for (head_dim, group, n_queries, shared, earlier) in [
        (8, 1, 1, 0, 0),
        (64, 3, 1, 0, 37),
        (5, 2, 4, 9, 0),
        (33, 1, 12, 20, 3),
        (80, 2, 3, 0, 5),
        // A block of lanes that begins in one head and ends in the next.
        (16, 4, 7, 5, 2),
        // More than one block of lanes and a rest, and none before them.
        (64, 3, 37, 0, 0),
        (24, 1, 19, 11, 4),
    ] {
        let (batch_size, n_kv_heads) = (3, 2);
        let what = format!("{head_dim} wide, {n_queries} behind {shared} + {earlier}");
        let n_heads = group * n_kv_heads;
        // Attention's own scale.
        let scale = 1.0 / (head_dim as f32).sqrt();
        let rows = [1, 0, 1];
        let visible = Visible::Causal {
            row_starts: vec![2.min(shared + earlier), 0, 1.min(shared + earlier)],
            first: shared + earlier,
        };
        // Scores of some ten, as in a model: those of a hundred carry rounding of 1e-5 into the
        // exponent, whoever computes them.
        let q = random(1, [batch_size, n_heads, n_queries, head_dim]).div_scalar(3.0);
        let all = |seed, n_rows, len| {
            let room = [n_rows, n_kv_heads, len + 2, head_dim];
            [random::<4>(seed, room), random::<4>(seed + 1, room)]
        };
        let parts = [
            (all(2, 2, shared), shared, Some(&rows[..])),
            (all(4, batch_size, earlier), earlier, None),
            (all(6, batch_size, n_queries), n_queries, None),
        ];
        let found = [kernels::Queries::Few, kernels::Queries::Many].map(|queries| {
            on_any_threads(|| {
                let segments = parts
                    .clone()
                    .map(|([k, v], len, rows)| Segment::new(k, v, len, rows));
                kernels::attend(queries, q.clone(), n_kv_heads, &segments, &visible, scale)
            })
        });

        let joined = |which: usize| {
            let parts = parts.iter().filter(|(_, len, _)| *len > 0);
            let parts = parts.map(|(tensors, len, rows)| {
                let tensor = tensors[which].clone().slice(s![.., .., ..*len, ..]);
                let rows = rows.map(|rows| rows.iter().map(|row| *row as i32).collect::<Vec<_>>());
                match rows {
                    None => tensor,
                    Some(rows) => {
                        let data = TensorData::new(rows, [batch_size]);
                        tensor.select(0, Tensor::from_data(data, &Device::flex()))
                    }
                }
            });
            Tensor::cat(parts.collect(), 2)
        };
        let fold = |x: Tensor<4>| {
            let [_, _, n, m] = x.dims();
            x.reshape([batch_size, n_kv_heads, group * n, m])
        };
        let (k, v) = (joined(0), joined(1));
        let n_keys = k.dims()[2];
        let scores = fold(q.clone()).matmul(k.swap_dims(2, 3));
        let scores = scores.reshape([batch_size, n_heads, n_queries, n_keys]);
        let p = kernels::softmax(scores, &visible, scale);
        let expected = fold(p).matmul(v).reshape(q.dims());
        for (found, queries) in found.iter().zip(["few", "many"]) {
            assert_close(found, &expected, FORWARD, &format!("{queries}, {what}"));
        }
    }
}

#[test]
fn cross_entropy_equals_the_composed_operations() {
    for (n_targets, vocab_size) in [(0, 11), (1, 1), (1, 11), (5, 32), (7, 4099)] {
        let what = format!("{n_targets} of {vocab_size}");
        let logits = random(9, [n_targets, vocab_size]).mul_scalar(4.0);
        let targets: Vec<u32> = (0..n_targets)
            .map(|i| (i * 7 % vocab_size) as u32)
            .collect();
        let weights: Vec<f32> = (0..n_targets).map(|i| 0.5 - i as f32).collect();
        let found = TargetScores::new(logits.clone(), &targets);
        if n_targets == 0 {
            assert_eq!(found.log_likelihood().dims(), [0]);
            assert_eq!(found.backward(&weights).dims(), [0, vocab_size]);
            continue;
        }
        let expected = TargetScores::composed(logits.clone(), &targets);
        let likelihood =
            on_any_threads(|| TargetScores::new(logits.clone(), &targets).log_likelihood());
        assert_close(&likelihood, &expected.log_likelihood(), FORWARD, &what);
        assert_close(
            found.log_probabilities(),
            expected.log_probabilities(),
            FORWARD,
            &what,
        );
        let gradient =
            on_any_threads(|| TargetScores::new(logits.clone(), &targets).backward(&weights));
        assert_close(&gradient, &expected.backward(&weights), GRADIENT, &what);
    }
}

#[test]
fn a_tensor_that_somebody_else_holds_is_not_changed() {
    let logits = random(10, [3, 50]);
    let before = values(&logits);
    TargetScores::new(logits.clone(), &[1, 2, 3]).backward(&[1.0; 3]);
    let visible = Visible::BothWays { lengths: vec![5] };
    let scores = random(11, [1, 2, 5, 5]);
    let scores_before = values(&scores);
    kernels::softmax(scores.clone(), &visible, 1.0);
    // A view into a larger buffer: the rest of the buffer stays as it is.
    let rotation = rotation(1, 5, 6);
    let heads = random(12, [1, 4, 5, 6]);
    let heads_before = values(&heads);
    ops::rotate(heads.clone().slice(s![.., 1..3]), &rotation);
    assert_eq!(values(&logits), before);
    assert_eq!(values(&scores), scores_before);
    assert_eq!(values(&heads), heads_before);
}

#[test]
fn passes_of_several_threads_give_their_results_in_time() {
    /// Some microseconds are enough for a pass; what takes this long waits for itself.
    const WITHIN: Duration = Duration::from_secs(60);
    const N_THREADS: usize = 8;
    const N_PASSES: usize = 100;
    // More passes at once than threads, each with loops within loops, and passes within passes.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3);
    let pool = Arc::new(pool.build().expect("three threads"));
    let sum = |n: u64| -> u64 {
        let squares = (0..n).into_par_iter().map(|i| {
            let parts = (0..i).into_par_iter();
            parts.sum::<u64>()
        });
        squares.sum()
    };
    let (sender, results) = mpsc::channel();
    for _ in 0..N_THREADS {
        let (pool, sender) = (pool.clone(), sender.clone());
        // Not joined: a thread that never ends must not keep the test from failing.
        std::thread::spawn(move || {
            let device = Device::flex();
            for _ in 0..N_PASSES {
                let found = pool.install(|| {
                    kernels::on_workers(&device, || {
                        let within = kernels::on_workers(&device, || sum(60));
                        (within, sum(60))
                    })
                });
                sender.send(found).expect("the test waits");
            }
        });
    }
    let expected: u64 = (0..60).map(|i: u64| i * i.saturating_sub(1) / 2).sum();
    for pass in 0..N_THREADS * N_PASSES {
        let found = results
            .recv_timeout(WITHIN)
            .unwrap_or_else(|_| panic!("{pass} passes ended, the next has not in {WITHIN:?}"));
        assert_eq!(found, (expected, expected));
    }
}
