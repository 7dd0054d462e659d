//! This project as an engine of `cargo xtask bench compare`: `e2p_engine STORAGE DIR CASE` runs one
//! case and prints one line of JSON; `e2p_engine machine` measures what the machine can do at most.
#![allow(missing_docs, clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData, s};
use e2p_bench::peak_memory_mib;
use e2p_model::{Decoder, Keep, LoadOptions, MatmulPrecision, Padding, TargetScores};
use e2p_prefix::{PrefillCache, ProjectorConfig, SplicedRow};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// One table of `benches/compare/cases.toml`.
#[derive(Deserialize)]
struct Case {
    kind: String,
    #[serde(default)]
    rows: usize,
    #[serde(default)]
    prompt: usize,
    #[serde(default)]
    target: usize,
    #[serde(default)]
    slot: usize,
    #[serde(default)]
    recompute: bool,
    repeat: usize,
}

#[derive(Serialize)]
struct Found {
    seconds: Vec<f64>,
    checksum: Vec<f64>,
    peak_mib: u64,
    version: String,
}

/// Token `i` of row `row`, the same in every engine.
fn token(row: usize, i: usize) -> u32 {
    (3 + (row * 977 + i * 7919) % 40_000) as u32
}

fn tokens(row: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| token(row, i)).collect()
}

/// `(i * 37 mod 101 - 50) / divisor` for `i` below `n`.
fn numbers(n: usize, divisor: f32) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / divisor)
        .collect()
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|value| f64::from(*value) * f64::from(*value))
        .sum::<f64>()
        .sqrt()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Fallible<Vec<f32>> {
    Ok(tensor.into_data().try_into_vec_as::<f32>()?)
}

