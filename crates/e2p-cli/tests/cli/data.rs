//! `e2p prepare`, `embed interactions` and `inspect` on a data directory, as a person types them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2p_data::UserEmbeddings;
use serde_json::{Value, json};

use crate::support::{e2p, golden, shared_model, shown, stdout};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../e2p-data/tests/fixtures")
        .join(name)
}

fn prepare(task: &str, input: &Path, out: &Path, more: &[&str]) -> String {
    let mut command = e2p(["prepare", task, "--input"]);
    command.arg(input).arg("--out").arg(out).args(more);
    stdout(&mut command)
}

#[test]
fn every_source_states_what_its_owners_ask() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.jsonl");
    fs::write(
        &own,
        "{\"user\": 1, \"prompt\": \"p\", \"target\": \"t\"}\n",
    )
    .unwrap();
    let about = [
        "--licence",
        "ours alone",
        "--citation",
        "our paper",
        "--name",
        "Ours",
    ];
    for (task, input, more, expected) in [
        (
            "pens",
            fixture("pens_world"),
            [].as_slice(),
            [
                "pens",
                "Microsoft Research License Terms",
                "ACL 2021",
                "redistributed",
            ],
        ),
        (
            "lamp",
            fixture("lamp2_world"),
            &[],
            ["lamp-2", "CC BY-NC-SA 4.0", "2304.11406", "Non-commercial"],
        ),
        (
            "jsonl",
            own,
            &about,
            ["jsonl", "ours alone", "our paper", "Ours"],
        ),
    ] {
        let out = dir.path().join(task);
        let text = prepare(task, &input, &out, more);
        let inspected = stdout(e2p(["inspect"]).arg(&out));
        for text in [text, inspected] {
            for word in expected {
                assert!(text.contains(word), "{task}: {word} is missing in\n{text}");
            }
        }
    }
}

#[test]
fn a_world_of_pens_becomes_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let (data, users) = (
        dir.path().join("data"),
        dir.path().join("users.safetensors"),
    );
    let line = prepare(
        "pens",
        &fixture("pens_world"),
        &data,
        &[
            "--json",
            "--keep-duplicates",
            "--body-words",
            "6",
            "--prompt",
            "{body} =",
        ],
    );
    let info: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&info["task"], &info["counts"]["test"]),
        (&Value::from("pens"), &Value::from(119))
    );
    let first = fs::read_to_string(data.join("test.jsonl")).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let prompt = first["prompt"].as_str().unwrap();
    assert!(
        prompt.starts_with("In ") && prompt.ends_with(" =") && prompt.split(' ').count() == 7,
        "{prompt}"
    );
    let mut embed = e2p([
        "embed",
        "interactions",
        "--dim",
        "8",
        "--iterations",
        "2",
        "--data",
    ]);
    let text = stdout(embed.arg(&data).arg("--out").arg(&users));
    assert!(text.contains("210 users, 160 items"), "{text}");
    let inspected = stdout(e2p(["inspect"]).arg(&users));
    assert!(
        inspected.contains("210") && inspected.contains("user embeddings"),
        "{inspected}"
    );
}

#[test]
fn splits_go_by_time_and_columns_have_other_names() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("plays.csv"), dir.path().join("data"));
    fs::write(&input, "who,item,time\na,x,2024-01-01\na,y,2024-02-01\na,z,2024-03-01\nb,x,2024-01-02\nb,z,2024-03-02\n").unwrap();
    let more = [
        "--column",
        "user=who",
        "--valid-from",
        "2024-02-01",
        "--test-from",
        "2024-03-01",
        "--json",
    ];
    let info: Value = serde_json::from_str(&prepare("interactions", &input, &out, &more)).unwrap();
    let counts = ["train", "valid", "test"].map(|split| info["counts"][split].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 2]);
}

