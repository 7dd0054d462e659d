//! Rules about `Cargo.toml`: which crate may use which, and how backend features are forwarded.

use cargo_metadata::{DependencyKind, Package};

use crate::workspace::{BACKENDS, TENSOR_CRATES};

/// The allowed edges: arrows point from the specific to the general. A new edge is a change of
/// architecture.
const EDGES: [(&str, &[&str]); 7] = [
    ("e2p-data", &[]),
    ("e2p-model", &[]),
    ("e2p-prefix", &["e2p-model"]),
    ("e2p-train", &["e2p-data", "e2p-model", "e2p-prefix"]),
    (
        "e2p-cli",
        &["e2p-data", "e2p-model", "e2p-prefix", "e2p-train"],
    ),
    (
        "e2p-bench",
        &["e2p-data", "e2p-model", "e2p-prefix", "e2p-train"],
    ),
    ("xtask", &[]),
];

/// Edges for tests and examples alone: e2p-prefix's example reads user embeddings, as its users do.
const DEV_EDGES: [(&str, &str); 1] = [("e2p-prefix", "e2p-data")];

/// External crates that only some of ours may use: the command line's tools stay out of the
/// libraries, the network stays in one place, and e2p-data never learns the word tensor.
const EXTERNAL: [(&str, &[&str]); 5] = [
    ("anyhow", &["e2p-cli", "xtask"]),
    ("clap", &["e2p-cli", "xtask"]),
    ("indicatif", &["e2p-cli"]),
    ("hf-hub", &["e2p-cli"]),
    (
        "burn",
        &[
            "e2p-model",
            "e2p-prefix",
            "e2p-train",
            "e2p-cli",
            "e2p-bench",
        ],
    ),
];

/// What `flex` may switch on besides `burn/flex`: with burn's default features off they are not
/// implied.
const FLEX_EXTRAS: [&str; 4] = ["burn/simd", "burn/rayon", "burn/extension", "burn/x86-v4"];

pub(super) fn problems(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        for dependency in &package.dependencies {
            problems.extend(edge(
                name,
                &dependency.name,
                dependency.kind == DependencyKind::Development,
            ));
        }
        if TENSOR_CRATES.contains(&name) {
            let uses: Vec<&str> = package
                .dependencies
                .iter()
                .filter(|d| d.kind == DependencyKind::Normal)
                .map(|d| d.name.as_str())
                .collect();
            for backend in BACKENDS {
                problems.extend(forwarding(
                    name,
                    backend,
                    package.features.get(backend).map(Vec::as_slice),
                    &uses,
                ));
            }
        }
    }
    problems
}

/// A dev-dependency of a crate on itself only switches features on for its tests.
fn edge(from: &str, to: &str, development: bool) -> Option<String> {
    if development && (from == to || DEV_EDGES.contains(&(from, to))) {
        return None;
    }
    let allowed = match EXTERNAL.iter().find(|(name, _)| *name == to) {
        Some((_, users)) => users.contains(&from),
        None if to.starts_with("e2p-") || to == "xtask" => EDGES
            .iter()
            .any(|(name, uses)| *name == from && uses.contains(&to)),
        None => true,
    };
    (!allowed).then(|| format!("{from}/Cargo.toml: must not depend on `{to}`"))
}

/// `x = ["burn/x"]` and the same name one level down, for every tensor crate that is used; nothing
/// else.
fn forwarding(
    package: &str,
    backend: &str,
    enables: Option<&[String]>,
    uses: &[&str],
) -> Vec<String> {
    let Some(enables) = enables else {
        return vec![format!("{package}/Cargo.toml: has no feature `{backend}`")];
    };
    let mut expected = vec![format!("burn/{backend}")];
    expected.extend(
        TENSOR_CRATES
            .iter()
            .filter(|c| uses.contains(c))
            .map(|c| format!("{c}/{backend}")),
    );
    // `a?/x` forwards to an optional dependency without switching it on.
    let enables: Vec<String> = enables
        .iter()
        .map(|feature| feature.replace("?/", "/"))
        .collect();
    let missing = expected.iter().filter(|feature| !enables.contains(feature));
    let mut problems: Vec<String> = missing
        .map(|feature| {
            format!("{package}/Cargo.toml: feature `{backend}` must forward to `{feature}`")
        })
        .collect();
    let may_add = |feature: &String| backend == "flex" && FLEX_EXTRAS.contains(&feature.as_str());
    let extra = enables
        .iter()
        .filter(|feature| !expected.contains(feature) && !may_add(feature));
    problems.extend(extra.map(|feature| {
        format!("{package}/Cargo.toml: feature `{backend}` must not switch on `{feature}`")
    }));
    problems
}

#[cfg(test)]
mod tests {
    use super::{edge, forwarding};

    #[test]
    fn edges_point_from_the_specific_to_the_general() {
        assert_eq!(edge("e2p-prefix", "e2p-model", false), None);
        assert!(edge("e2p-model", "e2p-prefix", false).is_some());
        assert!(edge("e2p-model", "e2p-prefix", true).is_some());
        assert_eq!(edge("e2p-prefix", "e2p-data", true), None);
        assert!(edge("e2p-prefix", "e2p-data", false).is_some());
        assert!(edge("xtask", "e2p-data", false).is_some());
    }

    #[test]
    fn a_crate_may_enable_its_own_features_for_its_tests() {
        assert_eq!(edge("e2p-model", "e2p-model", true), None);
        assert!(edge("e2p-model", "e2p-model", false).is_some());
    }

    #[test]
    fn libraries_do_not_use_the_command_lines_crates() {
        assert!(edge("e2p-train", "anyhow", false).is_some());
        assert!(edge("e2p-data", "burn", false).is_some());
        assert_eq!(edge("e2p-cli", "clap", false), None);
        assert_eq!(edge("e2p-data", "serde", false), None);
    }

    #[test]
    fn a_backend_is_forwarded_under_its_own_name_and_brings_nothing_else() {
        let check = |features: &[&str]| {
            let features: Vec<String> = features.iter().map(ToString::to_string).collect();
            forwarding("e2p-prefix", "wgpu", Some(&features), &["e2p-model"])
        };
        assert!(check(&["burn/wgpu", "e2p-model?/wgpu"]).is_empty());
        assert_eq!(check(&["burn/wgpu"]).len(), 1);
        assert_eq!(check(&["burn/wgpu", "e2p-model/vulkan"]).len(), 2);
        assert_eq!(
            check(&["burn/wgpu", "e2p-model/wgpu", "burn/fusion"]).len(),
            1
        );
        assert_eq!(forwarding("e2p-model", "cuda", None, &[]).len(), 1);
    }

    #[test]
    fn flex_names_the_cpu_features_it_needs() {
        let features = ["burn/flex", "burn/simd", "burn/rayon"].map(str::to_owned);
        assert!(forwarding("e2p-model", "flex", Some(&features), &[]).is_empty());
    }
}
