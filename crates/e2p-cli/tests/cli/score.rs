//! `e2p score` against transformers and against itself.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{e2p, golden, stdout};

/// Largest difference of one token's log-probability in f32: the project's own bound.
const F32_TOLERANCE: f64 = 2e-4;

fn score(name: &str, input: &Path, options: &[&str]) -> Vec<Value> {
    let mut command = e2p(["score", "--backbone"]);
    let text = stdout(
        command
            .arg(golden(name))
            .arg("--input")
            .arg(input)
            .args(options),
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn logprobs(line: &Value) -> Vec<f64> {
    serde_json::from_value(line["token_logprobs"].clone()).unwrap()
}

#[track_caller]
fn assert_lines_close(found: &[Value], expected: &[Value], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found["tokens"], expected["tokens"]);
        let (found_logprobs, expected_logprobs) = (logprobs(found), logprobs(expected));
        assert_eq!(found_logprobs.len(), expected_logprobs.len());
        for (a, b) in found_logprobs.iter().zip(&expected_logprobs) {
            assert!((a - b).abs() < tolerance, "{found} {expected}");
        }
        let sum: f64 = found_logprobs.iter().sum();
        assert!((found["logprob"].as_f64().unwrap() - sum).abs() < 1e-4);
    }
}

fn expected(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(golden(name).join("score_expected.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn scores_equal_transformers_from_f32_f16_and_bf16_files() {
    for name in ["llama", "llama-untied-f16", "llama-bf16-shards", "gpt2"] {
        let found = score(name, &golden(name).join("score.jsonl"), &[]);
        assert_lines_close(&found, &expected(name), F32_TOLERANCE);
    }
}

#[test]
fn computing_in_f16_stays_near() {
    let found = score(
        "llama",
        &golden("llama").join("score.jsonl"),
        &["--dtype", "f16"],
    );
    // Half precision has 11 bits; log-probabilities here reach -15.
    assert_lines_close(&found, &expected("llama"), 0.2);
}

#[test]
fn a_shared_prompt_and_any_order_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, lines: &[(&str, &str)]| {
        let lines: Vec<String> = lines
            .iter()
            .map(|(prompt, target)| {
                serde_json::json!({"prompt": prompt, "target": target}).to_string()
            })
            .collect();
        let path = dir.path().join(name);
        fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let pairs = [
        ("The user likes", " rain"),
        ("The user likes", " a very long walk"),
        ("Somebody else", " sleeps"),
        ("The user likes", ""),
        ("The user likes", "b"),
        ("The user likes", " rain"),
    ];
    let together = score("llama", &write("all.jsonl", &pairs), &[]);
    let alone: Vec<Value> = pairs
        .iter()
        .flat_map(|pair| score("llama", &write("one.jsonl", &[*pair]), &[]))
        .collect();
    assert_lines_close(&together, &alone, 1e-4);
    assert_eq!(
        together[3].to_string(),
        r#"{"logprob":0.0,"tokens":0,"token_logprobs":[]}"#
    );
}

#[test]
fn a_chat_is_scored_as_its_rendered_text() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, prompt: Value| {
        let path = dir.path().join(name);
        fs::write(
            &path,
            serde_json::json!({"prompt": prompt, "target": "ok"}).to_string(),
        )
        .unwrap();
        path
    };
    // The golden template: `<s>[user] …</s>\n[assistant] `; `<s>` is put first by the tokenizer
    // itself.
    let rendered = score(
        "llama",
        &write("text.jsonl", "[user] Hi</s>\n[assistant] ".into()),
        &[],
    );
    let by_flag = score("llama", &write("flag.jsonl", "Hi".into()), &["--chat"]);
    let by_messages = score(
        "llama",
        &write(
            "chat.jsonl",
            serde_json::json!([{"role": "user", "content": "Hi"}]),
        ),
        &[],
    );
    assert_lines_close(&by_flag, &rendered, 1e-6);
    assert_lines_close(&by_messages, &rendered, 1e-6);
}

#[test]
fn an_empty_file_gives_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    fs::write(&path, "\n\n").unwrap();
    assert!(score("llama", &path, &[]).is_empty());
}
