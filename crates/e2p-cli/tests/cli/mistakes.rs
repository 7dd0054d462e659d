//! What a new user does wrong first: each answer says what is wrong and what to type.

use std::path::Path;
use std::process::Command;

use crate::method::{train, world};
use crate::support::{e2p, golden, shown, stdout};

/// Runs, and expects exit code 2, nothing on stdout, every `part` on stderr and a hint with `hint`
/// as the last line.
#[track_caller]
fn refused(command: &mut Command, dir: &Path, parts: &[&str], hint: &str) {
    let text = shown(command, &[(dir, "[DIR]")]);
    assert!(
        text.starts_with("exit: 2\n--- stdout\n--- stderr\n"),
        "{text}"
    );
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("hint: ") && last.contains(hint), "{text}");
}

#[test]
fn the_first_mistakes_are_answered_with_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    world(dir);
    let path = |name: &str| dir.join(name).display().to_string();

    // Files that are not there, or not what they should be.
    let set = |key: &str| format!("{key}={}", path("none.safetensors"));
    let mut command = train(dir, "run", &["--set", &set("users")]);
    refused(
        &mut command,
        dir,
        &["`[DIR]/none.safetensors`", "caused by"],
        "e2p embed text|interactions",
    );
    let mut command = train(dir, "run", &["--set", &set("data")]);
    refused(
        &mut command,
        dir,
        &["[DIR]/none.safetensors/dataset.json"],
        "e2p prepare TASK",
    );
    refused(
        &mut e2p(["eval", &path("run")]),
        dir,
        &["`[DIR]/run` holds no run", "recipe.toml"],
        "e2p train RECIPE --out [DIR]/run",
    );

    // A recipe that is none, a key with a slip of the pen, a key of another library.
    refused(
        &mut e2p(["train", "persona", "--out", &path("run")]),
        dir,
        &["no recipe `persona`", "personachat"],
        "e2p recipe list",
    );
    let mut command = train(
        dir,
        "run",
        &["--set", "optim.lr0=1", "--set", "optim.learning_rate=1"],
    );
    refused(
        &mut command,
        dir,
        &[
            "did you mean `optim.lr`?",
            "`optim.learning_rate`, expected one of beta_1, beta_2, lr",
        ],
        "e2p recipe show synthetic",
    );

    // No hint is better than one that does not work: `e2p recipe show small` knows nothing of
    // pre-training.
    let text = dir.join("text.txt");
    std::fs::write(&text, "a text").unwrap();
    let mut command = e2p(["pretrain", "small", "--set", "step=1", "--out"]);
    command.arg(dir.join("new")).arg("--text").arg(&text);
    let answer = shown(&mut command, &[(dir, "[DIR]")]);
    assert!(
        answer.contains("did you mean `steps`?") && !answer.contains("hint:"),
        "{answer}"
    );

    // Nothing of this has left a run behind.
    assert!(!dir.join("run").exists());
    stdout(&mut train(dir, "run", &["--set", "train.max_steps=1"]));
    refused(
        &mut train(dir, "run", &[]),
        dir,
        &["already holds a run"],
        "--resume continues it, --force",
    );

    // An adapter with a backbone and with embeddings that are not its own.
    let ask = |backbone: &Path, users: &str| {
        let mut command = e2p([
            "generate",
            "--quiet",
            "--prompt",
            "x",
            "--user",
            "test-0000",
            "--adapter",
        ]);
        command
            .arg(dir.join("run"))
            .arg("--users")
            .arg(dir.join(users))
            .arg("--backbone")
            .arg(backbone);
        command
    };
    refused(
        &mut ask(&golden("llama"), "users.safetensors"),
        dir,
        &[
            "was trained on the backbone `[DIR]/backbone`",
            "this backbone is",
        ],
        "give the backbone that the adapter was trained on",
    );
    std::fs::write(
        dir.join("short.jsonl"),
        "{\"user\": \"test-0000\", \"embedding\": [1, 2]}\n",
    )
    .unwrap();
    refused(
        ask(&dir.join("backbone"), "short.jsonl").args(["--space", "synthetic-v1"]),
        dir,
        &[
            "cannot use `[DIR]/short.jsonl`",
            "`synthetic-v1` with 2 dimensions",
        ],
        "e2p train RECIPE --set users=FILE",
    );

    // A device that was not compiled in.
    if cfg!(not(feature = "cuda")) {
        refused(
            ask(&dir.join("backbone"), "users.safetensors").args(["--device", "cuda"]),
            dir,
            &["backend `cuda` is not compiled into this binary"],
            "--features cuda",
        );
    }
    stdout(&mut ask(&dir.join("backbone"), "users.safetensors"));
}
