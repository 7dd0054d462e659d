//! Rules about one source or Markdown file, as functions of its text.

/// A file longer than this is worth another look; longer than [`HARD_LENGTH`] it must be split.
const SOFT_LENGTH: usize = 400;
const HARD_LENGTH: usize = 600;

/// As rustfmt's code.
const COMMENT_WIDTH: usize = 100;

/// What kind of file it is, where the rules differ.
#[derive(Clone, Copy, Default)]
pub(super) struct Kind {
    /// Library code, which must not print.
    pub(super) quiet: bool,
    /// An `error.rs`.
    pub(super) errors: bool,
    /// This file itself.
    pub(super) rules: bool,
    /// Comments are at most [`COMMENT_WIDTH`] columns wide here.
    pub(super) wrapped: bool,
}

/// Findings as `line: text`.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Macros that print, which a library leaves to the command line.
const PRINTING: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

/// Macros and attributes that leave something undone.
const UNDONE: [(&str, &str); 3] = [
    ("todo!", "finish it or leave it out"),
    (
        "unimplemented!",
        "return an error that names what is not supported",
    ),
    ("#[ignore", "a test that does not run states nothing"),
];

pub(super) fn rust(text: &str, kind: Kind) -> Findings {
    let mut found = Findings::default();
    // A library's front page may be its README.
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!") {
        found
            .problems
            .push("1: must open with `//!`: what lives here, and the one idea".to_owned());
    }
    length(text, &mut found);
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        let columns = line.chars().count();
        if kind.wrapped && code.starts_with("//") && columns > COMMENT_WIDTH {
            found.problems.push(format!(
                "{number}: a comment of {columns} columns: wrap it at {COMMENT_WIDTH}"
            ));
        }
        if let Some(doc) = code
            .strip_prefix("//!")
            .or_else(|| code.strip_prefix("///"))
        {
            found
                .problems
                .extend(ignored_example(number, doc.trim_start()));
            continue;
        }
        if code.starts_with("//") || kind.rules {
            continue;
        }
        for (word, reason) in UNDONE {
            if contains_word(code, word) {
                found.problems.push(format!("{number}: `{word}`: {reason}"));
            }
        }
        if kind.quiet
            && let Some(word) = PRINTING.iter().find(|word| contains_word(code, word))
        {
            found.problems.push(format!(
                "{number}: `{word}` in a library: return a value or call the observer"
            ));
        }
        if kind.errors
            && let Some(variant) = nameless_variant(code)
        {
            found.problems.push(format!(
                "{number}: variant `{variant}`: name the cause and its fields"
            ));
        }
    }
    found
}

pub(super) fn markdown(text: &str) -> Findings {
    let problems = (1..)
        .zip(text.lines())
        .filter_map(|(number, line)| ignored_example(number, line.trim_start()))
        .collect();
    Findings {
        problems,
        warnings: Vec::new(),
    }
}

fn length(text: &str, found: &mut Findings) {
    match text.lines().count() {
        lines if lines > HARD_LENGTH => found.problems.push(format!(
            "{lines}: longer than {HARD_LENGTH} lines: split it"
        )),
        lines if lines > SOFT_LENGTH => found
            .warnings
            .push(format!("{lines}: longer than {SOFT_LENGTH} lines")),
        _ => {}
    }
}

/// A Rust example that is never compiled is wrong sooner or later.
fn ignored_example(number: usize, line: &str) -> Option<String> {
    let words = line.strip_prefix("```")?;
    let ignored = words.split([',', ' ']).any(|word| word.trim() == "ignore");
    ignored.then(|| {
        format!(
            "{number}: an example that is not compiled: use `no_run`, or `text` if it is not Rust"
        )
    })
}

/// `word` not preceded by a letter, so that `eprintln!` is not also found as `println!`.
fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// `Other`, `Unknown` and any variant that is nothing but a string: they tell a caller nothing to
/// act on.
fn nameless_variant(code: &str) -> Option<&str> {
    let end = code
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let is_variant = name.starts_with(char::is_uppercase) && rest.starts_with(['(', '{', ',', ' ']);
    let nameless = name == "Other" || name == "Unknown" || rest.starts_with("(String)");
    (is_variant && nameless).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Kind, markdown, nameless_variant, rust};

    fn problems(text: &str, kind: Kind) -> usize {
        rust(text, kind).problems.len()
    }

    #[test]
    fn a_file_opens_with_its_docs() {
        assert_eq!(problems("//! What.\n", Kind::default()), 0);
        assert_eq!(
            problems(
                "#![doc = include_str!(\"../README.md\")]\n",
                Kind::default()
            ),
            0
        );
        assert_eq!(problems("use std::fmt;\n", Kind::default()), 1);
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let of_length = |lines: usize| rust(&"//! x\n".repeat(lines), Kind::default());
        assert_eq!(
            (of_length(400).warnings.len(), of_length(400).problems.len()),
            (0, 0)
        );
        assert_eq!(
            (of_length(401).warnings.len(), of_length(600).problems.len()),
            (1, 0)
        );
        assert_eq!(of_length(601).problems.len(), 1);
    }

    #[test]
    fn libraries_do_not_print() {
        let quiet = Kind {
            quiet: true,
            ..Kind::default()
        };
        assert_eq!(problems("//! x\nfn f() { println!(); }\n", quiet), 1);
        assert_eq!(problems("//! x\nfn f() { eprintln!(); }\n", quiet), 1);
        assert_eq!(
            problems("//! x\nfn f() { println!(); }\n", Kind::default()),
            0
        );
        assert_eq!(
            problems(
                "//! x\n/// println!(\"in an example\");\nfn f() {}\n",
                quiet
            ),
            0
        );
    }

    #[test]
    fn comments_are_wrapped_where_all_are() {
        let wrapped = Kind {
            wrapped: true,
            ..Kind::default()
        };
        // Columns are characters, not bytes.
        let line = |columns: usize| format!("//! x\n// {}\n", "ä".repeat(columns - 3));
        assert_eq!(problems(&line(100), wrapped), 0);
        assert_eq!(problems(&line(101), wrapped), 1);
        assert_eq!(problems(&line(101), Kind::default()), 0);
        assert_eq!(
            problems(&format!("//! x\nlet x = {};\n", "1".repeat(101)), wrapped),
            0
        );
    }

    #[test]
    fn nothing_is_left_undone() {
        assert_eq!(problems("//! x\nfn f() { todo!() }\n", Kind::default()), 1);
        assert_eq!(
            problems("//! x\n#[ignore = \"slow\"]\n", Kind::default()),
            1
        );
        assert_eq!(problems("//! x\n// todo!() was here\n", Kind::default()), 0);
    }

    #[test]
    fn examples_are_compiled() {
        assert_eq!(problems("//! ```rust,ignore\n", Kind::default()), 1);
        assert_eq!(problems("//! ```no_run\n", Kind::default()), 0);
        assert_eq!(markdown("# x\n```ignore\n```\n").problems.len(), 1);
        assert_eq!(markdown("please ignore this\n").problems.len(), 0);
    }

    #[test]
    fn error_variants_name_their_cause() {
        assert_eq!(nameless_variant("Other(String),"), Some("Other"));
        assert_eq!(
            nameless_variant("Unknown { what: String },"),
            Some("Unknown")
        );
        assert_eq!(nameless_variant("Tokenizer(String),"), Some("Tokenizer"));
        assert_eq!(nameless_variant("Config { path: PathBuf },"), None);
        assert_eq!(nameless_variant("Io(#[from] std::io::Error),"), None);
        assert_eq!(nameless_variant("other(String)"), None);
    }
}
