//! How often each crate says `unsafe`: the number stands here, so that one more is a decision.

use std::path::Path;

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use crate::workspace;

/// The word `unsafe` in each crate's code, tests and fuzz targets included; none in crates that are
/// not named. Each place says why it is sound.
const STATED: [(&str, usize); 3] = [
    ("e2p-bench", 1),  // candle's mapped file
    ("e2p-data", 1),   // a mapped file
    ("e2p-model", 12), // two of mapped files; the rest are instructions in kernels/
];

/// A crate, in `folder`, that says `unsafe` more or less often than stated.
pub(super) fn problems(krate: &str, folder: &Path) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for path in workspace::files(folder, &|path| path.extension().is_some_and(|e| e == "rs"))? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display();
        let lines = lines(&std::fs::read_to_string(&path)?);
        let lines = lines.map_err(|problem| anyhow!("{krate}: {name}: {problem}"))?;
        places.extend(lines.iter().map(|line| format!("{name}:{line}")));
    }
    let stated = STATED.iter().find(|(name, _)| *name == krate);
    let stated = stated.map_or(0, |(_, count)| *count);
    let problem = format!(
        "{krate}: {} times `unsafe` ({}), and xtask/src/tidy/unsafe_code.rs states {stated}",
        places.len(),
        places.join(", ")
    );
    Ok((places.len() != stated)
        .then_some(problem)
        .into_iter()
        .collect())
}

/// The line of each `unsafe` in the code of a source file.
fn lines(text: &str) -> Result<Vec<usize>, proc_macro2::LexError> {
    let mut found = Vec::new();
    let mut open: Vec<TokenStream> = vec![text.parse()?];
    while let Some(tokens) = open.pop() {
        for token in tokens {
            match token {
                TokenTree::Ident(word) if word == "unsafe" => found.push(word.span().start().line),
                TokenTree::Group(group) => open.push(group.stream()),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn every_unsafe_of_the_code_counts_and_none_of_its_words() {
        let text = "//! unsafe\n/// unsafe\nunsafe fn f() { assert!(unsafe { g() }); }\n\
                    // unsafe\nfn g() { let unsafely = \"unsafe\"; }\nunsafe impl Send for T {}";
        assert_eq!(lines(text).expect("it is Rust"), [3, 3, 6]);
    }
}
