//! `golden`: remakes the fixtures of e2p-model with transformers and sentence-transformers;
//! `--check` compares instead of overwriting.
//!
//! Values are compared, not bytes: the order of a JSON object or a header's metadata is nobody's
//! business. Weights, ids and texts must be equal. Computed floats may differ by 1e-6 + 1e-5 |x|:
//! another CPU rounds another way.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::safetensors;
use crate::workspace::{self, Failed};

const FOLDER: &str = "crates/e2p-model/tests/golden";
/// Decoders, then text encoders.
const SCRIPTS: [&str; 2] = ["export.py", "export_encoders.py"];
const ABSOLUTE: f64 = 1e-6;
const RELATIVE: f64 = 1e-5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compare with the committed files and change nothing.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let committed = workspace::root().join(FOLDER);
    let remade = workspace::target_dir().join("golden");
    let out = if args.check { &remade } else { &committed };
    if args.check {
        sh.remove_path(&remade)?;
        sh.create_dir(&remade)?;
    }
    let _quiet = sh.push_env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
    let scripts = SCRIPTS.map(|name| committed.join(name));
    let mut all_pins = Vec::new();
    for script in &scripts {
        all_pins.extend(pins(&sh.read_file(script)?)?);
    }
    all_pins.sort();
    all_pins.dedup();
    let interpreter = interpreter(sh, &all_pins)?;
    for script in &scripts {
        match &interpreter {
            Interpreter::Uv => cmd!(sh, "uv run --script {script} --out {out}").run()?,
            Interpreter::Python(python) => cmd!(sh, "{python} {script} --out {out}").run()?,
        }
    }
    if args.check {
        let differences = compare_folders(&committed, &remade)?;
        differences.iter().for_each(|d| eprintln!("{d}"));
        ensure!(
            differences.is_empty(),
            Failed(format!(
                "{} differences from the committed fixtures",
                differences.len()
            ))
        );
        println!("the fixtures are what {} make", all_pins.join(" "));
    }
    Ok(())
}

enum Interpreter {
    /// Reads the pins from the script's header itself.
    Uv,
    Python(PathBuf),
}

/// `E2P_PYTHON` if set, else uv, else a virtual environment below the target directory.
fn interpreter(sh: &Shell, pins: &[String]) -> Result<Interpreter> {
    if let Some(python) = std::env::var_os("E2P_PYTHON").map(PathBuf::from) {
        let found = cmd!(sh, "{python} -m pip list --format=freeze")
            .read()
            .context("E2P_PYTHON has no pip to list its packages")?;
        let missing: Vec<&str> = pins
            .iter()
            .map(String::as_str)
            .filter(|pin| !found.lines().any(|line| line == *pin))
            .collect();
        ensure!(
            missing.is_empty(),
            "E2P_PYTHON lacks {}; install them or unset it",
            missing.join(" ")
        );
        return Ok(Interpreter::Python(python));
    }
    if workspace::runs(sh, "uv", &["--version"]) {
        return Ok(Interpreter::Uv);
    }
    let folder = workspace::target_dir().join("golden-venv");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let stamp = folder.join("pins");
    if sh.read_file(&stamp).ok().as_deref() != Some(&pins.join("\n")) {
        cmd!(sh, "python3 -m venv --clear {folder}")
            .run()
            .context("no python3 with venv; install it, or uv, or set E2P_PYTHON")?;
        cmd!(sh, "{python} -m pip install --quiet {pins...}").run()?;
        sh.write_file(&stamp, pins.join("\n"))?;
    }
    Ok(Interpreter::Python(python))
}

/// The pinned packages of the script's inline header.
fn pins(script: &str) -> Result<Vec<String>> {
    let pins: Vec<String> = script
        .lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.split('"').nth(1))
        .filter(|word| word.contains("=="))
        .map(str::to_owned)
        .collect();
    ensure!(!pins.is_empty(), "the script pins no packages");
    Ok(pins)
}

fn compare_folders(committed: &Path, remade: &Path) -> Result<Vec<String>> {
    let data = |path: &Path| !path.extension().is_some_and(|e| e == "py" || e == "md");
    let names = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(workspace::files(folder, &data)?
            .iter()
            .filter_map(|p| p.strip_prefix(folder).ok().map(Path::to_path_buf))
            .collect())
    };
    let (old, new) = (names(committed)?, names(remade)?);
    let mut differences = Vec::new();
    differences.extend(
        old.iter()
            .filter(|n| !new.contains(n))
            .map(|n| format!("{}: no longer made", n.display())),
    );
    differences.extend(
        new.iter()
            .filter(|n| !old.contains(n))
            .map(|n| format!("{}: not committed", n.display())),
    );
    for name in old.iter().filter(|n| new.contains(n)) {
        let (old, new) = (committed.join(name), remade.join(name));
        let found = match name.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => compare_tensors(&old, &new)?,
            Some("json" | "jsonl") => compare_json(
                &std::fs::read_to_string(old)?,
                &std::fs::read_to_string(new)?,
            )?,
            _ if std::fs::read(&old)? != std::fs::read(&new)? => vec!["differs".to_owned()],
            _ => Vec::new(),
        };
        differences.extend(
            found
                .into_iter()
                .map(|d| format!("{}: {d}", name.display())),
        );
    }
    Ok(differences)
}

