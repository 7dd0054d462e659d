//! `features`: each backend feature of each tensor crate compiles alone, as `cargo check`.
//!
//! `cuda` is special: burn's build script downloads an LLVM bundle. Where it cannot, `DOCS_RS=1`
//! makes it skip that step, which is enough for type-checking and for nothing else; the output then
//! says so.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::Failed;
use crate::workspace::{self, BACKENDS, TENSOR_CRATES};

/// Features that are not backends, checked on top of the CPU backend.
const OTHERS: [(&str, &str); 2] = [("e2p-model", "tokenizer"), ("e2p-cli", "hub")];

/// burn's build-time dependency that downloads LLVM.
const BUNDLER: &str = "tracel-llvm-bundler";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this feature.
    #[arg(long)]
    feature: Option<String>,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let wanted = |feature: &str| args.feature.as_deref().is_none_or(|only| only == feature);
    let mut report = Vec::new();
    for backend in BACKENDS.into_iter().filter(|b| wanted(b)) {
        let type_check_only = backend == "cuda" && !llvm_can_be_fetched(sh)?;
        let _env = type_check_only.then(|| sh.push_env("DOCS_RS", "1"));
        for package in TENSOR_CRATES {
            let note = if type_check_only {
                " (type-checked only: the LLVM bundle could not be fetched)"
            } else {
                ""
            };
            report.push((
                check(sh, package, backend),
                format!("{package} --features {backend}{note}"),
            ));
        }
    }
    for (package, feature) in OTHERS.into_iter().filter(|(_, f)| wanted(f)) {
        let features = format!("flex,{feature}");
        report.push((
            check(sh, package, &features),
            format!("{package} --features {features}"),
        ));
    }
    ensure!(
        !report.is_empty(),
        "no feature `{}`; known: {}",
        args.feature.as_deref().unwrap_or(""),
        BACKENDS.join(", ")
    );
    for (passed, line) in &report {
        println!("{} {line}", if *passed { "ok    " } else { "FAILED" });
    }
    let failed = report.iter().filter(|(passed, _)| !passed).count();
    ensure!(
        failed == 0,
        Failed(format!(
            "{failed} of {} feature sets do not compile",
            report.len()
        ))
    );
    Ok(())
}

fn check(sh: &Shell, package: &str, features: &str) -> bool {
    let locked = workspace::locked();
    cmd!(
        sh,
        "cargo check {locked...} -p {package} --no-default-features --features {features}"
    )
    .run()
    .is_ok()
}

/// Runs burn's LLVM bundler in an empty package of its own: seconds, where a whole `cuda` check
/// fails only after minutes. It also succeeds where the bundle is already installed.
fn llvm_can_be_fetched(sh: &Shell) -> Result<bool> {
    let lock = sh.read_file("Cargo.lock")?;
    let Some(version) = locked_version(&lock, BUNDLER) else {
        return Ok(true);
    };
    let probe = workspace::target_dir().join("llvm-probe");
    sh.write_file(
        probe.join("Cargo.toml"),
        format!(
            "[workspace]\n[package]\nname = \"llvm-probe\"\nedition = \"2024\"\n\
             [lib]\npath = \"lib.rs\"\n[dependencies]\n{BUNDLER} = \"={version}\"\n"
        ),
    )?;
    sh.write_file(
        probe.join("lib.rs"),
        "//! Empty: only the build script of the one dependency matters.\n",
    )?;
    sh.write_file(probe.join("Cargo.lock"), lock)?; // the same versions; cargo drops what the probe does not use
    let _target = sh.push_env("CARGO_TARGET_DIR", workspace::target_dir());
    let _dir = sh.push_dir(&probe);
    Ok(cmd!(sh, "cargo check --quiet")
        .ignore_stderr()
        .run()
        .is_ok())
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn the_locked_version_is_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"ab\"\nversion = \"2.0.0-4\"\n";
        assert_eq!(locked_version(lock, "ab"), Some("2.0.0-4"));
        assert_eq!(locked_version(lock, "b"), None);
    }
}
