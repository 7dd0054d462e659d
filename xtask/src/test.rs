//! `test`: all tests on the CPU, or the tensor crates' tests on another device.
//!
//! The same test binaries run everywhere; `BURN_DEVICE`, burn's own variable, picks the device.

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, BACKENDS};

/// Where `--real` looks for checkpoints when `E2P_TEST_MODELS` does not say.
const REAL_MODELS: &str = "../shared/models";

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Run the tensor crates' tests on this device instead of the CPU; its feature is compiled in.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
    device: Option<String>,
    /// Also run the tests that need real checkpoints, from `E2P_TEST_MODELS` (default: ../shared/models).
    #[arg(long)]
    real: bool,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let locked = workspace::locked();
    let _real = args.real.then(|| real_models(sh)).transpose()?;
    if let Some(device) = args.device.as_deref().filter(|&d| d != "flex") {
        return on_device(sh, device);
    }
    // nextest isolates tests in processes and runs them in parallel across binaries, but does not know doctests.
    if workspace::runs(sh, "cargo", &["nextest", "--version"]) {
        cmd!(sh, "cargo nextest run {locked...} --workspace").run()?;
    } else {
        cmd!(
            sh,
            "cargo test {locked...} --workspace --lib --bins --tests"
        )
        .run()?;
    }
    cmd!(sh, "cargo test {locked...} --workspace --doc").run()?;
    Ok(())
}

fn real_models(sh: &Shell) -> Result<xshell::PushEnv<'_>> {
    let folder = std::env::var("E2P_TEST_MODELS").unwrap_or_else(|_| REAL_MODELS.to_owned());
    let absolute = std::fs::canonicalize(workspace::root().join(&folder))
        .with_context(|| format!("no checkpoints in `{folder}`; set E2P_TEST_MODELS to a folder of Hugging Face directories"))?;
    Ok(sh.push_env("E2P_TEST_MODELS", absolute))
}

/// Plain `cargo test`, because nextest's process for each test would create the device and compile its shaders anew
/// each time; one thread, because tests that share one software adapter only slow one another down.
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
        crate::Failed(format!(
            "the tests on `{device}` failed; the message above says whether it was the build, the driver or a test"
        ))
    );
    Ok(())
}
