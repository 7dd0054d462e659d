//! One training step's forward and backward pass through the frozen stack, by the place of the soft
//! token.
//!
//! The further behind it stands, the less is differentiated: what is before it is a constant cache.
#![allow(missing_docs)]

use std::hint::black_box;

use burn::tensor::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use e2p_bench::random_decoder;
use e2p_model::{DecoderConfig, Keep, TargetScores};
use e2p_prefix::{SplicedBatch, SplicedRow};

const ROWS: usize = 8;
const PROMPT: usize = 96;
const TARGET: usize = 16;

fn step(c: &mut Criterion) {
    let device = Device::default();
    let decoder = random_decoder(
        DecoderConfig::small_llama(8192, 256, 6, 8, 4, 768, 256),
        &device,
    );
    let prefix = Tensor::<3>::ones([ROWS, 1, 256], (&device, DType::F32)).mul_scalar(0.02);
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| 3 + i * 31 % 8000).collect();
    let target: Vec<u32> = (0..TARGET as u32).map(|i| 5 + i * 17 % 8000).collect();
    let mut group = c.benchmark_group("training pass");
    group.sample_size(10);
    group.throughput(Throughput::Elements((ROWS * (PROMPT + TARGET)) as u64));
    for (name, slot) in [("after_bos", 1), ("before_target", PROMPT)] {
        let rows = vec![SplicedRow::new(&prompt, slot, &target); ROWS];
        let before: Vec<&[u32]> = rows.iter().map(|row| row.before.as_slice()).collect();
        let cache = decoder.prefill(&before).expect("ids");
        let batch = SplicedBatch::new(&decoder, &rows, Some(cache)).expect("ids");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let (logits, tape) = batch
                    .forward(&decoder, Some(prefix.clone()), Keep::Activations)
                    .expect("room");
                let scores = TargetScores::new(logits, batch.targets());
                let d_logits = scores.backward(&vec![1.0; batch.targets().len()]);
                let gradient = batch.backward(&decoder, tape, d_logits);
                black_box(gradient.into_data().try_into_vec::<f32>().expect("f32"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
