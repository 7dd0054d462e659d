//! Cycles between the files of a crate: two files that each need the other cannot be read, tested
//! or moved alone.
//!
//! A file depends on another if it names something that the other defines: in a `use`, in a path,
//! in the arguments of a macro. A re-export is followed to the file that defines the name, so
//! `use crate::Decoder` depends on `decoder.rs` and not on `lib.rs`. That a parent declares a child
//! or re-exports from it makes no edge. Test code is left out.

mod graph;
mod scan;

use std::path::Path;

use anyhow::Result;

use self::graph::Graph;

/// Imports that close a cycle and were there when this check was written, as crate, importing file
/// and imported file. The list may only shrink: a line that closes no cycle any more is a problem.
const KNOWN: [(&str, &str, &str); 17] = [
    ("e2p-cli", "commands/embed/text.rs", "commands/embed/mod.rs"),
    ("e2p-cli", "hints.rs", "report.rs"),
    ("e2p-data", "als/solve.rs", "als/mod.rs"),
    ("e2p-data", "embeddings/read.rs", "embeddings/mod.rs"),
    ("e2p-data", "embeddings/statistics.rs", "embeddings/mod.rs"),
    ("e2p-data", "embeddings/table.rs", "embeddings/mod.rs"),
    ("e2p-data", "embeddings/write.rs", "embeddings/mod.rs"),
    (
        "e2p-data",
        "persona_chat/csv_dialogues.rs",
        "persona_chat/mod.rs",
    ),
    ("e2p-data", "persona_chat/hf_json.rs", "persona_chat/mod.rs"),
    ("e2p-data", "persona_chat/parlai.rs", "persona_chat/mod.rs"),
    ("e2p-model", "families/gpt2.rs", "families/mod.rs"),
    ("e2p-model", "families/llama.rs", "families/mod.rs"),
    ("e2p-model", "families/mistral.rs", "families/mod.rs"),
    ("e2p-model", "families/qwen2.rs", "families/mod.rs"),
    ("e2p-model", "families/qwen3.rs", "families/mod.rs"),
    ("e2p-train", "report/html.rs", "report/mod.rs"),
    (
        "e2p-train",
        "eval/judge/provenance.rs",
        "eval/judge/assemble.rs",
    ),
];

/// The problems of one crate: `folder` is its `src`, `name` that folder from the workspace's root.
pub(super) fn problems(krate: &str, name: &str, folder: &Path) -> Result<Vec<String>> {
    let known: Vec<(&str, &str)> = KNOWN
        .iter()
        .filter(|(of, _, _)| *of == krate)
        .map(|(_, from, to)| (*from, *to))
        .collect();
    let mut problems = Vec::new();
    for root in ["lib.rs", "main.rs"] {
        if !folder.join(root).is_file() {
            continue;
        }
        let read = |file: &str| Ok(std::fs::read_to_string(folder.join(file))?);
        let exists = |file: &str| folder.join(file).is_file();
        let graph = Graph::of(root, &read, &exists)?;
        problems.extend(judge(&graph, name, &known));
    }
    Ok(problems)
}

