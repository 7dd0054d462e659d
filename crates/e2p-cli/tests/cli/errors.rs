//! Bad input: each a message that names file and cause, exit code 2, nothing on stdout.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::support::{e2p, golden, shown};

/// A writable copy of a golden checkpoint.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(golden(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

fn generate(dir: &Path, options: &[&str]) -> String {
    let mut command = e2p(["generate", "--backbone"]);
    shown(command.arg(dir).args(options), &[(dir, "[DIR]")])
}

/// Scores an input file with the given bytes.
fn score(name: &str, input: &[u8]) -> String {
    let dir = golden(name);
    let input_dir = tempfile::tempdir().unwrap();
    let path = input_dir.path().join("in.jsonl");
    fs::write(&path, input).unwrap();
    let mut command = e2p(["score", "--backbone"]);
    command.arg(&dir).arg("--input").arg(&path);
    shown(
        &mut command,
        &[(&dir, "[DIR]"), (input_dir.path(), "[TMP]")],
    )
}

#[test]
fn a_missing_backbone_is_named() {
    assert_snapshot!(
        "missing_backbone",
        generate(Path::new("no/such/dir"), &["--prompt", "a"])
    );
    let dir = copy("llama");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_snapshot!("missing_config", generate(dir.path(), &["--prompt", "a"]));
    let dir = copy("llama");
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert_snapshot!(
        "missing_tokenizer",
        generate(dir.path(), &["--prompt", "a"])
    );
    let dir = copy("llama");
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert_snapshot!("missing_weights", generate(dir.path(), &["--prompt", "a"]));
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_hub_id_says_how_to_build_with_the_hub() {
    assert_snapshot!(
        "hub_not_compiled",
        generate(Path::new("org/name"), &["--prompt", "a"])
    );
}

#[test]
fn another_family_and_another_vocabulary_are_refused() {
    let dir = copy("llama");
    let config = fs::read_to_string(dir.path().join("config.json")).unwrap();
    fs::write(
        dir.path().join("config.json"),
        config.replace("\"llama\"", "\"mamba\""),
    )
    .unwrap();
    assert_snapshot!("unknown_family", generate(dir.path(), &["--prompt", "a"]));
    let dir = copy("llama3-rope");
    fs::copy(
        golden("llama").join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    assert_snapshot!(
        "vocabulary_mismatch",
        generate(dir.path(), &["--prompt", "a"])
    );
}

#[test]
fn a_truncated_checkpoint_is_named() {
    let dir = copy("llama");
    let weights = dir.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_snapshot!(
        "truncated_weights",
        generate(dir.path(), &["--prompt", "a"])
    );
}

#[test]
fn a_header_of_absurd_length_is_named() {
    let dir = copy("llama");
    let weights = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    fs::write(&weights, &bytes).unwrap();
    assert_snapshot!("absurd_header", generate(dir.path(), &["--prompt", "a"]));
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let dir = copy("llama");
    let weights = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&weights, &bytes).unwrap();
    assert_snapshot!("nan_weights", generate(dir.path(), &["--prompt", "a"]));
}

#[test]
fn prompts_that_do_not_fit_name_both_numbers() {
    let long = "hello there ".repeat(20);
    assert_snapshot!(
        "prompt_too_long",
        generate(&golden("llama"), &["--prompt", &long])
    );
    assert_snapshot!(
        "no_room_for_new_tokens",
        generate(
            &golden("llama"),
            &["--prompt", "a", "--max-new-tokens", "100"]
        )
    );
    let line = serde_json::json!({"prompt": long, "target": "x"});
    let input = format!("{{\"prompt\": \"a\", \"target\": \"b\"}}\n{line}\n");
    assert_snapshot!("score_too_long", score("llama", input.as_bytes()));
}

#[test]
fn an_empty_prompt_is_an_error_without_a_first_token() {
    let dir = copy("gpt2");
    for file in ["config.json", "tokenizer_config.json"] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json.as_object_mut()
            .unwrap()
            .retain(|key, _| !key.starts_with("bos_token"));
        fs::write(dir.path().join(file), json.to_string()).unwrap();
    }
    assert_snapshot!("empty_prompt", generate(dir.path(), &["--prompt", ""]));
}

#[test]
fn bad_lines_are_numbered() {
    assert_snapshot!(
        "bad_json",
        score(
            "llama",
            b"{\"prompt\": \"a\", \"target\": \"b\"}\n{\"prompt\": \"a\" \"target\"}\n"
        )
    );
    assert_snapshot!(
        "bad_utf8",
        score(
            "llama",
            b"{\"prompt\": \"a\", \"target\": \"b\"}\n{\"prompt\": \"\xff\", \"target\": \"b\"}\n"
        )
    );
    assert_snapshot!(
        "missing_fields",
        score(
            "llama",
            b"{\"prompt\": \"a\"}\n\n{\"prompt\": 7, \"target\": \"b\"}\n[]\n"
        )
    );
    let mut command = e2p(["score", "--input", "no/such.jsonl", "--backbone"]);
    assert_snapshot!("missing_input", shown(command.arg(golden("llama")), &[]));
}

#[test]
fn devices_and_values_are_checked() {
    assert_snapshot!(
        "unknown_device",
        generate(&golden("llama"), &["--prompt", "a", "--device", "abacus"])
    );
    assert_snapshot!(
        "missing_device",
        generate(&golden("llama"), &["--prompt", "a", "--device", "flex:3"])
    );
    #[cfg(not(feature = "cuda"))]
    assert_snapshot!(
        "device_not_compiled",
        generate(&golden("llama"), &["--prompt", "a", "--device", "cuda"])
    );
    assert_snapshot!(
        "bad_sampling",
        generate(&golden("llama"), &["--prompt", "a", "--top-p", "1.5"])
    );
    assert_snapshot!(
        "bad_dtype",
        generate(&golden("llama"), &["--prompt", "a", "--dtype", "int3"])
    );
    assert_snapshot!(
        "inspect_unknown",
        shown(e2p(["inspect"]).arg(golden("")), &[(&golden(""), "[DIR]/")])
    );
}
