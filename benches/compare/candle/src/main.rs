//! candle as an engine of `cargo xtask bench compare`: `candle-engine f32 DIR CASE` runs one case
//! and prints one line of JSON.
//!
//! Its `Llama` gives the logits of the last position only, so that it cannot be trained through; it
//! is measured where it can be.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Activation, VarBuilder, VarMap, linear};
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use serde::Deserialize;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// One table of `benches/compare/cases.toml`.
#[derive(Deserialize)]
struct Case {
    kind: String,
    #[serde(default)]
    rows: usize,
    #[serde(default)]
    prompt: usize,
    repeat: usize,
}

/// Tokens `from..to` of the first `rows` rows, the same in every engine.
fn tokens(rows: usize, from: usize, to: usize) -> Fallible<Tensor> {
    let token = |row, i| (3 + (row * 977 + i * 7919) % 40_000) as u32;
    let ids: Vec<u32> = (0..rows)
        .flat_map(|row| (from..to).map(move |i| token(row, i)))
        .collect();
    Ok(Tensor::from_vec(ids, (rows, to - from), &Device::Cpu)?)
}

fn norm(tensor: &Tensor) -> Fallible<f64> {
    Ok(f64::from(
        tensor.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt(),
    ))
}

fn load(dir: &Path) -> Fallible<(Llama, Config)> {
    let config: LlamaConfig = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    let config = config.into_config(false);
    // SAFETY: nobody writes the checkpoint while the bench runs.
    let weights = unsafe {
        VarBuilder::from_mmaped_safetensors(
            &[dir.join("model.safetensors")],
            DType::F32,
            &Device::Cpu,
        )?
    };
    Ok((Llama::load(weights, &config)?, config))
}

fn new_cache(config: &Config) -> Fallible<Cache> {
    Ok(Cache::new(true, DType::F32, config, &Device::Cpu)?)
}

/// Calls `step` twice to warm up, then `repeat` times with the clock running.
fn timed(repeat: usize, mut step: impl FnMut() -> Fallible<f64>) -> Fallible<(Vec<f64>, Vec<f64>)> {
    let (mut seconds, mut checksum) = (Vec::new(), Vec::new());
    for i in 0..repeat + 2 {
        let began = Instant::now();
        checksum = vec![step()?];
        if i >= 2 {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    Ok((seconds, checksum))
}

fn main() -> Fallible<()> {
    let began = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [width, dir, case] = arguments.as_slice() else {
        return Err("usage: candle-engine f32 DIR CASE".into());
    };
    if width != "f32" {
        return Err(format!("unknown width `{width}`, expected f32").into());
    }
    let dir = Path::new(dir);
    let case: Case = serde_json::from_str(case)?;
    let (rows, prompt) = (case.rows, case.prompt);
    let (seconds, checksum) = match case.kind.as_str() {
        "prefill" => {
            let ((llama, config), prompt) = (load(dir)?, tokens(1, 0, prompt)?);
            timed(case.repeat, || {
                norm(&llama.forward(&prompt, 0, &mut new_cache(&config)?)?)
            })?
        }
        "decode" => {
            let (llama, config) = load(dir)?;
            let mut cache = new_cache(&config)?;
            llama.forward(&tokens(rows, 0, prompt)?, 0, &mut cache)?;
            let mut at = prompt;
            timed(case.repeat, || {
                at += 1;
                let next = tokens(rows, at - 1, at)?;
                norm(&llama.forward(&next, at - 1, &mut cache)?)
            })?
        }
        "cold_start" => {
            let ((llama, config), prompt) = (load(dir)?, tokens(1, 0, prompt)?);
            let logits = llama.forward(&prompt, 0, &mut new_cache(&config)?)?;
            (vec![began.elapsed().as_secs_f64()], vec![norm(&logits)?])
        }
        "project" => project(&case)?,
        other => return Err(format!("no case of kind `{other}` for candle").into()),
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let kib: u64 = line.map_or(Ok(0), str::parse)?;
    let found = serde_json::json!({
        "seconds": seconds, "checksum": checksum, "peak_mib": kib / 1024, "version": "candle 0.11",
    });
    println!("{found}");
    Ok(())
}

/// The default projector; weights differ between engines, so that only the size of the results is
/// compared.
fn project(case: &Case) -> Fallible<(Vec<f64>, Vec<f64>)> {
    const BATCH: usize = 4096;
    let variables = VarMap::new();
    let source = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let (first, second) = (
        linear(256, 576, source.pp("first"))?,
        linear(576, 576, source.pp("second"))?,
    );
    let numbers = (0..BATCH * 256).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0);
    let users = Tensor::from_iter(numbers, &Device::Cpu)?.reshape((BATCH, 256))?;
    timed(case.repeat, || {
        let mut last = 0.0;
        for _ in 0..case.rows / BATCH {
            let hidden = Activation::Gelu.forward(&first.forward(&users)?)?;
            let out = second.forward(&hidden)?.detach();
            let rms = (out.sqr()?.mean_keepdim(1)? + 1e-8)?.sqrt()?;
            let out = (out.broadcast_div(&rms)? * 0.02)?;
            last = norm(&out)? / (out.elem_count() as f64).sqrt();
        }
        Ok(last)
    })
}
