//! Where tests find the real files, which are never part of the project.
#![allow(clippy::print_stderr, unreachable_pub)]

use std::path::{Path, PathBuf};

/// `../shared/data` beside the workspace; says so and gives nothing where it is absent.
pub fn shared_data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("SKIPPED: the real files are not in ../shared/data beside the workspace");
    None
}
