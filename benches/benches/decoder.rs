//! Loading, time to first token, prefill and cached decoding on a model of SmolLM2-135M's shape,
//! from a bf16 checkpoint to f32.
//!
//! criterion reports seconds and tokens per second; the peak memory of the first load is printed
//! before anything else has used any.
#![allow(missing_docs, clippy::print_stderr)]

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor, s};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use e2p_bench::{peak_memory_mib, smollm2_135m, write_checkpoint};
use e2p_model::{Decoder, LoadOptions, Padding};

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 17 + i * 7919 % 40_000).collect()
}

/// Logits after the last slot, read back: the device is done when this returns.
fn last_logits(decoder: &Decoder, hidden: Tensor<3>) -> Vec<f32> {
    let [rows, seq_len, d_model] = hidden.dims();
    let last = hidden
        .slice(s![.., seq_len - 1.., ..])
        .reshape([rows, d_model]);
    decoder
        .logits(last)
        .into_data()
        .try_into_vec()
        .expect("f32")
}

fn prefill(decoder: &Decoder, prompt: &[u32]) -> Vec<f32> {
    let (embeds, row_starts) = decoder.embed_rows(&[prompt], Padding::Left).expect("ids");
    let mut cache = decoder.new_cache(row_starts, prompt.len());
    let hidden = decoder.forward_cached(embeds, &mut cache).expect("room");
    last_logits(decoder, hidden)
}

fn decoder(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_checkpoint(&smollm2_135m(), dir.path());
    let load = || {
        Decoder::from_dir(dir.path(), &LoadOptions::default(), &Device::default())
            .expect("a checkpoint")
            .0
    };
    let began = Instant::now();
    let decoder = load();
    let (seconds, peak) = (began.elapsed().as_secs_f64(), peak_memory_mib());
    let weights = 4 * decoder.config().n_parameters() / (1 << 20);
    eprintln!(
        "{} parameters loaded in {seconds:.2} s; peak memory of the process {peak} MiB, {:.2} times the {weights} MiB of loaded weights",
        decoder.config().n_parameters(),
        peak as f64 / weights as f64
    );

    let mut group = c.benchmark_group("from the directory");
    group.sample_size(10);
    group.bench_function("load", |b| b.iter(|| black_box(load())));
    let prompt = ids(16);
    group.bench_function("first token of 16", |b| {
        b.iter(|| black_box(prefill(&load(), &prompt)));
    });
    group.finish();

    let mut group = c.benchmark_group("prefill");
    group.sample_size(10);
    for n in [32, 256] {
        let prompt = ids(n);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n), &prompt, |b, prompt| {
            b.iter(|| black_box(prefill(&decoder, prompt)));
        });
    }
    group.finish();

    // One step behind 128 positions, for one row and for eight.
    let mut group = c.benchmark_group("decode");
    group.sample_size(10);
    for rows in [1usize, 8] {
        let prompts = vec![ids(128); rows];
        let (embeds, row_starts) = decoder.embed_rows(&prompts, Padding::Left).expect("ids");
        let mut cache = decoder.new_cache(row_starts, 129);
        decoder.forward_cached(embeds, &mut cache).expect("room");
        let (next, _) = decoder
            .embed_rows(&vec![[42u32]; rows], Padding::Left)
            .expect("ids");
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |b| {
            b.iter(|| {
                cache.truncate(128);
                let hidden = decoder
                    .forward_cached(next.clone(), &mut cache)
                    .expect("room");
                black_box(last_logits(&decoder, hidden))
            });
        });
    }
    group.finish();
    eprintln!("peak memory {} MiB", peak_memory_mib());
}

criterion_group!(benches, decoder);
criterion_main!(benches);
