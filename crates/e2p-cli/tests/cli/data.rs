//! `e2p prepare`, `embed interactions` and `inspect` on a data directory, as a person types them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{e2p, shown, stdout};

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
