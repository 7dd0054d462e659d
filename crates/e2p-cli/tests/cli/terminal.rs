//! Terminals that are narrow, without colour, or none; places that cannot be written.

use std::process::Stdio;

use crate::method::{train, world};
use crate::support::e2p;

#[test]
fn help_fits_a_narrow_terminal() {
    for verb in [
        &[][..],
        &["eval"],
        &["train"],
        &["recipe", "check"],
        &["embed", "text"],
    ] {
        let output = e2p(verb.iter().chain(&["--help"]))
            .env("COLUMNS", "40")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // clap does not wrap the line of usage.
        for line in text.lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(
                line.chars().count() <= 40 || !line.trim().contains(' '),
                "{verb:?}: {line}"
            );
        }
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let stderr = |force: bool, no_color: bool| {
        let mut command = e2p(["eval", "no/such/run"]);
        command.env_remove("NO_COLOR");
        if force {
            command.env("CLICOLOR_FORCE", "1");
        }
        if no_color {
            command.env("NO_COLOR", "1");
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(!stderr(false, false).contains('\x1b'));
    assert!(stderr(true, false).contains('\x1b'));
    // The words are the same.
    let plain = without_colour(&stderr(true, false));
    assert_eq!(plain, stderr(false, true));
}

/// Without escape sequences of colour.
fn without_colour(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('m').unwrap().1);
    }
    out
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_stdout_is_said_and_not_ignored() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = e2p(["recipe", "show", "personachat"])
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot write to stdout")
    );
}

#[test]
fn a_place_that_cannot_be_written_is_found_out_before_training() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    std::fs::write(dir.path().join("file"), "kept").unwrap();
    let output = train(dir.path(), "file/run", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("file/run"), "{message}");
    assert!(!message.contains("step"), "nothing was trained: {message}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("file")).unwrap(),
        "kept"
    );
}
