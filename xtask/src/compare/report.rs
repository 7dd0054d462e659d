//! The tables: every engine's times, and what the project promised.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::Shell;

use super::engines::{Engine, REFERENCE, STORAGES, engines};

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

/// Records the table in `dir`, and that of the CPU in `docs/BENCHMARKS.md` and the README as well.
pub(super) fn write(
    sh: &Shell,
    dir: &Path,
    device: Option<&str>,
    cases: &[Value],
    measured: &Value,
    machine: &Value,
) -> Result<()> {
    let engines = engines(device);
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
        for engine in engines.iter().filter(|engine| engine.program.has(kind)) {
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
    let promises = promises(engines, cases, measured, machine)?;
    let machine = serde_json::to_string_pretty(machine)?;
    let page = format!(
        "Written by `cargo xtask bench compare`; do not edit.\n\n{markdown}\n{promises}\nA ratio above 1 is faster than PyTorch.\nTimes are medians; every engine's loss, gradient norm or logit norm agreed with PyTorch f32 first.\ncandle's Llama and llama.cpp give no gradients, so that they stand in no training case; candle is compiled for this CPU alone, llama.cpp is as its Python package was built.\n\n{what}\nMachine:\n\n```json\n{machine}\n```\n"
    );
    sh.write_file(dir.join("env.json"), format!("{machine}\n"))?;
    sh.write_file(dir.join("compare.csv"), csv)?;
    sh.write_file(dir.join("README.md"), format!("# Results\n\n{page}"))?;
    if device.is_none() {
        sh.write_file("docs/BENCHMARKS.md", format!("# Benchmarks\n\n{page}"))?;
        let readme = sh.read_file("README.md")?;
        sh.write_file("README.md", with_speed(&readme, cases, measured)?)?;
    }
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
    for engine in engines(None) {
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

/// What a figure shall be: at least or at most so much.
#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// `≥ 1.2: yes`, or an empty cell without a bound.
    fn verdict(bound: Option<Self>, found: Option<f64>) -> String {
        let (sign, limit, holds) = match bound {
            None => return String::new(),
            Some(Self::AtLeast(limit)) => ("≥", limit, found.map(|found| found >= limit)),
            Some(Self::AtMost(limit)) => ("≤", limit, found.map(|found| found <= limit)),
        };
        let holds = match holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        format!("{sign} {limit}: {holds}")
    }
}

/// What the project promised, the goals beyond, and which of them hold, as a table.
fn promises(
    engines: &[Engine],
    cases: &[Value],
    measured: &Value,
    machine: &Value,
) -> Result<String> {
    use Bound::{AtLeast, AtMost};

    let mut out = String::from(
        "| case | figure | storage | found | promised | goal |\n|---|---|---|---|---|---|\n",
    );
    let time = |case: &str, engine: &str| summary(&measured[case][engine]).map(|(time, _, _)| time);
    let peak = |case: &str, engine: &str| measured[case][engine]["peak_mib"].as_f64();
    let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
    let rates = ["read_gb_per_s", "product_gflop_per_s"].map(|key| machine["limits"][key].as_f64());
    let weights = machine["weights"].as_f64();
    let is_measured = |storage: &str| engines.iter().any(|engine| engine.name == storage);
    for (engine, bytes, llama) in STORAGES
        .into_iter()
        .filter(|storage| is_measured(storage.0))
    {
        let mut line = |case: &str, figure: &str, found: Option<f64>, promised, goal| {
            let shown = found.map_or("not measured".to_owned(), |found| format!("{found:.2}"));
            let [promised, goal] = [promised, goal].map(|bound| Bound::verdict(bound, found));
            writeln!(
                out,
                "| `{case}` | {figure} | {engine} | {shown} | {promised} | {goal} |"
            )
        };
        for case in cases {
            let name = case["name"].as_str().unwrap_or_default();
            let bound = |key: &str| case[key].as_f64();
            let figures = [
                (REFERENCE, "at_least", "goal", "× PyTorch f32"),
                ("pytorch-bf16", "", "goal_bf16", "× PyTorch bf16"),
            ];
            for (reference, promised, goal, figure) in figures {
                let [promised, goal] = [promised, goal].map(|key| bound(key).map(AtLeast));
                if promised.is_some() || goal.is_some() {
                    let found = ratio(time(name, reference), time(name, engine));
                    line(name, figure, found, promised, goal)?;
                }
            }
        }
        for (case, promised) in [
            ("train_after_bos", Some(AtMost(0.55))),
            ("train_recompute", None),
        ] {
            // Beside PyTorch as it is usually run, which keeps all activations.
            let share = ratio(peak(case, engine), peak("train_after_bos", REFERENCE));
            let figure = "of the peak memory of PyTorch f32 in `train_after_bos`";
            line(case, figure, share, promised, Some(AtMost(0.3)))?;
        }
        let read = time("decode_1", engine).zip(weights).zip(rates[0]);
        let share = read.map(|((time, weights), rate)| weights * bytes / time / 1e9 / rate);
        let figure = "of the memory's bandwidth";
        line("decode_1", figure, share, Some(AtLeast(0.7)), None)?;
        let found = ratio(time("decode_1", llama), time("decode_1", engine));
        let figure = "× llama.cpp with weights as wide";
        line("decode_1", figure, found, None, Some(AtLeast(1.0)))?;
        let users =
            ratio(time("decode_1", engine), time("decode_16", engine)).map(|one| 16.0 * one);
        let figure = "× the tokens/s of one user";
        line(
            "decode_16",
            figure,
            users,
            Some(AtLeast(6.0)),
            Some(AtLeast(10.0)),
        )?;
        // Two products for each user: 256 × 576 and 576 × 576.
        let rows = cases.iter().find(|case| case["name"] == "project");
        let flops = rows
            .and_then(|case| case["rows"].as_f64())
            .map(|rows| 2.0 * rows * 576.0 * (256.0 + 576.0));
        let projected = time("project", engine).zip(flops).zip(rates[1]);
        let share = projected.map(|((time, flops), rate)| flops / time / 1e9 / rate);
        let figure = "of the product's peak";
        line(
            "project",
            figure,
            share,
            Some(AtLeast(0.6)),
            Some(AtLeast(0.85)),
        )?;
        let start = time("cold_start", engine);
        line(
            "cold_start",
            "seconds",
            start,
            Some(AtMost(0.5)),
            Some(AtMost(0.25)),
        )?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_figure_is_held_against_promise_and_goal() {
        let cases = [json!({"name": "a", "at_least": 2.0, "goal": 4.0, "goal_bf16": 1.5})];
        let seconds = |time: f64| json!({"seconds": [time]});
        let measured = json!({"a": {REFERENCE: seconds(3.0), "pytorch-bf16": seconds(1.0), "e2p-f32": seconds(1.0)}});
        let found = promises(engines(None), &cases, &measured, &json!({})).unwrap();
        let rows = [
            "| `a` | × PyTorch f32 | e2p-f32 | 3.00 | ≥ 2: yes | ≥ 4: no |\n",
            "| `a` | × PyTorch bf16 | e2p-f32 | 1.00 |  | ≥ 1.5: no |\n",
            "| `cold_start` | seconds | e2p-f32 | not measured | ≤ 0.5: ? | ≤ 0.25: ? |\n",
        ];
        assert!(rows.iter().all(|row| found.contains(row)), "{found}");
    }
}
