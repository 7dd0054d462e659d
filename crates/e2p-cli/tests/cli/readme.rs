//! The README's `sh` blocks, in its order, on small data of the form that it shows. How to install
//! stands in a `bash` block, which is not run: it clones and builds.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::method::world;

const README: &str = include_str!("../../../../README.md");

/// The blocks between ```` ```LANGUAGE ```` and ```` ``` ````.
fn blocks(language: &str) -> Vec<&'static str> {
    README
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// What the README asks its reader to have: examples, a vector for each user, a backbone.
fn own_data(dir: &Path) {
    let (mut examples, mut vectors) = (String::new(), String::new());
    let shown: Vec<&str> = blocks("json").into_iter().flat_map(str::lines).collect();
    let (line, vector) = (shown[0], *shown.last().unwrap());
    assert!(line.contains("\"user\": \"ada\"") && vector.contains("\"user\": \"ada\""));
    for n in 0..40 {
        let user = if n == 0 {
            "ada".to_owned()
        } else {
            format!("user-{n}")
        };
        for line in shown.iter().take(shown.len() - 1) {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["user"] = user.clone().into();
            writeln!(examples, "{line}").unwrap();
        }
        let mut line: serde_json::Value = serde_json::from_str(vector).unwrap();
        line["user"] = user.into();
        line["embedding"][0] = (f64::from(n) / 10.0).into();
        writeln!(vectors, "{line}").unwrap();
    }
    std::fs::write(dir.join("chats.jsonl"), examples).unwrap();
    std::fs::write(dir.join("vectors.jsonl"), vectors).unwrap();
    world(dir);
    std::fs::remove_dir_all(dir.join("data")).unwrap();
    std::fs::create_dir(dir.join("models")).unwrap();
    std::fs::rename(dir.join("backbone"), dir.join("models/your-llm")).unwrap();
}

#[test]
fn every_command_of_the_readme_works_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    own_data(dir.path());
    // The commands are called `e2p`, as an installed one is.
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_e2p"), bin.join("e2p")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut ran = Vec::new();
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let line = line.replace("cargo run --release -- ", "e2p ");
        if line == "cargo xtask test" {
            // These very tests.
            ran.push("test".to_owned());
            continue;
        }
        let mut words = line.split_whitespace();
        assert_eq!(
            words.next(),
            Some("e2p"),
            "a command of another program: {line}"
        );
        ran.push(words.next().unwrap().to_owned());
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(dir.path())
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(
        ran,
        [
            "quickstart",
            "prepare",
            "train",
            "eval",
            "inspect",
            "generate",
            "test"
        ]
    );
    for made in [
        "e2p-quickstart/report.html",
        "run/report.html",
        "run/report.json",
    ] {
        assert!(dir.path().join(made).is_file(), "{made}");
    }
}
