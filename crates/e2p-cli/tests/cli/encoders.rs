//! `e2p embed text` on directories of sentence-transformers, and an adapter beside a base model.

use std::fs;
use std::path::{Path, PathBuf};

use e2p_data::UserEmbeddings;
use serde_json::{Value, json};

use crate::support::{e2p, golden, shown, stdout};

/// A data directory whose users have these texts as profile.
fn profiles(dir: &Path, texts: &[String]) -> PathBuf {
    let (input, out) = (dir.join("profiles.jsonl"), dir.join("profiles"));
    let users = texts.iter().enumerate();
    let mut lines: String = users
        .map(|(user, text)| json!({"user": format!("u{user}"), "profile": text}).to_string() + "\n")
        .collect();
    lines += "{\"user\": \"nobody\", \"prompt\": \"p\", \"target\": \"t\"}\n";
    fs::write(&input, lines).unwrap();
    let mut prepare = e2p(["prepare", "jsonl", "--quiet", "--input"]);
    stdout(prepare.arg(input).arg("--out").arg(&out));
    out
}

#[test]
fn vectors_are_those_of_sentence_transformers_whatever_its_modules() {
    for case in [
        "bert-cls",
        "distilbert",
        "dense-two",
        "pooling-three-old",
        "prompt-left-out",
        "qwen3-last",
    ] {
        let encoder = golden("encoders").join(case);
        let lines = fs::read_to_string(encoder.join("sentences_expected.jsonl")).unwrap();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let texts: Vec<String> = lines
            .iter()
            .map(|line| line["text"].as_str().unwrap().to_owned())
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let data = profiles(dir.path(), &texts);
        let out = dir.path().join("o.safetensors");
        let mut embed = e2p(["embed", "text", "--quiet", "--encoder"]);
        embed.arg(&encoder).arg("--data").arg(&data);
        stdout(embed.arg("--out").arg(&out));
        let users = UserEmbeddings::open(&out).unwrap();
        for (user, line) in lines.iter().enumerate() {
            let expected = line["embedding"].as_array().unwrap();
            let found = users.get(&format!("u{user}")).unwrap();
            assert_eq!(found.len(), expected.len(), "{case}");
            for (found, expected) in found.iter().zip(expected) {
                let off = (f64::from(*found) - expected.as_f64().unwrap()).abs();
                assert!(off < 1e-4, "{case} {}: off by {off}", line["text"]);
            }
        }
    }
}

#[test]
fn an_adapter_that_is_not_merged_ends_every_verb_that_reads_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(golden("llama")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(
        model.join("adapter_config.json"),
        r#"{"peft_type": "LORA"}"#,
    )
    .unwrap();
    let input = dir.path().join("in.jsonl");
    fs::write(&input, "{\"prompt\": \"a\", \"target\": \"b\"}\n").unwrap();
    let mut score = e2p(["score", "--backbone"]);
    score.arg(&model).arg("--input").arg(&input);
    let mut inspect = e2p(["inspect"]);
    inspect.arg(&model);
    for verb in [&mut score, &mut inspect] {
        let said = shown(verb, &[]);
        assert!(said.contains("merge_and_unload"), "{said}");
    }
}

#[test]
fn tensors_that_are_not_used_are_said_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = profiles(dir.path(), &["i keep bees".to_owned()]);
    let mut embed = e2p(["embed", "text", "--encoder"]);
    embed
        .arg(golden("encoders/roberta"))
        .arg("--data")
        .arg(&data);
    let said = shown(
        embed.arg("--out").arg(dir.path().join("o.safetensors")),
        &[],
    );
    assert!(said.contains("not used of"), "{said}");
    assert!(said.contains("`lm_head.bias`"), "{said}");
    assert!(said.contains("mean, at most 62 tokens"), "{said}");
}
