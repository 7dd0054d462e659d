//! `test`: all tests on the CPU, or the tensor crates' tests on another device.
//!
//! The same test binaries run everywhere; `BURN_DEVICE`, burn's own variable, picks the device.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, BACKENDS};

/// Where the tests look for real checkpoints; without them those tests pass after a line that says
/// they were skipped.
const REAL_MODELS: &str = "../shared/models";

/// Features of every command here: all that needs no other backend. One set, because another one
/// builds burn again.
pub(crate) const FEATURES: [&str; 2] = ["--features", "e2p-cli/hub"];

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Run the tensor crates' tests on this device instead of the CPU; its feature is compiled in.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
    device: Option<String>,
    /// Insist on the real checkpoints in ../shared/models, whose tests are otherwise skipped where
    /// they are absent.
    #[arg(long)]
    real: bool,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let locked = workspace::locked();
    if args.real {
        let found = sh
            .read_dir(REAL_MODELS)
            .unwrap_or_default()
            .iter()
            .filter(|dir| dir.join("config.json").is_file())
            .count();
        ensure!(found > 0, "no Hugging Face directory in `{REAL_MODELS}`");
        eprintln!("{found} real checkpoints in {REAL_MODELS}");
    }
    if let Some(device) = args.device.as_deref().filter(|&d| d != "flex") {
        return on_device(sh, device);
    }
    // nextest isolates tests in processes and runs them in parallel across binaries, but does not
    // know doctests.
    if workspace::runs(sh, "cargo", &["nextest", "--version"]) {
        cmd!(
            sh,
            "cargo nextest run {locked...} --workspace {FEATURES...}"
        )
        .run()?;
    } else {
        cmd!(
            sh,
            "cargo test {locked...} --workspace {FEATURES...} --lib --bins --tests"
        )
        .run()?;
    }
    cmd!(sh, "cargo test {locked...} --workspace {FEATURES...} --doc").run()?;
    examples(sh)
}

/// Builds every example with the features of the tests and runs the one of each library crate.
fn examples(sh: &Shell) -> Result<()> {
    let locked = workspace::locked();
    cmd!(
        sh,
        "cargo build {locked...} --workspace {FEATURES...} --examples"
    )
    .run()?;
    let folder = workspace::target_dir().join("debug/examples");
    let run = |name: &str, arguments: &[&str]| -> Result<()> {
        let program = folder.join(name);
        Ok(cmd!(sh, "{program} {arguments...}").run()?)
    };
    run(
        "greedy",
        &["crates/e2p-model/tests/golden/llama", "Once upon a time"],
    )?;
    let folder = sh.create_temp_dir()?;
    let made = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    run("train_and_evaluate", &["--tiny", "--out", &made("")])?;
    let (backbone, users) = (made("backbone"), made("users.safetensors"));
    let user = "test-0000";
    run("personalize", &[&backbone, &made("run"), &users, user])?;
    let adapter = made("minimal");
    run(
        "minimal_loop",
        &[&backbone, &made("data"), &users, &adapter],
    )?;
    run("personalize", &[&backbone, &adapter, &users, user])?;
    let many = made("many.safetensors");
    run("lookup", &["--make", "1000", "16", &many])?;
    run("lookup", &[&many, "100"])
}

/// Plain `cargo test`, because nextest's process for each test would create the device and compile
/// its shaders anew each time; one thread, because tests that share one software adapter only slow
/// one another down.
fn on_device(sh: &Shell, device: &str) -> Result<()> {
    let locked = workspace::locked();
    let packages = ["e2p-model", "e2p-prefix", "e2p-train"];
    let features = packages
        .map(|package| format!("{package}/{device}"))
        .join(",");
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    let _device = sh.push_env("BURN_DEVICE", device);
    // Vulkan drivers ask for it and print a warning for each instance where it is unset.
    let _runtime = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(_) => None,
        None => {
            let folder = workspace::target_dir().join("xdg-runtime");
            sh.create_dir(&folder)?;
            Some(sh.push_env("XDG_RUNTIME_DIR", folder))
        }
    };
    let status = cmd!(sh, "cargo test {locked...} {packages...} --features {features} --lib --tests -- --test-threads=1").run();
    ensure!(
        status.is_ok(),
        crate::workspace::Failed(format!(
            "the tests on `{device}` failed; the message above says whether it was the build, the driver or a test"
        ))
    );
    Ok(())
}
