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

/// Someone's code that runs cases.
struct Engine {
    name: &'static str,
    program: Program,
    /// How the weights are stored, the engine's first argument.
    width: &'static str,
    /// Of the checksum, relative to the reference's.
    tolerance: f64,
}

/// What is started for an engine.
#[derive(Clone, Copy)]
enum Program {
    PyTorch,
    Own,
    Candle,
    LlamaCpp,
}

const ENGINES: [Engine; 10] = [
    engine(REFERENCE, Program::PyTorch, "f32", 0.0),
    engine("pytorch-bf16", Program::PyTorch, "bf16", 0.05),
    engine("candle-f32", Program::Candle, "f32", 1e-3),
    engine("llama.cpp-f32", Program::LlamaCpp, "f32", 1e-3),
    engine("llama.cpp-bf16", Program::LlamaCpp, "bf16", 1e-3),
    engine("llama.cpp-q8_0", Program::LlamaCpp, "q8_0", 0.01),
    engine("e2p-f32", Program::Own, "f32", 1e-3),
    engine("e2p-bf16-weights", Program::Own, "bf16", 1e-3),
    engine("e2p-bf16", Program::Own, "bf16-products", 5e-3),
    // Rounded weights give another model; the norm of its logits says that it is near the same one.
    engine("e2p-int8-weights", Program::Own, "int8", 0.01),
];

const fn engine(
    name: &'static str,
    program: Program,
    width: &'static str,
    tolerance: f64,
) -> Engine {
    Engine {
        name,
        program,
        width,
        tolerance,
    }
}

impl Program {
    /// Whether it has what a case of this kind needs: candle's Llama and llama.cpp give no gradients, llama.cpp has no projector.
    fn has(self, kind: &str) -> bool {
        match self {
            Self::PyTorch | Self::Own => true,
            Self::Candle => kind != "train",
            Self::LlamaCpp => kind != "train" && kind != "project",
        }
    }

    /// The command line, without width, model and case.
    fn command(self, python: &str) -> Vec<&str> {
        match self {
            Self::PyTorch => vec![python, "benches/compare/torch_engine.py", "run"],
            Self::LlamaCpp => vec![python, "benches/compare/llama_engine.py", "run"],
            Self::Candle => vec!["target/bench/candle/release/candle-engine"],
            Self::Own => vec!["target/release/e2p_engine"],
        }
    }
}

/// Each of our storages, the bytes of a weight in it, and llama.cpp at that width.
const STORAGES: [(&str, f64, &str); 4] = [
    ("e2p-f32", 4.0, "llama.cpp-f32"),
    ("e2p-bf16-weights", 2.0, "llama.cpp-bf16"),
    ("e2p-bf16", 2.0, "llama.cpp-bf16"),
    ("e2p-int8-weights", 1.0, "llama.cpp-q8_0"),
];

/// What an engine said about a case.
struct Found {
    seconds: Vec<f64>,
    checksum: Vec<f64>,
    peak_mib: u64,
    version: String,
}