#[test]
fn bad_input_is_listed_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("own.jsonl"), dir.path().join("data"));
    fs::write(&input, "{\"user\": \"a\", \"prompt\": \"p\", \"target\": \"t\", \"candidates\": [\"x\"]}\n{\"user\": \"a\"}\n").unwrap();
    let mut command = e2p(["prepare", "jsonl", "--quiet", "--input"]);
    insta::assert_snapshot!(
        "prepare_bad_lines",
        shown(
            command.arg(&input).arg("--out").arg(&out),
            &[(dir.path(), "[DIR]")]
        )
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let mut command = e2p([
        "prepare",
        "jsonl",
        "--quiet",
        "--test-from",
        "soon",
        "--input",
    ]);
    insta::assert_snapshot!(
        "prepare_bad_time",
        shown(
            command.arg(&input).arg("--out").arg(&out),
            &[(dir.path(), "[DIR]")]
        )
    );
    let mut command = e2p([
        "prepare",
        "interactions",
        "--quiet",
        "--column",
        "usr=x",
        "--input",
    ]);
    insta::assert_snapshot!(
        "prepare_bad_column",
        shown(
            command.arg(&input).arg("--out").arg(&out),
            &[(dir.path(), "[DIR]")]
        )
    );
    let mut command = e2p(["prepare", "personachat", "--quiet", "--input"]);
    insta::assert_snapshot!(
        "prepare_unknown_input",
        shown(
            command.arg(&input).arg("--out").arg(&out),
            &[(dir.path(), "[DIR]")]
        )
    );
}

#[test]
fn the_help_of_prepare_names_every_task() {
    insta::assert_snapshot!("help_prepare", stdout(&mut e2p(["prepare", "--help"])));
}

#[test]
fn a_source_shows_and_takes_its_own_options_alone() {
    let help = stdout(&mut e2p(["prepare", "interactions", "--help"]));
    for foreign in [
        "--contract",
        "--history",
        "--body-words",
        "--pseudo-users",
        "--valid-from-train",
    ] {
        assert!(!help.contains(foreign), "{help}");
    }
    for own in [
        "--column",
        "--temporal",
        "--min-user-items",
        "--test-from",
        "--force",
        "--licence",
    ] {
        assert!(help.contains(own), "{own} is missing in\n{help}");
    }
    for (source, foreign) in [
        ("pens", "--contract"),
        ("personachat", "--body-words"),
        ("interactions", "--pseudo-users"),
        ("mind", "--pseudo-users"),
        ("jsonl", "--column"),
        ("lamp", "--train-targets"),
        ("personachat", "--test-from"),
    ] {
        let mut command = e2p([
            "prepare", source, "--input", "x", "--out", "y", foreign, "5",
        ]);
        let shown = shown(&mut command, &[]);
        assert!(
            shown.contains(&format!("unexpected argument '{foreign}'")),
            "{shown}"
        );
    }
}

#[test]
fn options_of_every_source_stand_before_or_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("train.jsonl"), dir.path().join("data"));
    fs::write(
        &input,
        "{\"user\": 1, \"prompt\": \"p\", \"target\": \"t\"}\n",
    )
    .unwrap();
    prepare("jsonl", &input, &out, &["--name", "First"]);
    let mut before = e2p(["prepare", "--force", "--name", "Second", "jsonl", "--input"]);
    let text = stdout(before.arg(&input).arg("--out").arg(&out));
    assert!(text.contains("Second (jsonl)"), "{text}");
    let mut ignored = e2p(["prepare", "jsonl", "--force", "--valid", "0.3", "--input"]);
    let shown = shown(ignored.arg(&input).arg("--out").arg(&out), &[]);
    assert!(
        shown.contains("option `valid` is 0.3, which decides nothing here"),
        "{shown}"
    );
}

