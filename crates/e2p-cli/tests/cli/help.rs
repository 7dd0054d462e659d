//! Help, completions, devices.

use insta::assert_snapshot;

use crate::support::{e2p, golden, shown, stdout};

#[test]
fn help_is_the_reference() {
    assert_snapshot!("help", shown(&mut e2p(["--help"]), &[]));
    for verb in ["score", "generate", "inspect", "devices", "completions"] {
        assert_snapshot!(
            format!("help_{verb}"),
            shown(&mut e2p([verb, "--help"]), &[])
        );
    }
}

#[test]
fn the_version_names_revision_and_backends() {
    let text = stdout(&mut e2p(["--version"]));
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(
        first.starts_with(concat!("e2p ", env!("CARGO_PKG_VERSION"), " (revision ")),
        "{first}"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .split(", ")
            .any(|name| name.ends_with("flex"))
    );
    assert_eq!(stdout(&mut e2p(["-V"])).lines().count(), 1);
}

#[test]
fn usage_errors_exit_with_2() {
    assert_snapshot!("usage_none", shown(&mut e2p([""; 0]), &[]));
    assert_snapshot!("usage_unknown_verb", shown(&mut e2p(["scare"]), &[]));
    assert_snapshot!(
        "usage_missing_option",
        shown(&mut e2p(["score", "--backbone", "x"]), &[])
    );
    let both = e2p([
        "generate",
        "--backbone",
        "x",
        "--prompt",
        "a",
        "--input",
        "b",
    ])
    .output()
    .unwrap();
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            stdout(&mut e2p(["completions", shell])).contains("generate"),
            "{shell}"
        );
    }
}

#[test]
fn there_is_a_manual_page_for_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    stdout(e2p(["man", "--out"]).arg(&out));
    for (page, says) in [
        ("e2p.1", "Exit codes"),
        ("e2p-train.1", "resume"),
        ("e2p-prepare.1", "personachat"),
        ("e2p-embed-text.1", "encoder"),
    ] {
        let text = std::fs::read_to_string(out.join(page)).unwrap();
        assert!(
            text.starts_with(".ie") && text.contains(says),
            "{page}: {text}"
        );
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    let output = e2p(["man", "--out"])
        .arg(folder.path().join("file/man1"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn devices_name_every_backend() {
    let list = stdout(&mut e2p(["devices"]));
    for backend in ["cuda", "metal", "vulkan", "wgpu", "flex"] {
        assert!(list.contains(backend), "{list}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&mut e2p(["devices", "--json"]))).unwrap();
    let flex = json["backends"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["backend"] == "flex")
        .unwrap();
    assert_eq!(
        (
            flex["compiled"].as_bool(),
            flex["devices"].as_array().map(Vec::len)
        ),
        (Some(true), Some(1))
    );
}

#[test]
fn a_backbone_is_described() {
    for name in ["llama3-rope", "gpt2", "llama-bf16-shards", "bert"] {
        let dir = golden(name);
        let shown = shown(e2p(["inspect"]).arg(&dir), &[(&dir, "[DIR]")]);
        assert_snapshot!(format!("inspect_{name}"), shown);
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(e2p(["inspect", "--json"]).arg(golden("llama")))).unwrap();
    assert_eq!(json["model_type"], "llama");
}