pub(crate) fn run(sh: &Shell, filter: Option<&str>, only: Option<&str>) -> Result<()> {
    let python = std::env::var("E2P_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "benches/compare/torch_engine.py"; // also writes the checkpoint
    let locked = workspace::locked();
    cmd!(
        sh,
        "cargo build --release {locked...} -p e2p-bench -p e2p-cli"
    )
    .run()?;
    if only.is_none_or(|only| only.starts_with("candle"))
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
    let (dir, mut machine) = (results_dir(sh)?, machine(sh));
    let limits = cmd!(sh, "target/release/e2p_engine machine").read()?;
    machine["limits"] = serde_json::from_str(&limits)?;
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
        for engine in ENGINES.iter().filter(|engine| engine.program.has(kind)) {
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
    write(sh, &dir, cases, &measured, &machine)
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

/// Runs one engine on one case; a cold start is as many processes as there are repeats, timed from outside.
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

/// `benches/results/<date>-<cpu>`.
fn results_dir(sh: &Shell) -> Result<PathBuf> {
    let date = cmd!(sh, "date -u +%F").quiet().read()?;
    let cpu = machine(sh)["cpu"]
        .as_str()
        .unwrap_or_default()
        .to_lowercase();
    let slug: Vec<&str> = cpu
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    let dir = PathBuf::from(format!("benches/results/{date}-{}", slug.join("-")));
    sh.create_dir(&dir)?;
    Ok(dir)
}

/// Median, smallest and largest of an engine's times.
fn summary(row: &Value) -> Option<(f64, f64, f64)> {
    let list = row["seconds"].as_array()?;
    let mut seconds: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
    seconds.sort_by(f64::total_cmp);
    Some((
        *seconds.get(seconds.len() / 2)?,
        *seconds.first()?,
        *seconds.last()?,
    ))
}

/// Records the table below `benches/results/` and in `docs/BENCHMARKS.md`.
fn write(sh: &Shell, dir: &Path, cases: &[Value], measured: &Value, machine: &Value) -> Result<()> {
    let mut csv = String::from(
        "case,engine,median_s,min_s,max_s,peak_mib,ratio_to_pytorch_f32,ratio_to_pytorch_bf16\n",
    );
    let mut markdown = String::from(
        "| case | engine | median | min to max | peak memory | × PyTorch f32 | × PyTorch bf16 |\n|---|---|---|---|---|---|---|\n",
    );
    let mut what = String::new();
    for case in cases {
        let name = case["name"].as_str().unwrap_or_default();
        let rows = &measured[name];
        writeln!(
            what,
            "- `{name}`: {}.",
            case["what"].as_str().unwrap_or_default()
        )?;
        let kind = case["kind"].as_str().unwrap_or_default();
        for engine in ENGINES.iter().filter(|engine| engine.program.has(kind)) {
            let engine = engine.name;
            let Some((median, min, max)) = summary(&rows[engine]) else {
                writeln!(csv, "{name},{engine},,,,,,")?;
                writeln!(markdown, "| {name} | {engine} | not measured | | | | |")?;
                continue;
            };
            let ratio = |engine: &str| {
                summary(&rows[engine]).map_or(String::new(), |(time, _, _)| {
                    format!("{:.2}", time / median)
                })
            };
            let (f32, bf16) = (ratio(REFERENCE), ratio("pytorch-bf16"));
            let peak = &rows[engine]["peak_mib"];
            writeln!(
                csv,
                "{name},{engine},{median:.6},{min:.6},{max:.6},{peak},{f32},{bf16}"
            )?;
            writeln!(
                markdown,
                "| {name} | {engine} | {:.1} ms | {:.1} to {:.1} | {peak} MiB | {f32} | {bf16} |",
                median * 1e3,
                min * 1e3,
                max * 1e3
            )?;
        }
    }
    let promises = promises(cases, measured, machine)?;
    let machine = serde_json::to_string_pretty(machine)?;
    let page = format!(
        "Written by `cargo xtask bench compare`; do not edit.\n\n{markdown}\n{promises}\nA ratio above 1 is faster than PyTorch.\nTimes are medians; every engine's loss, gradient norm or logit norm agreed with PyTorch f32 first.\ncandle's Llama and llama.cpp give no gradients, so that they stand in no training case; candle is compiled for this CPU alone, llama.cpp is as its Python package was built.\n\n{what}\nMachine:\n\n```json\n{machine}\n```\n"
    );
    sh.write_file(dir.join("env.json"), format!("{machine}\n"))?;
    sh.write_file(dir.join("compare.csv"), csv)?;
    sh.write_file(dir.join("README.md"), format!("# Results\n\n{page}"))?;
    sh.write_file("docs/BENCHMARKS.md", format!("# Benchmarks\n\n{page}"))?;
    let readme = sh.read_file("README.md")?;
    sh.write_file("README.md", with_speed(&readme, cases, measured)?)?;
    println!("{markdown}");
    Ok(())
}

/// The README with its table of medians between the two markers written anew.
fn with_speed(readme: &str, cases: &[Value], measured: &Value) -> Result<String> {
    const MARKERS: [&str; 2] = [
        "<!-- speed: written by `cargo xtask bench compare` -->\n",
        "<!-- /speed -->",
    ];
    let [begin, end] = MARKERS.map(|marker| readme.find(marker));
    let (begin, end) = begin.zip(end).context("README.md has no speed markers")?;
    let titled: Vec<_> = cases
        .iter()
        .filter_map(|case| Some((case, case["title"].as_str()?)))
        .collect();
    let mut table = String::from("|");
    for (_, title) in &titled {
        write!(table, " | {title}")?;
    }
    writeln!(table, " |\n|---{}|", "|---".repeat(titled.len()))?;
    for engine in &ENGINES {
        write!(table, "| {}", engine.name)?;
        for (case, _) in &titled {
            let [name, kind] = ["name", "kind"].map(|key| case[key].as_str().unwrap_or_default());
            match summary(&measured[name][engine.name]) {
                Some((median, ..)) if median < 0.1 => write!(table, " | {:.1} ms", median * 1e3)?,
                Some((median, ..)) => write!(table, " | {:.0} ms", median * 1e3)?,
                None if engine.program.has(kind) => write!(table, " | not measured")?,
                None => write!(table, " | –")?,
            }
        }
        writeln!(table, " |")?;
    }
    let head = &readme[..begin + MARKERS[0].len()];
    Ok(format!("{head}\n{table}\n{}", &readme[end..]))
}

/// What the project promised and whether it holds, as a table.
fn promises(cases: &[Value], measured: &Value, machine: &Value) -> Result<String> {
    let mut out = String::from("| promise | storage | found | holds |\n|---|---|---|---|\n");
    let time = |case: &str, engine: &str| summary(&measured[case][engine]).map(|(time, _, _)| time);
    let peak = |case: &str, engine: &str| measured[case][engine]["peak_mib"].as_f64();
    let mut line = |what: &str, engine: &str, found: Option<f64>, holds: &dyn Fn(f64) -> bool| {
        let (found, holds) = found.map_or(("not measured".to_owned(), "?"), |found| {
            (
                format!("{found:.2}"),
                if holds(found) { "yes" } else { "no" },
            )
        });
        writeln!(out, "| {what} | {engine} | {found} | {holds} |")
    };
    let rates = ["read_gb_per_s", "product_gflop_per_s"].map(|key| machine["limits"][key].as_f64());
    let weights = machine["weights"].as_f64();
    for (engine, bytes, llama) in STORAGES {
        for case in cases {
            let name = case["name"].as_str().unwrap_or_default();
            let Some(at_least) = case["at_least"].as_f64() else {
                continue;
            };
            let ratio = time(name, REFERENCE).zip(time(name, engine));
            let ratio = ratio.map(|(reference, own)| reference / own);
            let what = format!("`{name}`: at least {at_least} × PyTorch f32");
            line(&what, engine, ratio, &|found| found >= at_least)?;
        }
        for (name, goal) in [("train_after_bos", 1.2), ("prefill_512", 1.0)] {
            let ratio = time(name, "pytorch-bf16").zip(time(name, engine));
            let ratio = ratio.map(|(reference, own)| reference / own);
            let what = format!("`{name}`: the goal, {goal} × PyTorch bf16");
            line(&what, engine, ratio, &|found| found >= goal)?;
        }
        let memory = peak("train_after_bos", engine).zip(peak("train_after_bos", REFERENCE));
        let share = memory.map(|(own, reference)| own / reference);
        let what = "`train_after_bos`: at most 0.55 of PyTorch f32's peak memory";
        line(what, engine, share, &|found| found <= 0.55)?;
        let read = time("decode_1", engine).zip(weights).zip(rates[0]);
        let share = read.map(|((time, weights), rate)| weights * bytes / time / 1e9 / rate);
        let what = "`decode_1`: at least 0.7 of the memory's bandwidth";
        line(what, engine, share, &|found| found >= 0.7)?;
        let llama = time("decode_1", llama).zip(time("decode_1", engine));
        let what = "`decode_1`: the goal, 1 × llama.cpp with weights as wide";
        let ratio = llama.map(|(llama, own)| llama / own);
        line(what, engine, ratio, &|found| found >= 1.0)?;
        let users = time("decode_1", engine).zip(time("decode_16", engine));
        let users = users.map(|(one, sixteen)| 16.0 * one / sixteen);
        let what = "`decode_16`: at least 6 × the tokens/s of one user";
        line(what, engine, users, &|found| found >= 6.0)?;
        // Two products for each user: 256 × 576 and 576 × 576.
        let rows = cases.iter().find(|case| case["name"] == "project");
        let flops = rows
            .and_then(|case| case["rows"].as_f64())
            .map(|rows| 2.0 * rows * 576.0 * (256.0 + 576.0));
        let projected = time("project", engine).zip(flops).zip(rates[1]);
        let share = projected.map(|((time, flops), rate)| flops / time / 1e9 / rate);
        let what = "`project`: at least 0.6 of the product's peak";
        line(what, engine, share, &|found| found >= 0.6)?;
        let start = time("cold_start", engine);
        line(
            "`cold_start`: seconds, below 0.5",
            engine,
            start,
            &|found| found < 0.5,
        )?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_gets_the_medians_and_keeps_the_rest() {
        let readme = "before\n<!-- speed: written by `cargo xtask bench compare` -->\nold\n<!-- /speed -->\nafter\n";
        let cases = [
            json!({"name": "a", "kind": "train", "title": "a step"}),
            json!({"name": "b", "kind": "decode"}),
        ];
        let measured = json!({"a": {REFERENCE: {"seconds": [0.3, 0.1, 0.2]}, "e2p-f32": {"seconds": [0.0123]}}});
        let found = with_speed(readme, &cases, &measured).unwrap();
        let rows = [
            "| pytorch-f32 | 200 ms |\n",
            "| candle-f32 | – |\n",
            "| e2p-f32 | 12.3 ms |\n",
        ];
        assert!(
            found.starts_with("before\n<!-- speed") && found.ends_with("<!-- /speed -->\nafter\n"),
            "{found}"
        );
        assert!(
            rows.iter().all(|row| found.contains(row)) && !found.contains("old"),
            "{found}"
        );
        assert!(
            found.contains("| e2p-int8-weights | not measured |\n"),
            "{found}"
        );
        // Written twice it stays the same.
        assert_eq!(with_speed(&found, &cases, &measured).unwrap(), found);
        assert!(with_speed("no markers", &cases, &measured).is_err());
    }
}
