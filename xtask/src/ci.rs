//! `ci`: everything a change must pass, cheapest first, so that a slip of the pen fails in seconds.

use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{bench, docs, test, tidy, workspace};

pub(crate) fn run(sh: &Shell) -> Result<()> {
    let locked = workspace::locked();
    step("fmt", || Ok(cmd!(sh, "cargo fmt --all --check").run()?))?;
    step("tidy", || tidy::run(sh))?;
    step("clippy", || {
        Ok(cmd!(
            sh,
            "cargo clippy {locked...} --workspace --all-targets -- -D warnings"
        )
        .run()?)
    })?;
    step("doc", || docs::rustdoc(sh))?;
    step("test", || test::run(sh, &test::Args::default()))?;
    if bench::exist()? {
        step("bench --smoke", || {
            bench::run(
                sh,
                &bench::Args {
                    smoke: true,
                    filter: None,
                    case: None,
                    engine: None,
                    device: None,
                },
            )
        })?;
    }
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let start = Instant::now();
    work().with_context(|| {
        format!("{name} failed; `cargo xtask {name}` or the command above repeats it alone")
    })?;
    eprintln!("== {name}: ok in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
