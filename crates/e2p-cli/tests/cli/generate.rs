//! `e2p generate`: streams, files, seeds, pipes.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{assert_success, e2p, golden, shared_model, stdout};

fn generate(dir: &Path, options: &[&str]) -> String {
    let mut command = e2p(["generate", "--backbone"]);
    stdout(command.arg(dir).args(options))
}

#[test]
fn one_prompt_streams_the_reference_text() {
    for name in ["chat-3m", "tinystories-656k-llama", "stories260k"] {
        let Some(dir) = shared_model(name) else {
            return;
        };
        let reference: Value =
            serde_json::from_str(&fs::read_to_string(dir.join("golden.json")).unwrap()).unwrap();
        let case = &reference["cases"][0];
        let prompt = case["prompt"].as_str().unwrap();
        let text = generate(&dir, &["--prompt", prompt, "--max-new-tokens", "32"]);
        assert_eq!(
            text.strip_suffix('\n').unwrap(),
            case["greedy_text"].as_str().unwrap()
        );
        let json = generate(
            &dir,
            &["--prompt", prompt, "--max-new-tokens", "32", "--json"],
        );
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["ids"], case["greedy_ids"]);
        assert_eq!(json["text"], case["greedy_text"]);
    }
}

#[test]
fn a_chat_template_renders_the_prompt() {
    let Some(dir) = shared_model("chat-3m") else {
        return;
    };
    let chat = generate(&dir, &["--chat", "--prompt", "I just got a new puppy!"]);
    assert_eq!(chat, " That's great! What kind of puppy is it?\n");
}

#[test]
fn lines_keep_their_order_and_equal_single_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    let prompts = ["a longer prompt than the others", "b", "the user"];
    let lines: Vec<String> = prompts
        .iter()
        .enumerate()
        .map(|(index, prompt)| {
            serde_json::json!({"prompt": prompt, "user": format!("u{index}")}).to_string()
        })
        .collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let options = [
        "--max-new-tokens",
        "8",
        "--temperature",
        "0.8",
        "--top-k",
        "20",
        "--seed",
        "3",
    ];
    let mut with_input = vec!["--input", path.to_str().unwrap()];
    with_input.extend(options);
    let text = generate(&golden("llama"), &with_input);
    let found: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), 3);
    for (index, line) in found.iter().enumerate() {
        assert_eq!(line["user"], format!("u{index}"));
        assert!(["stop", "length"].contains(&line["finish"].as_str().unwrap()));
    }
    let mut single = vec!["--prompt", prompts[0], "--json"];
    single.extend(options);
    let single: Value = serde_json::from_str(&generate(&golden("llama"), &single)).unwrap();
    assert_eq!(
        (&single["ids"], &single["text"]),
        (&found[0]["ids"], &found[0]["text"])
    );
}

#[test]
fn seeds_repeat_and_differ() {
    let draw = |seed: &str| {
        generate(
            &golden("gpt2"),
            &["--prompt", "the user", "--temperature", "1", "--seed", seed],
        )
    };
    assert_eq!(draw("1"), draw("1"));
    assert_ne!(draw("1"), draw("2"));
}

#[test]
fn a_stop_string_ends_the_text() {
    let Some(dir) = shared_model("stories260k") else {
        return;
    };
    let text = generate(
        &dir,
        &["--prompt", "Once upon a time", "--stop", "Lily", "--json"],
    );
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (
            json["text"].as_str().unwrap(),
            json["finish"].as_str().unwrap()
        ),
        (", there was a little girl named ", "stop")
    );
}

#[test]
fn the_log_begins_with_backend_device_and_dtype_and_quiet_is_quiet() {
    let run = |options: &[&str]| {
        let mut command = e2p([
            "generate",
            "--prompt",
            "a",
            "--max-new-tokens",
            "1",
            "--threads",
            "2",
            "--device",
            "cpu",
            "--backbone",
        ]);
        let output = command.arg(golden("llama")).args(options).output().unwrap();
        assert_success(&output);
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        run(&[]).lines().next().unwrap().trim(),
        "INFO backend flex, device cpu, 2 threads, dtype f32"
    );
    assert!(run(&["--dtype", "bf16"]).contains("dtype bf16"));
    assert_eq!(run(&["--quiet"]), "");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    fs::write(&path, "{\"prompt\": \"the user\"}\n".repeat(600)).unwrap();
    let mut command = e2p(["generate", "--quiet", "--max-new-tokens", "2", "--backbone"]);
    command
        .arg(golden("llama"))
        .arg("--input")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 16]).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap()
        ),
        (Some(0), String::new())
    );
}
