//! `tidy`: the rules of ARCHITECTURE and STYLE that no compiler checks, each with the line that
//! breaks it.

mod cycles;
mod links;
mod manifests;
mod sources;
mod unsafe_code;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use crate::workspace::{self, Failed};

/// Crates whose `src` must not print: a report goes out as a value, and the command line decides
/// what to show.
const QUIET_CRATES: [&str; 4] = ["e2p-model", "e2p-prefix", "e2p-data", "e2p-train"];

/// Folders whose comments are all wrapped; the list may only grow.
const WRAPPED: [&str; 6] = [
    "xtask",
    "benches",
    "crates/e2p-cli",
    "crates/e2p-prefix",
    "crates/e2p-train",
    "crates/e2p-model",
];

pub(crate) fn run(_: &Shell) -> Result<()> {
    let root = workspace::root();
    let metadata = cargo_metadata::MetadataCommand::new()
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec();
    let metadata = metadata.context("cargo metadata failed")?;
    let mut problems = manifests::problems(&metadata.packages);
    for package in &metadata.packages {
        let folder = package.manifest_path.with_file_name("");
        let sources = folder.join("src");
        let name = sources.strip_prefix(root).unwrap_or(&sources).as_str();
        problems.extend(cycles::problems(
            &package.name,
            name,
            sources.as_std_path(),
        )?);
        problems.extend(unsafe_code::problems(&package.name, folder.as_std_path())?);
    }
    let mut warnings = Vec::new();
    let files = workspace::files(root, &|path| {
        path.extension().is_some_and(|e| e == "rs" || e == "md")
    })?;
    for path in &files {
        let name = path.strip_prefix(root).unwrap_or(path);
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", name.display()))?;
        let found = if path.extension().is_some_and(|e| e == "md") {
            let mut found = sources::markdown(&text);
            found.problems.extend(links::problems(path, &text));
            found
        } else {
            sources::rust(&text, kind_of(name))
        };
        problems.extend(
            found
                .problems
                .into_iter()
                .map(|p| format!("{}:{p}", name.display())),
        );
        warnings.extend(
            found
                .warnings
                .into_iter()
                .map(|p| format!("{}:{p}", name.display())),
        );
    }
    warnings
        .iter()
        .for_each(|line| eprintln!("warning: {line}"));
    problems.iter().for_each(|line| eprintln!("error: {line}"));
    ensure!(
        problems.is_empty(),
        Failed(format!(
            "tidy found {} problems in {} files",
            problems.len(),
            files.len()
        ))
    );
    Ok(())
}

/// What a source file is, by its path from the root.
fn kind_of(path: &Path) -> sources::Kind {
    let mut parts = path
        .components()
        .map(|c| c.as_os_str().to_str().unwrap_or_default());
    let in_src_of = if parts.next() == Some("crates") {
        parts.next().filter(|_| parts.next() == Some("src"))
    } else {
        None
    };
    sources::Kind {
        quiet: in_src_of.is_some_and(|name| QUIET_CRATES.contains(&name)),
        errors: path.ends_with("error.rs"),
        // The rules' own file has to spell what it forbids.
        rules: path.ends_with("xtask/src/tidy/sources.rs"),
        wrapped: WRAPPED.iter().any(|folder| path.starts_with(folder)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::kind_of;

    #[test]
    fn only_the_src_of_a_library_crate_is_quiet() {
        let quiet = |path: &str| kind_of(Path::new(path)).quiet;
        assert!(quiet("crates/e2p-model/src/load/mod.rs"));
        assert!(!quiet("crates/e2p-model/tests/load.rs"));
        assert!(!quiet("crates/e2p-cli/src/main.rs"));
        assert!(!quiet("xtask/src/main.rs"));
    }
}
