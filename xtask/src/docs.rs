//! `docs`: the API's pages and the book, each without a warning, and links that lead somewhere.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::{generate, tidy, workspace};

pub(crate) fn run(sh: &Shell) -> Result<()> {
    ensure!(
        workspace::runs(sh, "mdbook", &["--version"]),
        "the book needs mdBook:\n  cargo install mdbook"
    );
    tidy::run(sh)?;
    generate::run(sh, &generate::Args { check: true })?;
    rustdoc(sh)?;
    cmd!(sh, "mdbook build docs").run()?;
    println!(
        "{}",
        workspace::root().join("target/book/index.html").display()
    );
    Ok(())
}

/// The API's pages; a warning is an error.
pub(crate) fn rustdoc(sh: &Shell) -> Result<()> {
    let locked = workspace::locked();
    let _env = sh.push_env("RUSTDOCFLAGS", "-D warnings");
    Ok(cmd!(sh, "cargo doc {locked...} --workspace --no-deps").run()?)
}
