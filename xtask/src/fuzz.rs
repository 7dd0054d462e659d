//! `fuzz`: every fuzz target of every crate for a bounded time, on a corpus seeded from the golden fixtures.
//!
//! Needs the nightly toolchain and cargo-fuzz; the fuzz crates are workspaces of their own, so nothing else does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::{Failed, workspace};

const GOLDEN: &str = "crates/e2p-model/tests/golden";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only the targets whose name contains this.
    target: Option<String>,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    ensure!(
        workspace::runs(sh, "cargo", &["+nightly", "fuzz", "--version"]),
        "fuzzing needs the nightly toolchain and cargo-fuzz:\n  rustup toolchain install nightly\n  cargo install cargo-fuzz"
    );
    let targets = workspace::files(&workspace::root().join("crates"), &|path| {
        path.extension().is_some_and(|e| e == "rs")
            && path
                .parent()
                .is_some_and(|p| p.ends_with("fuzz/fuzz_targets"))
    })?;
    let mut crashed = Vec::new();
    let mut ran = 0;
    for path in targets {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if args
            .target
            .as_deref()
            .is_some_and(|part| !name.contains(part))
        {
            continue;
        }
        let folder = path
            .ancestors()
            .nth(2)
            .context("a target lies in fuzz/fuzz_targets")?;
        ran += 1;
        if !run_target(sh, folder, &name, args.seconds)? {
            crashed.push(format!(
                "{name} (inputs in {})",
                folder.join("artifacts").join(&name).display()
            ));
        }
    }
    ensure!(ran > 0, "no fuzz target matches");
    ensure!(
        crashed.is_empty(),
        Failed(format!("crashed: {}", crashed.join(", ")))
    );
    println!(
        "{ran} fuzz targets ran {} s each without a crash",
        args.seconds
    );
    Ok(())
}

fn run_target(sh: &Shell, folder: &Path, name: &str, seconds: u32) -> Result<bool> {
    let corpus = folder.join("corpus").join(name);
    let seeds = workspace::target_dir().join("fuzz-seeds").join(name);
    sh.remove_path(&seeds)?;
    sh.create_dir(&corpus)?;
    sh.create_dir(&seeds)?;
    write_seeds(name, &seeds)?;
    // A slow input is a finding as well: ten seconds for one tiny directory means a loop or an absurd allocation.
    let limits = [
        format!("-max_total_time={seconds}"),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-max_len=65536".to_owned(),
    ];
    Ok(cmd!(
        sh,
        "cargo +nightly fuzz run --fuzz-dir {folder} {name} {corpus} {seeds} -- {limits...}"
    )
    .run()
    .is_ok())
}

/// Seeds of the targets that read model files. A directory becomes one input: `config.json`, a zero byte, the weights;
/// the target writes the two parts back to files.
fn write_seeds(target: &str, seeds: &Path) -> Result<()> {
    let configs = workspace::files(&workspace::root().join(GOLDEN), &|path| {
        path.ends_with("config.json")
    })?;
    for config in configs {
        let case = config.parent().map(Path::to_path_buf).unwrap_or_default();
        let name = case.file_name().unwrap_or_default().to_owned();
        let mut seed = std::fs::read(&config)?;
        if target.ends_with("safetensors_dir") {
            let Some(weights) = weights_of(&case) else {
                continue;
            };
            seed.push(0);
            seed.extend(std::fs::read(weights)?);
        }
        std::fs::write(seeds.join(name), seed)?;
    }
    Ok(())
}

fn weights_of(case: &Path) -> Option<PathBuf> {
    Some(case.join("model.safetensors")).filter(|path| path.exists())
}