/// Calls `step` twice to warm up, then `repeat` times with the clock running.
fn timed(
    repeat: usize,
    mut step: impl FnMut() -> Fallible<Vec<f64>>,
) -> Fallible<(Vec<f64>, Vec<f64>)> {
    let (mut seconds, mut checksum) = (Vec::new(), Vec::new());
    for i in 0..repeat + 2 {
        let began = Instant::now();
        checksum = step()?;
        if i >= 2 {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    Ok((seconds, checksum))
}

/// Logits of the last slot.
fn last_logits(decoder: &Decoder, hidden: Tensor<3>) -> Fallible<Vec<f32>> {
    let [rows, n, d_model] = hidden.dims();
    let last = hidden.slice(s![.., n - 1.., ..]).reshape([rows, d_model]);
    values(decoder.logits(last))
}

fn main() -> Fallible<()> {
    let began = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["machine"] {
        return machine();
    }
    let [storage, dir, case] = arguments.as_slice() else {
        return Err("usage: e2p_engine STORAGE DIR CASE | e2p_engine machine".into());
    };
    let case: Case = serde_json::from_str(case)?;
    let device = Device::default();
    let options = options(storage)?;
    let load = || Decoder::from_dir(Path::new(dir), &options, &device).map(|loaded| loaded.0);
    let (seconds, checksum) = match case.kind.as_str() {
        "train" => train(&load()?, &case)?,
        "prefill" => {
            let (decoder, prompt) = (load()?, tokens(0, case.prompt));
            timed(case.repeat, || {
                let (embeds, starts) = decoder.embed_rows(&[&prompt], Padding::Left)?;
                let mut cache = decoder.new_cache(starts, prompt.len());
                let hidden = decoder.forward_cached(embeds, &mut cache)?;
                Ok(vec![norm(&last_logits(&decoder, hidden)?)])
            })?
        }
        "decode" => decode(&load()?, &case)?,
        "project" => project(&case, &device)?,
        "cold_start" => {
            let (decoder, prompt) = (load()?, tokens(0, case.prompt));
            let (embeds, starts) = decoder.embed_rows(&[&prompt], Padding::Left)?;
            let mut cache = decoder.new_cache(starts, prompt.len());
            let hidden = decoder.forward_cached(embeds, &mut cache)?;
            let logits = last_logits(&decoder, hidden)?;
            (vec![began.elapsed().as_secs_f64()], vec![norm(&logits)])
        }
        other => return Err(format!("unknown kind of case `{other}`").into()),
    };
    let found = Found {
        seconds,
        checksum,
        peak_mib: peak_memory_mib(),
        version: format!("e2p {}", env!("CARGO_PKG_VERSION")),
    };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// Prints how fast all cores together read memory, and how fast the frozen stack's product is where
/// nothing is in its way.
fn machine() -> Fallible<()> {
    let best = |f: &mut dyn FnMut()| {
        let seconds = (0..12).map(|_| {
            let began = Instant::now();
            f();
            began.elapsed().as_secs_f64()
        });
        seconds.fold(f64::INFINITY, f64::min)
    };
    // Far more than the caches hold; summed in parts so that nothing but memory is in the way.
    let values = vec![1.0f32; 96 << 20];
    let n_threads = std::thread::available_parallelism()?.get();
    let read = best(&mut || {
        let part = values.len().div_ceil(n_threads);
        let total: f32 = std::thread::scope(|scope| {
            let sums: Vec<_> = values
                .chunks(part)
                .map(|part| scope.spawn(move || sum(part)))
                .collect();
            sums.into_iter().filter_map(|sum| sum.join().ok()).sum()
        });
        std::hint::black_box(total);
    });
    let (rows, width) = (4096, 576);
    let device = Device::default();
    let tensor = |n: usize, m: usize| {
        Tensor::<2>::from_data(TensorData::new(numbers(n * m, 50.0), [n, m]), &device)
    };
    let (x, weight) = (tensor(rows, width), tensor(width, width));
    let product = best(&mut || {
        std::hint::black_box(e2p_model::ops::linear(x.clone(), weight.clone(), None));
    });
    let found = serde_json::json!({
        "read_gb_per_s": (4 * values.len()) as f64 / read / 1e9,
        "product_gflop_per_s": (2 * rows * width * width) as f64 / product / 1e9,
    });
    println!("{found}");
    Ok(())
}

/// In 64 sums side by side, which becomes wide loads.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 64];
    for chunk in values.as_chunks::<64>().0 {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum()
}

fn options(storage: &str) -> Fallible<LoadOptions> {
    match storage {
        "f32" => Ok(LoadOptions::default()),
        // A storage of the weights; the CPU computes in f32.
        "bf16" => Ok(DType::BF16.into()),
        // The products too, as PyTorch's and llama.cpp's.
        "bf16-products" => Ok(LoadOptions {
            matmul_precision: MatmulPrecision::Medium,
            ..DType::BF16.into()
        }),
        "int8" => Ok(LoadOptions::int8()),
        other => Err(format!(
            "unknown storage `{other}`, expected f32, bf16, bf16-products or int8"
        )
        .into()),
    }
}

fn train(decoder: &Decoder, case: &Case) -> Fallible<(Vec<f64>, Vec<f64>)> {
    let rows: Vec<SplicedRow> = (0..case.rows)
        .map(|row| {
            let ids = tokens(row, case.prompt + case.target);
            let (prompt, target) = ids.split_at(case.prompt);
            SplicedRow::new(prompt, case.slot, target)
        })
        .collect();
    let d_model = decoder.config().d_model;
    let prefix = TensorData::new(
        numbers(case.rows * d_model, 1000.0),
        [case.rows, 1, d_model],
    );
    let prefix = Tensor::<3>::from_data(prefix, (decoder.device(), DType::F32));
    // Fixed contexts are kept from step to step, as in training.
    let mut earlier = PrefillCache::new(1 << 30);
    let keep = if case.recompute {
        Keep::LayerInputs
    } else {
        Keep::Activations
    };
    timed(case.repeat, || {
        let batch = earlier.batch(decoder, &rows)?;
        let (logits, tape) = batch.forward(decoder, Some(prefix.clone()), keep)?;
        let scores = TargetScores::new(logits, batch.targets());
        let n = batch.targets().len();
        let loss = -values(scores.log_likelihood())?.iter().sum::<f32>() / n as f32;
        let gradient = batch.backward(decoder, tape, scores.backward(&vec![1.0 / n as f32; n]));
        Ok(vec![f64::from(loss), norm(&values(gradient)?)])
    })
}

fn decode(decoder: &Decoder, case: &Case) -> Fallible<(Vec<f64>, Vec<f64>)> {
    let prompts: Vec<_> = (0..case.rows).map(|row| tokens(row, case.prompt)).collect();
    let (embeds, starts) = decoder.embed_rows(&prompts, Padding::Left)?;
    let mut cache = decoder.new_cache(starts, case.prompt + case.repeat + 2);
    decoder.forward_cached(embeds, &mut cache)?;
    let mut at = case.prompt;
    timed(case.repeat, || {
        let next: Vec<_> = (0..case.rows).map(|row| [token(row, at)]).collect();
        at += 1;
        let (embeds, _) = decoder.embed_rows(&next, Padding::Left)?;
        let hidden = decoder.forward_cached(embeds, &mut cache)?;
        Ok(vec![norm(&last_logits(decoder, hidden)?)])
    })
}

/// The default projector for users of 256 numbers; weights differ between engines, so that only the
/// size of the results is compared.
fn project(case: &Case, device: &Device) -> Fallible<(Vec<f64>, Vec<f64>)> {
    const BATCH: usize = 4096;
    const RMS: f32 = 0.02;
    let projector = ProjectorConfig::new(256, 576).init(RMS, 1.0, 0, device);
    let users = TensorData::new(numbers(BATCH * 256, 50.0), [BATCH, 256]);
    let users = Tensor::<2>::from_data(users, (device, DType::F32));
    timed(case.repeat, || {
        let mut last = Vec::new();
        for _ in 0..case.rows / BATCH {
            last = values(projector.forward(users.clone()))?;
        }
        Ok(vec![norm(&last) / (last.len() as f64).sqrt()])
    })
}
