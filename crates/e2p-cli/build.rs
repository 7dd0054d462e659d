//! Tells `e2p --version` which revision it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    // Changes with every commit; not there in a packaged crate.
    let log = Path::new("../../.git/logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
    let revision = Command::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success() && log.exists())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let revision = revision.as_deref().map_or("unknown", str::trim);
    println!("cargo::rustc-env=E2P_REVISION={revision}");
}
