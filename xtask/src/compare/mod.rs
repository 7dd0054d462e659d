//! `bench compare`: engines as sub-processes on the same cases, their results compared before their
//! times are accepted.
//!
//! The cases stand in `benches/compare/cases.toml`. Every engine gets a case as JSON and prints
//! seconds, a checksum and its peak memory. An engine whose checksum is not that of PyTorch in f32
//! has computed something else, and its time is refused.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use crate::workspace;

mod engines;
mod report;

use engines::{REFERENCE, engines};

/// What an engine said about a case.
struct Found {
    seconds: Vec<f64>,
    checksum: Vec<f64>,
    peak_mib: u64,
    version: String,
}

/// What of the comparison is run.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Only cases whose name contains this.
    pub(crate) case: Option<&'a str>,
    /// Only this engine.
    pub(crate) engine: Option<&'a str>,
    /// The device, by its feature; the CPU if none is given.
    pub(crate) device: Option<&'a str>,
}

pub(crate) fn run(sh: &Shell, part: Part<'_>) -> Result<()> {
    let Part {
        case: filter,
        engine: only,
        device,
    } = part;
    let python = std::env::var("E2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "benches/compare/torch_engine.py"; // also writes the checkpoint
    let locked = workspace::locked();
    let features: Vec<String> = device
        .into_iter()
        .map(|device| format!("--features=e2p-bench/{device},e2p-cli/{device}"))
        .collect();
    cmd!(
        sh,
        "cargo build --release {locked...} -p e2p-bench -p e2p-cli {features...}"
    )
    .run()?;
    // burn's own variable for our engine; PyTorch's takes CUDA where anything but the CPU is asked
    // for.
    let _device = device.map(|device| sh.push_env("BURN_DEVICE", device));
    if device.is_none()
        && only.is_none_or(|only| only.starts_with("candle"))
        && let Err(error) = build_candle(sh)
    {
        eprintln!("candle's engine is not measured: {error:#}");
    }
    let model = PathBuf::from("target/bench/smollm2-135m-random");
    if !sh.path_exists(model.join("model.safetensors")) {
        sh.create_dir(&model)?;
        cmd!(sh, "{python} {script} write {model}")
            .run()
            .context("writing the checkpoint needs torch and transformers; name a Python that has them in E2P_PYTHON")?;
    }
    let cases: Value = toml::from_str(&sh.read_file("benches/compare/cases.toml")?)?;
    let cases = cases["case"]
        .as_array()
        .context("cases.toml has [[case]] tables")?;
    let (dir, mut machine) = (results_dir(sh, device)?, machine(sh));
    match device {
        None => {
            let limits = cmd!(sh, "target/release/e2p_engine machine").read()?;
            machine["limits"] = serde_json::from_str(&limits)?;
        }
        // What it is called in full is for the driver's own tool to say, where there is one.
        Some(device) => {
            let query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
            let name = cmd!(sh, "nvidia-smi {query...}").quiet().ignore_stderr();
            machine["device"] = json!({ "backend": device, "name": name.read().ok() });
        }
    }
    machine["weights"] = json!(fs::metadata(model.join("model.safetensors"))?.len() / 2); // bf16 on disk
    let path = dir.join("measured.json");
    // A case measured again on the same day replaces its rows; the others stay.
    let mut measured: Value = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => json!({}),
    };
    for case in cases {
        let name = case["name"].as_str().context("a case has a name")?;
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let kind = case["kind"].as_str().context("a case has a kind")?;
        for engine in engines(device)
            .iter()
            .filter(|engine| engine.program.has(kind))
        {
            if only.is_some_and(|only| engine.name != only) {
                continue;
            }
            eprintln!("{name}: {}", engine.name);
            let is_reference = engine.name == REFERENCE;
            let reference = (!is_reference).then(|| &measured[name][REFERENCE]["checksum"]);
            let program = engine.program.command(&python);
            let found = measure(sh, &program, engine.width, &model, case)
                .and_then(|found| verified(found, reference, engine.tolerance));
            measured[name][engine.name] = match found {
                Ok(found) => json!({
                    "seconds": found.seconds, "checksum": found.checksum, "peak_mib": found.peak_mib, "version": found.version,
                }),
                Err(error) => {
                    eprintln!("{name}: {} refused: {error:#}", engine.name);
                    Value::Null
                }
            };
            sh.write_file(&path, serde_json::to_string_pretty(&measured)? + "\n")?;
        }
    }
    report::write(sh, &dir, device, cases, &measured, &machine)
}

