//! `release --dry-run`: what a release needs, without publishing anything.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, Failed};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only check; there is no other way, publishing is a person's decision.
    #[arg(long, required = true)]
    dry_run: bool,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    ensure!(args.dry_run, "pass `--dry-run`");
    changelog_has_news(sh)?;
    licences(sh)?;
    // Packages everything that may be published, in the order of its dependencies, and builds each
    // package from its own archive.
    cmd!(
        sh,
        "cargo package --locked --workspace --exclude xtask --exclude e2p-bench"
    )
    .run()?;
    let archives = workspace::target_dir().join("package");
    for path in sh.read_dir(&archives)? {
        if path.extension().is_some_and(|e| e == "crate") {
            let size = std::fs::metadata(&path)?.len();
            println!("{} ({} KiB)", path.display(), size.div_ceil(1024));
        }
    }
    Ok(())
}

fn changelog_has_news(sh: &Shell) -> Result<()> {
    let text = sh.read_file("CHANGELOG.md")?;
    let news = text.split("\n## ").nth(1).unwrap_or_default();
    ensure!(
        news.lines().skip(1).any(|line| line.starts_with("- ")),
        Failed("CHANGELOG.md says nothing new".to_owned())
    );
    Ok(())
}

/// Licences, sources and banned crates by `deny.toml`, and advisories where their database can be
/// fetched.
fn licences(sh: &Shell) -> Result<()> {
    ensure!(
        workspace::runs(sh, "cargo", &["deny", "--version"]),
        "licences need cargo-deny:\n  cargo install cargo-deny"
    );
    cmd!(sh, "cargo deny --all-features check bans licenses sources").run()?;
    if workspace::runs(sh, "cargo", &["deny", "fetch", "db"]) {
        cmd!(sh, "cargo deny --all-features check advisories").run()?;
    } else {
        println!("advisories: NOT CHECKED, their database could not be fetched");
    }
    Ok(())
}
