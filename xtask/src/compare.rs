//! `bench compare`: engines as sub-processes on the same cases, their results compared before their times are accepted.
//!
//! The cases stand in `benches/compare/cases.toml`. Every engine gets a case as JSON and prints seconds, a checksum and its peak memory. An
//! engine whose checksum is not that of PyTorch in f32 has computed something else, and its time is refused.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use crate::workspace;

/// The engine that checksums and ratios refer to.
const REFERENCE: &str = "pytorch-f32";

/// Name, command line arguments before the model directory, relative tolerance of the checksum.
const ENGINES: [(&str, &[&str], f64); 4] = [
    (REFERENCE, &["f32"], 0.0),
    ("pytorch-bf16", &["bf16"], 0.05),
    ("e2p-f32", &["f32"], 1e-3),
    ("e2p-bf16-weights", &["bf16"], 1e-3),
];

/// An engine and what it found; nothing where it was refused or did not run.
type Row = (&'static str, Option<Found>);

/// What an engine said about a case.
struct Found {
    seconds: Vec<f64>,
    checksum: Vec<f64>,
    peak_mib: u64,
    version: String,
}

impl Found {
    fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    }

    /// Smallest and largest.
    fn spread(&self) -> (f64, f64) {
        let fold = |f: fn(f64, f64) -> f64, start| self.seconds.iter().copied().fold(start, f);
        (fold(f64::min, f64::INFINITY), fold(f64::max, 0.0))
    }
}

pub(crate) fn run(sh: &Shell, filter: Option<&str>) -> Result<()> {
    let python = std::env::var("E2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "benches/compare/torch_engine.py";
    let locked = workspace::locked();
    cmd!(
        sh,
        "cargo build --release {locked...} -p e2p-bench -p e2p-cli"
    )
    .run()?;
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
    let mut table = Vec::new();
    for case in cases {
        let name = case["name"].as_str().context("a case has a name")?;
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let mut rows: Vec<Row> = Vec::new();
        for (engine, arguments, tolerance) in ENGINES {
            let program: Vec<&str> = if engine.starts_with("pytorch") {
                vec![&python, script, "run"]
            } else {
                vec!["target/release/e2p_engine"]
            };
            eprintln!("{name}: {engine}");
            let reference = rows.first().and_then(|(_, found)| found.as_ref());
            let found = measure(sh, &program, arguments, &model, case)
                .and_then(|found| verified(found, reference, tolerance));
            if let Err(error) = &found {
                eprintln!("{name}: {engine} refused: {error:#}");
            }
            rows.push((engine, found.ok()));
        }
        table.push((case, rows));
    }
    write(sh, &table)
}

/// Runs one engine on one case; a cold start is as many processes as there are repeats, timed from outside.
fn measure(
    sh: &Shell,
    program: &[&str],
    arguments: &[&str],
    model: &Path,
    case: &Value,
) -> Result<Found> {
    let case_json = case.to_string();
    let (program, before) = program.split_first().context("a program")?;
    let once = || -> Result<(Found, f64)> {
        let began = std::time::Instant::now();
        let line = cmd!(
            sh,
            "{program} {before...} {arguments...} {model} {case_json}"
        )
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

/// The result, if its checksum is that of the reference.
fn verified(found: Found, reference: Option<&Found>, tolerance: f64) -> Result<Found> {
    let Some(reference) = reference else {
        return Ok(found);
    };
    let agrees = found.checksum.len() == reference.checksum.len()
        && found
            .checksum
            .iter()
            .zip(&reference.checksum)
            .all(|(a, b)| (a - b).abs() <= tolerance * b.abs());
    if !agrees {
        bail!(
            "checksum {:?}, expected {:?} within {tolerance}",
            found.checksum,
            reference.checksum
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

/// Records the table below `benches/results/` and in `docs/BENCHMARKS.md`.
fn write(sh: &Shell, table: &[(&Value, Vec<Row>)]) -> Result<()> {
    let date = cmd!(sh, "date -u +%F").quiet().read()?;
    let mut machine = machine(sh);
    let cpu: String = machine["cpu"].as_str().unwrap_or_default().to_lowercase();
    let slug: Vec<&str> = cpu
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let dir = PathBuf::from(format!("benches/results/{date}-{}", slug.join("-")));
    sh.create_dir(&dir)?;
    let mut csv = String::from(
        "case,engine,median_s,min_s,max_s,n,peak_mib,ratio_to_pytorch_f32,ratio_to_pytorch_bf16\n",
    );
    let mut markdown = String::from(
        "| case | engine | median | min to max | peak memory | × PyTorch f32 | × PyTorch bf16 |\n|---|---|---|---|---|---|---|\n",
    );
    for (case, rows) in table {
        let name = case["name"].as_str().unwrap_or_default();
        let time_of = |engine: &str| {
            let row = rows.iter().find(|(name, _)| *name == engine);
            row.and_then(|(_, found)| found.as_ref()).map(Found::median)
        };
        for (engine, found) in rows {
            let Some(found) = found else {
                writeln!(csv, "{name},{engine},,,,,,,")?;
                writeln!(markdown, "| {name} | {engine} | not measured | | | | |")?;
                continue;
            };
            machine[*engine] = found.version.clone().into();
            let (median, (min, max)) = (found.median(), found.spread());
            let ratio = |engine| {
                time_of(engine).map_or(String::new(), |time| format!("{:.2}", time / median))
            };
            let (f32, bf16) = (ratio(REFERENCE), ratio("pytorch-bf16"));
            writeln!(
                csv,
                "{name},{engine},{median:.6},{min:.6},{max:.6},{},{},{f32},{bf16}",
                found.seconds.len(),
                found.peak_mib
            )?;
            writeln!(
                markdown,
                "| {name} | {engine} | {:.1} ms | {:.1} to {:.1} | {} MiB | {f32} | {bf16} |",
                median * 1e3,
                min * 1e3,
                max * 1e3,
                found.peak_mib
            )?;
        }
    }
    let mut what = String::new();
    for (case, _) in table {
        writeln!(
            what,
            "- `{}`: {}.",
            case["name"].as_str().unwrap_or_default(),
            case["what"].as_str().unwrap_or_default()
        )?;
    }
    let page = format!(
        "Written by `cargo xtask bench compare` on {date}; do not edit.\n\n{markdown}\nA ratio above 1 is faster than PyTorch. Times are medians; every engine's loss, gradient norm or logit norm agreed with PyTorch f32 first.\ncandle and llama.cpp: not measured.\n\n{what}\nMachine:\n\n```json\n{}\n```\n",
        serde_json::to_string_pretty(&machine)?
    );
    sh.write_file(
        dir.join("env.json"),
        serde_json::to_string_pretty(&machine)? + "\n",
    )?;
    sh.write_file(dir.join("compare.csv"), csv)?;
    sh.write_file(dir.join("README.md"), format!("# Results\n\n{page}"))?;
    sh.write_file("docs/BENCHMARKS.md", format!("# Benchmarks\n\n{page}"))?;
    println!("{markdown}");
    Ok(())
}