/// Built apart from the workspace, for this machine alone, as its authors advise.
fn build_candle(sh: &Shell) -> Result<()> {
    let _flags = sh.push_env("RUSTFLAGS", "-C target-cpu=native");
    let manifest = "benches/compare/candle/Cargo.toml";
    let locked = workspace::locked();
    cmd!(
        sh,
        "cargo build --release {locked...} --manifest-path {manifest} --target-dir target/bench/candle"
    )
    .run()
    .context("building candle's engine")
}

/// Runs one engine on one case; a cold start is as many processes as there are repeats, timed from
/// outside.
fn measure(sh: &Shell, program: &[&str], width: &str, model: &Path, case: &Value) -> Result<Found> {
    let case_json = case.to_string();
    let (program, before) = program.split_first().context("a program")?;
    let once = || -> Result<(Found, f64)> {
        let began = std::time::Instant::now();
        let line = cmd!(sh, "{program} {before...} {width} {model} {case_json}")
            .quiet()
            .ignore_stderr()
            .read()?;
        let wall = began.elapsed().as_secs_f64();
        let found: Value = serde_json::from_str(line.lines().last().unwrap_or_default())?;
        let numbers = |key: &str| -> Vec<f64> {
            let list = found[key].as_array();
            list.into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect()
        };
        let found = Found {
            seconds: numbers("seconds"),
            checksum: numbers("checksum"),
            peak_mib: found["peak_mib"].as_u64().unwrap_or(0),
            version: found["version"].as_str().unwrap_or_default().into(),
        };
        if found.seconds.is_empty() {
            bail!("no seconds in `{line}`");
        }
        Ok((found, wall))
    };
    let (mut found, wall) = once()?;
    if case["kind"] == "cold_start" {
        found.seconds = vec![wall];
        for _ in 1..case["repeat"].as_u64().unwrap_or(1) {
            found.seconds.push(once()?.1);
        }
    }
    Ok(found)
}

/// The result, if its checksum is that of the reference; the reference has none to agree with.
fn verified(found: Found, reference: Option<&Value>, tolerance: f64) -> Result<Found> {
    let Some(reference) = reference else {
        return Ok(found);
    };
    let Some(expected) = reference.as_array() else {
        bail!("{REFERENCE} has not been measured, so there is nothing to check the result against");
    };
    let agrees = found.checksum.len() == expected.len()
        && found.checksum.iter().zip(expected).all(|(a, b)| {
            b.as_f64()
                .is_some_and(|b| (a - b).abs() <= tolerance * b.abs())
        });
    if !agrees {
        bail!(
            "checksum {:?}, expected {expected:?} within {tolerance}",
            found.checksum
        );
    }
    Ok(found)
}

/// What the machine is, as far as Linux tells.
fn machine(sh: &Shell) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(": ").nth(1))
            .unwrap_or("unknown")
            .to_owned()
    };
    let has = |flag: &str| line("flags").split(' ').any(|found| found == flag);
    json!({
        "cpu": format!("{} family {} model {}", line("model name"), line("cpu family"), line("model\t")),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "avx2": has("avx2"),
        "avx512f": has("avx512f"),
        "avx512_bf16": has("avx512_bf16"),
        "kernel": cmd!(sh, "uname -sr").quiet().read().unwrap_or_default(),
        "rustc": cmd!(sh, "rustc --version").quiet().read().unwrap_or_default(),
        "commit": cmd!(sh, "git rev-parse --short HEAD").quiet().read().unwrap_or_default(),
    })
}

/// `benches/results/<date>-<cpu>`, and the device where it is another.
fn results_dir(sh: &Shell, device: Option<&str>) -> Result<PathBuf> {
    let date = cmd!(sh, "date -u +%F").quiet().read()?;
    let cpu = machine(sh)["cpu"]
        .as_str()
        .unwrap_or_default()
        .to_lowercase();
    let slug: Vec<&str> = cpu
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .chain(device)
        .collect();
    let dir = PathBuf::from(format!("benches/results/{date}-{}", slug.join("-")));
    sh.create_dir(&dir)?;
    Ok(dir)
}
