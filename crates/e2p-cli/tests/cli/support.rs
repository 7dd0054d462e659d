//! Runs the binary and makes its output comparable.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A golden checkpoint of `e2p-model`.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../e2p-model/tests/golden")
        .join(name)
}

/// A real checkpoint, where it lies beside the workspace; says so where it does not.
#[allow(clippy::print_stderr)]
pub(crate) fn shared_model(name: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/models")
        .join(name);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: {} is absent", dir.display());
    None
}

/// The command with an environment that does not depend on the machine.
pub(crate) fn e2p<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2p"));
    command.args(args).stdin(Stdio::null());
    for variable in [
        "E2P_LOG",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "http_proxy",
        "HTTP_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(variable);
    }
    command.env("NO_COLOR", "1").env("COLUMNS", "100");
    command
}

/// Runs and shows everything: exit code, stdout, stderr, with machine paths replaced.
pub(crate) fn shown(command: &mut Command, paths: &[(&Path, &str)]) -> String {
    let output = command.output().unwrap();
    let mut text = format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    for (path, name) in paths {
        text = text.replace(path.to_str().unwrap(), name);
    }
    // A device named by the environment changes the first log line and nothing else.
    let lines = text.lines().map(|line| {
        if line.contains("backend ") && line.contains(", dtype ") {
            " INFO backend [DEVICE]"
        } else {
            line
        }
    });
    lines.map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Runs and returns stdout.
#[track_caller]
pub(crate) fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_success(&output);
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