/// A checkpoint's weights are drawn, not computed, and must be equal; a reference file's floats
/// only close.
fn compare_tensors(old: &Path, new: &Path) -> Result<Vec<String>> {
    let exact = !old.ends_with("expected.safetensors");
    let (old, new) = (safetensors::read(old)?, safetensors::read(new)?);
    let mut differences = Vec::new();
    if !old.keys().eq(new.keys()) {
        differences.push("has other tensors".to_owned());
    }
    for (name, a) in &old {
        let Some(b) = new.get(name) else { continue };
        if a.dtype != b.dtype || a.shape != b.shape {
            differences.push(format!(
                "`{name}` was {} {:?}, is {} {:?}",
                a.dtype, a.shape, b.dtype, b.shape
            ));
        } else if a != b && (exact || a.dtype != "F32") {
            differences.push(format!("`{name}` has other values"));
        } else if a != b {
            let far = |(x, y): &(f32, f32)| !close(f64::from(*x), f64::from(*y));
            let far = a
                .to_f32()
                .into_iter()
                .zip(b.to_f32())
                .filter(far)
                .collect::<Vec<_>>();
            if let Some((x, y)) = far.first() {
                differences.push(format!(
                    "`{name}`: {} values differ, the first was {x}, is {y}",
                    far.len()
                ));
            }
        }
    }
    Ok(differences)
}

fn compare_json(old: &str, new: &str) -> Result<Vec<String>> {
    let parse = |text: &str| {
        serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect::<Result<Vec<Value>, _>>()
    };
    let (old, new) = (parse(old)?, parse(new)?);
    Ok(
        if old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| same(a, b)) {
            vec![]
        } else {
            vec!["has other values".to_owned()]
        },
    )
}

/// Equal, except that numbers with a fraction may differ a little.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() && y.is_f64() => {
            x.as_f64().zip(y.as_f64()).is_some_and(|(x, y)| close(x, y))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

fn close(x: f64, y: f64) -> bool {
    (x - y).abs() <= ABSOLUTE + RELATIVE * x.abs().max(y.abs())
}

#[cfg(test)]
mod tests {
    use super::{close, compare_json, compare_tensors, pins};
    use crate::safetensors::tests::file_with;

    #[test]
    fn pins_are_read_from_the_header_only() {
        let script = "# /// script\n# requires-python = \">=3.11\"\n#   \"numpy==2.4.6\",\n# ///\nx = \"a==1\"\n";
        assert_eq!(pins(script).unwrap(), ["numpy==2.4.6"]);
        assert!(pins("import numpy\n").is_err());
    }

    #[test]
    fn not_a_number_is_close_to_nothing() {
        assert!(close(1.0, 1.0 + 1e-6) && !close(1.0, 1.001) && !close(f64::NAN, f64::NAN));
    }

    #[test]
    fn json_is_compared_by_value() {
        let equal = |a, b| compare_json(a, b).unwrap().is_empty();
        assert!(equal(
            "{\"a\": 1, \"b\": [0.5]}",
            "{\"b\":[0.5000001],\"a\":1}\n"
        ));
        assert!(!equal("{\"a\": 1}", "{\"a\": 2}"));
        assert!(!equal("{\"a\": 1}\n{}", "{\"a\": 1}"));
    }

    #[test]
    fn weights_must_be_equal_and_references_close() {
        let folder = std::env::temp_dir().join(format!("xtask-golden-{}", std::process::id()));
        for (name, allowed) in [("model.safetensors", 1), ("expected.safetensors", 0)] {
            let (old, new) = (folder.join("old"), folder.join("new"));
            for (side, value) in [(&old, 1.0), (&new, 1.000_001)] {
                std::fs::create_dir_all(side).unwrap();
                std::fs::write(side.join(name), file_with("a", &[value])).unwrap();
            }
            assert_eq!(
                compare_tensors(&old.join(name), &new.join(name))
                    .unwrap()
                    .len(),
                allowed,
                "{name}"
            );
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