/// A data directory of users with these texts as profiles.
fn profiles(dir: &Path, texts: impl IntoIterator<Item = String>) -> PathBuf {
    let (input, out) = (dir.join("profiles.jsonl"), dir.join("profiles"));
    let users = texts.into_iter().enumerate();
    let mut lines: String = users
        .map(|(user, text)| json!({"user": format!("u{user}"), "profile": text}).to_string() + "\n")
        .collect();
    lines += "{\"user\": \"nobody\", \"prompt\": \"p\", \"target\": \"t\"}\n";
    fs::write(&input, lines).unwrap();
    prepare("jsonl", &input, &out, &[]);
    out
}

#[test]
fn profile_text_becomes_the_vectors_of_sentence_transformers() {
    let Some(encoder) = shared_model("all-MiniLM-L6-v2") else {
        return;
    };
    let golden = fs::read_to_string(encoder.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let texts = cases
        .iter()
        .map(|case| case["text"].as_str().unwrap().to_owned());
    let (data, out) = (
        profiles(dir.path(), texts),
        dir.path().join("users.safetensors"),
    );
    let mut embed = e2p(["embed", "text", "--quiet", "--batch-size", "2", "--encoder"]);
    stdout(
        embed
            .arg(&encoder)
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(&out),
    );
    let users = UserEmbeddings::open(&out).unwrap();
    assert_eq!(users.len(), cases.len());
    for (user, case) in cases.iter().enumerate() {
        let found = users.get(&format!("u{user}")).unwrap();
        let expected = case["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap());
        let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
        for (found, expected) in found.iter().map(|v| f64::from(*v)).zip(expected) {
            (dot, a, b) = (
                dot + found * expected,
                a + found * found,
                b + expected * expected,
            );
        }
        let cosine = dot / (a * b).sqrt();
        assert!(cosine > 0.9999, "{cosine} of {}", case["text"]);
    }
}

#[test]
fn a_killed_embedding_goes_on_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let words = [
        "the user",
        "a letter",
        "hello",
        "some words more",
        "and the end",
    ];
    let texts = (0..6000).map(|user| format!("{} {user} {}", words[user % 5], words[user % 3]));
    let data = profiles(dir.path(), texts);
    let embed = |name: &str| {
        let mut command = e2p(["embed", "text", "--encoder"]);
        command.arg(golden("bert")).arg("--data").arg(&data);
        command.arg("--out").arg(dir.path().join(name));
        command
    };
    stdout(&mut embed("whole.safetensors"));
    let mut child = embed("killed.safetensors")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rows = dir.path().join("killed.partial.f32");
    while fs::metadata(&rows).map_or(0, |meta| meta.len()) == 0
        && child.try_wait().unwrap().is_none()
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(
        !child.wait().unwrap().success(),
        "it was done before it could be killed"
    );
    let resumed = shown(&mut embed("killed.safetensors"), &[]);
    assert!(resumed.contains("continuing after the"), "{resumed}");
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(bytes("killed.safetensors"), bytes("whole.safetensors"));
    assert_eq!(bytes("killed.ids.txt"), bytes("whole.ids.txt"));
    assert!(!rows.exists());
}

#[test]
fn a_language_model_embeds_profiles_too_and_cuts_what_is_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let long = "hello the end ".repeat(40);
    let data = profiles(
        dir.path(),
        ["hello".to_owned(), long.clone(), format!("{long} of words")],
    );
    let out = dir.path().join("users.safetensors");
    let mut embed = e2p(["embed", "text", "--quiet", "--encoder"]);
    embed.arg(golden("gpt2")).arg("--data").arg(&data);
    stdout(embed.arg("--out").arg(&out));
    let users = UserEmbeddings::open(&out).unwrap();
    assert!(users.space().starts_with("text:gpt2:"), "{}", users.space());
    let of = |user: &str| users.get(user).unwrap();
    assert_eq!(of("u0").len(), 24);
    // Longer than the context, and equal within it.
    assert_eq!(of("u1"), of("u2"));
    assert_ne!(of("u0"), of("u1"));
}