/// New cycles, then the lines of `known` that close none any more.
fn judge(graph: &Graph, name: &str, known: &[(&str, &str)]) -> Vec<String> {
    let mut problems: Vec<String> = graph
        .without(known)
        .cycles()
        .into_iter()
        .map(|cycle| {
            let files: Vec<&str> = cycle.files.iter().map(String::as_str).collect();
            let imports: Vec<String> = cycle
                .edges
                .iter()
                .map(|edge| {
                    format!(
                        "\n    {name}/{}:{}: `{}` is of {}",
                        edge.from, edge.line, edge.text, edge.to
                    )
                })
                .collect();
            format!(
                "{name}: these files need each other: {}; move what they share to one place{}",
                files.join(", "),
                imports.concat()
            )
        })
        .collect();
    problems.extend(
        known
            .iter()
            .filter(|(from, to)| !graph.closes_a_cycle(from, to))
            .map(|(from, to)| {
                format!("{name}: `{from}` to `{to}` closes no cycle any more: delete its line in xtask/src/tidy/cycles/mod.rs")
            }),
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::graph::Graph;
    use super::judge;

    /// The problems of a crate of these files.
    fn problems(files: &[(&str, &str)], known: &[(&str, &str)]) -> Vec<String> {
        let find = |name: &str| files.iter().find(|(file, _)| *file == name);
        let read = |name: &str| Ok(find(name).expect("asked for after `exists`").1.to_owned());
        let graph = Graph::of(files[0].0, &read, &|name| find(name).is_some());
        judge(&graph.expect("the sources parse"), "src", known)
    }

    const PAIR: [(&str, &str); 3] = [
        ("lib.rs", "mod hints;\nmod report;"),
        (
            "hints.rs",
            "use std::fmt;\nuse crate::report::Report;\npub struct Hint;",
        ),
        (
            "report.rs",
            "pub struct Report;\nfn f() { crate::hints::Hint; }",
        ),
    ];

    #[test]
    fn two_files_that_need_each_other_are_a_cycle_with_its_imports() {
        let found = problems(&PAIR, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("hints.rs, report.rs"), "{found:?}");
        assert!(
            found[0].contains("src/hints.rs:2: `crate::report::Report` is of report.rs"),
            "{found:?}"
        );
        assert!(found[0].contains("src/report.rs:2: `crate::hints::Hint` is of hints.rs"));
    }

    #[test]
    fn a_known_cycle_is_left_and_a_line_that_closes_none_is_a_problem() {
        assert!(problems(&PAIR, &[("hints.rs", "report.rs")]).is_empty());
        let stale = problems(&PAIR[..1], &[]);
        assert!(stale.is_empty(), "a missing file is the compiler's problem");
        let mended = [
            PAIR[0],
            ("hints.rs", "pub struct Hint;"),
            ("report.rs", "use crate::hints::Hint;"),
        ];
        let found = problems(&mended, &[("hints.rs", "report.rs")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("closes no cycle any more"), "{found:?}");
        // One that exists, but whose way back is gone.
        assert_eq!(problems(&mended, &[("report.rs", "hints.rs")]).len(), 1);
    }

    #[test]
    fn a_longer_way_round_is_a_cycle() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use super::b::B; pub struct A;"),
            ("b.rs", "use crate::c; pub struct B(c::C);"),
            ("c.rs", "pub struct C; fn f() { vec![crate::a::A]; }"),
            ("d.rs", "use crate::{a::A, b::B};"),
        ];
        let found = problems(&files, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("a.rs, b.rs, c.rs;"), "{found:?}");
        assert!(!found[0].contains("d.rs"), "{found:?}");
    }

    #[test]
    fn declaring_and_re_exporting_a_child_is_no_edge() {
        let files = [
            ("lib.rs", "pub mod load; pub use load::Source;"),
            (
                "load/mod.rs",
                "mod source; pub use source::{Source, Kind as K}; pub use self::source::*;",
            ),
            (
                "load/source.rs",
                "use crate::load::Kind; use super::K as Other; pub struct Source; pub enum Kind {}",
            ),
        ];
        assert!(problems(&files, &[]).is_empty());
    }

    #[test]
    fn a_parent_that_uses_its_child_and_defines_what_the_child_uses_is_a_cycle() {
        let child = (
            "tidy/links.rs",
            "use super::Findings; pub fn run() -> Findings {}",
        );
        let through = |parent| {
            let files = [("main.rs", "mod tidy;"), ("tidy/mod.rs", parent), child];
            problems(&files, &[]).len()
        };
        assert_eq!(
            through("mod links; pub struct Findings; fn f() { links::run(); }"),
            1
        );
        assert_eq!(
            through("mod links; use links::run; pub struct Findings;"),
            1
        );
        assert_eq!(
            through("mod links; pub(crate) use links::run; pub struct Findings; fn f() { run(); }"),
            1
        );
        assert_eq!(
            through("mod links; pub(crate) use links::run; pub struct Findings;"),
            0
        );
    }

    #[test]
    fn re_exports_are_followed_to_the_file_that_defines_the_name() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; use b as other;"),
            ("a.rs", "pub struct A; use crate::other::B;"),
            ("b.rs", "pub struct B; use crate::A;"),
        ];
        let found = problems(&files, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("a.rs, b.rs;"), "{found:?}");
    }

    #[test]
    fn tests_and_words_are_no_edges() {
        let files = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            (
                "a.rs",
                "//! As [`crate::b::B`].\n#[cfg(test)] mod tests { use crate::b::B; }\npub struct A; fn b() { let s = \"crate::b::B\"; }",
            ),
            ("b.rs", "use crate::a::A; pub struct B;"),
            ("tests.rs", "use crate::b::B; pub struct T;"),
        ];
        assert!(problems(&files, &[]).is_empty());
    }
}
