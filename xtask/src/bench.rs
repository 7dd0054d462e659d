//! `bench`: the comparison with other engines, and the criterion benches of `e2p-bench`; `--smoke`
//! runs each once, as a test that they still work.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::compare::{self, Part};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run each benchmark once and measure nothing.
    #[arg(long)]
    pub(crate) smoke: bool,
    /// `compare` runs this project, PyTorch, candle and llama.cpp on the same cases; anything else
    /// picks benchmarks whose name contains it.
    pub(crate) filter: Option<String>,
    /// With `compare`: only cases whose name contains this.
    pub(crate) case: Option<String>,
    /// With `compare`: only this engine; the others keep what they measured last.
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// With `compare`: on this device instead of the CPU, beside PyTorch on CUDA if it has it; its
    /// feature is compiled in.
    #[arg(long, value_parser = ["wgpu", "vulkan", "metal", "cuda"])]
    pub(crate) device: Option<String>,
}

/// Whether there is any bench target yet.
pub(crate) fn exist() -> Result<bool> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec()?;
    Ok(metadata
        .packages
        .iter()
        .filter(|p| p.name == "e2p-bench")
        .flat_map(|p| &p.targets)
        .any(|t| t.is_bench()))
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    if args.filter.as_deref() == Some("compare") {
        return compare::run(
            sh,
            Part {
                case: args.case.as_deref(),
                engine: args.engine.as_deref(),
                device: args.device.as_deref(),
            },
        );
    }
    // The criterion benches have no such choice, and one that is passed over would be taken for
    // obeyed.
    anyhow::ensure!(
        args.device.is_none() && args.engine.is_none(),
        "--device and --engine are for `bench compare`"
    );
    let locked = workspace::locked();
    let smoke = args.smoke.then_some("--test");
    let filter = args.filter.as_deref();
    // The whole workspace, so that burn is built with the features of every other command; only
    // bench targets run.
    let all = "*";
    cmd!(
        sh,
        "cargo bench {locked...} --workspace --bench {all} -- {smoke...} {filter...}"
    )
    .run()?;
    Ok(())
}
