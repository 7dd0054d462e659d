//! What the commands share: a shell at the workspace root, how a check fails, the tensor crates and
//! the backends by name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::Shell;

/// Crates that compute with tensors and so forward the backend features.
pub(crate) const TENSOR_CRATES: [&str; 4] = ["e2p-model", "e2p-prefix", "e2p-train", "e2p-cli"];

/// Backend features; each is burn's feature of the same name.
pub(crate) const BACKENDS: [&str; 5] = ["flex", "wgpu", "vulkan", "metal", "cuda"];

/// A check that ran and found problems: exit code 1. Any other error means that the check could not
/// run: 2.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// The workspace root, whatever directory the command was started in.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one level below the root")
}

/// A shell in the workspace root.
pub(crate) fn shell() -> Result<Shell> {
    let sh = Shell::new().context("no current directory")?;
    sh.change_dir(root());
    Ok(sh)
}

/// Cargo's target directory, which `CARGO_TARGET_DIR` may move.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// `--locked` in CI, where a lock file that no longer fits must fail and not be rewritten.
pub(crate) fn locked() -> Option<&'static str> {
    std::env::var_os("CI").map(|_| "--locked")
}

/// Whether `program args...` runs and succeeds; its output is thrown away.
pub(crate) fn runs(sh: &Shell, program: &str, args: &[&str]) -> bool {
    sh.cmd(program)
        .args(args)
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
}

/// All files below `folder` that `keep` accepts, sorted; build and hidden directories are skipped.
pub(crate) fn files(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') && name != "__pycache__" {
                    open.push(path);
                }
            } else if keep(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
