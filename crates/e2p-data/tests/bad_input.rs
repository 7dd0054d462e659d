//! Every way in which an input can be bad ends in an error that names file, line and column, and
//! leaves nothing half-written.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{DataError, Input, MAX_PROBLEMS, PrepareOptions, UserEmbeddings};
use files::{files, prepared, refusal};
use proptest::prelude::*;

fn persona_chat(name: &str, text: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let source = PersonaChat::new(vec![Input::new(&path)], PersonaChatOptions::default());
    match source {
        Ok(source) => refusal(&source),
        Err(error) => error.to_string(),
    }
}

#[test]
fn persona_chat_names_what_is_wrong() {
    let cases: &[(&str, &[u8], &str)] = &[
        // Truncated before the first turn, and in its middle.
        ("a.txt", b"1 your persona: i like tea .\n", "line 1, column 1: found the end of the file"),
        ("a.txt", b"1 hi .\n", "line 1, column 1: found 1 tab-separated fields, expected two or four"),
        // Another delimiter, another encoding, no numbers.
        ("a.txt", b"1 hi .|hello .\n", "line 1, column 1: found 1 tab-separated fields"),
        ("a.txt", b"1 caf\xE9 ?\tyes .\n", "line 1, column 6: found byte 0xE9, expected UTF-8 text"),
        ("a.txt", b"\xFF\xFE1\x00 \x00", "line 1, column 1: found a UTF-16 byte order mark"),
        ("a.txt", b"1 hi .\thello .\nhi .\thello .\n", "line 2, column 1: found `hi"),
        ("a.txt", b"1 hi .\thello .\n3 bye .\tbye .\n", "line 2, column 1: found line number 3, expected 2 or, for a new episode, 1"),
        // An episode without turns, a reply that is empty, candidates without the gold.
        ("a.txt", b"1 your persona: i am .\n1 your persona: i was .\n2 hi .\thi .\n", "line 2, column 1: found a new episode, expected a turn of the one before"),
        ("a.txt", b"1 hi .\t \n", "line 1, column 2 (`target`): found an empty text"),
        ("a.txt", b"1 hi .\thello .\t\tbye .|no .\n", "line 1, column 4 (`candidates`): found 2 candidates without the target"),
        ("a.csv", b",Persona,chat\n0,i like tea.,hi\n", "line 2, column 3 (`chat`): found 1 utterances"),
        ("a.csv", b",Persona\n0,i like tea.\n", "line 1, column 1: found columns ``, `Persona`, expected a column `chat`"),
        ("a.csv", b",Persona,chat\n0,i like tea.,\"hi\nhello", "line 2, column 3: found a quoted cell that begins here"),
        ("a.json", b"{\"train\": [{\"personality\": [\"i\"], \"utterances\": []}]}", "line 1, column 12: found no utterances in conversation 1 of `train`"),
        ("a.json", b"{\"train\": [{\"personality\": [\"i\"],\n\"utterances\": [{\"history\": [\"a\"], \"candidates\": []}]}]}", "found no candidates in conversation 1"),
        ("a.json", b"{\"train\": [{\"personality\": [\"i\"],\n\"utterances\": 3}]}", "line 2, column 15: found the number `3`, expected a list"),
        ("a.json", b"{\"train\": [{\"personality\": [\"i", "line 1, column 31: found the end of the file"),
        ("a.bin", b"\x7fELF", "is not an input of `personachat`"),
    ];
    for (name, text, expected) in cases {
        let message = persona_chat(name, text);
        assert!(
            message.contains(name) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn twenty_problems_are_listed_and_then_it_ends() {
    let lines = "{\"user\": 1}\n".repeat(100);
    let directory = files(&[("a.jsonl", &lines)]);
    let source = Jsonl::new(
        vec![Input::new(directory.path().join("a.jsonl"))],
        JsonlOptions::default(),
    );
    let Err(DataError::BadInput {
        file,
        problems,
        more,
    }) = prepared(&source, &PrepareOptions::default())
    else {
        panic!("no error")
    };
    assert!(file.ends_with("a.jsonl") && more);
    let lines: Vec<u64> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, (1..=MAX_PROBLEMS as u64).collect::<Vec<_>>());
}

/// What was prepared before stays as it is when the new input is bad.
#[test]
fn a_bad_input_replaces_nothing() {
    let directory = files(&[
        (
            "good.jsonl",
            "{\"user\": \"a\", \"prompt\": \"p\", \"target\": \"t\"}\n",
        ),
        (
            "bad.jsonl",
            "{\"user\": \"a\", \"prompt\": \"p\", \"target\": \"t\"}\nnonsense\n",
        ),
    ]);
    let out = directory.path().join("data");
    let run = |name: &str| {
        let source = Jsonl::new(
            vec![Input::new(directory.path().join(name))],
            JsonlOptions::default(),
        );
        let options = PrepareOptions {
            overwrite: e2p_data::Overwrite::Replace,
            ..Default::default()
        };
        e2p_data::prepare(&source, &out, &options, &mut ())
    };
    run("good.jsonl").unwrap();
    let before = fs::read(out.join("dataset.json")).unwrap();
    let message = run("bad.jsonl").unwrap_err().to_string();
    assert!(
        message.contains("line 2, column 2: found `nonsense`, expected a JSON object"),
        "{message}"
    );
    assert_eq!(fs::read(out.join("dataset.json")).unwrap(), before);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        3,
        "a temporary directory is left"
    );
}

#[test]
fn missing_and_empty_inputs_are_named() {
    let source = Jsonl::new(vec![Input::new("no/such.jsonl")], JsonlOptions::default());
    let message = refusal(&source);
    assert!(message.contains("cannot open `no/such.jsonl`"), "{message}");
    let directory = files(&[("a.jsonl", "\n\n")]);
    let source = Jsonl::new(
        vec![Input::new(directory.path().join("a.jsonl"))],
        JsonlOptions::default(),
    );
    assert_eq!(
        refusal(&source),
        "the input of `jsonl` gives no example, expected at least one"
    );
    let compressed = files(&[]);
    fs::write(compressed.path().join("a.jsonl"), b"\x1F\x8B\x08\x00").unwrap();
    let source = Jsonl::new(
        vec![Input::new(compressed.path().join("a.jsonl"))],
        JsonlOptions::default(),
    );
    let message = refusal(&source);
    assert!(
        message.contains("cannot read") && message.contains("a.jsonl"),
        "{message}"
    );
    fs::write(compressed.path().join("a.jsonl"), b"PK\x03\x04").unwrap();
    assert!(refusal(&source).contains("line 1, column 1: found a zip archive"));
    fs::write(compressed.path().join("a.jsonl"), b"PAR1").unwrap();
    assert!(refusal(&source).contains("line 1, column 1: found a Parquet file"));
}

/// 100 MB without a line break, in every format: refused without being held in memory.
#[test]
fn a_line_of_100_megabytes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, before: &str, after: &str| {
        let mut file = BufWriter::new(File::create(path(name)).unwrap());
        file.write_all(before.as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 16];
        for _ in 0..1600 {
            file.write_all(&block).unwrap();
        }
        file.write_all(after.as_bytes()).unwrap();
    };
    let mut before = peak_kib();
    let mut check = |message: String, expected: &str| {
        assert!(message.contains(expected), "{message}");
        // The limit of 16 MiB, in a few copies and buffers.
        assert!(
            peak_kib() - before < 90 << 10,
            "{} KiB more",
            peak_kib() - before
        );
        before = peak_kib();
    };
    let file = |name: &str| vec![Input::new(path(name))];
    write("a.jsonl", "{\"user\": \"a\", \"target\": \"", "\"}\n{}\n");
    let jsonl = Jsonl::new(file("a.jsonl"), JsonlOptions::default());
    check(refusal(&jsonl), "line 1, column 16777217: found 104857");
    write("a.txt", "1 ", "\thi\n");
    let parlai = PersonaChat::new(file("a.txt"), PersonaChatOptions::default()).unwrap();
    check(refusal(&parlai), "line 1, column 16777217: found 104857");
    write("a.csv", ",Persona,chat\n0,\"", "\n");
    let csv = PersonaChat::new(file("a.csv"), PersonaChatOptions::default()).unwrap();
    check(refusal(&csv), "line 2, column 16777217: found 104857");
    write("a.json", "{\"train\": [\"", "\"]}");
    let json = PersonaChat::new(file("a.json"), PersonaChatOptions::default()).unwrap();
    check(refusal(&json), "line 1, column 12: found 104857");
    write("e.csv", "user,item\na,", "\n");
    let events = Interactions::new(vec![path("e.csv")], InteractionsOptions::default());
    check(refusal(&events), "line 2, column 16777217: found 104857");
    write("u.jsonl", "{\"user\": \"a\", \"embedding\": [\"", "\"]}");
    check(
        UserEmbeddings::open(path("u.jsonl"))
            .unwrap_err()
            .to_string(),
        "104857",
    );
}

/// The most memory that this process ever had, where the system tells.
fn peak_kib() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lines made of the format's own pieces, in any order: an error or a valid directory, never a
    /// panic.
    #[test]
    fn any_dialogue_text_is_survived(lines in prop::collection::vec("([1-4] |)(your persona: |partner's persona: |)[a-c .]{0,4}(\t[a-c ]{0,3}){0,4}(\\|[a-c])?", 0..8)) {
        let directory = files(&[("a.txt", &lines.join("\n"))]);
        let path = directory.path().join("a.txt");
        let source = PersonaChat::new(vec![Input::new(&path)], PersonaChatOptions::default()).unwrap();
        let _ = prepared(&source, &PrepareOptions::default());
    }

    #[test]
    fn any_dialogue_table_is_survived(header in "(,Persona,chat|user 1 personas,user 2 personas,Best Generated Conversation)", cells in "[a\",\n:U12ser ]{0,60}") {
        let directory = files(&[("a.csv", &format!("{header}\n{cells}"))]);
        let source = PersonaChat::new(vec![Input::new(directory.path().join("a.csv"))], PersonaChatOptions::default()).unwrap();
        let _ = prepared(&source, &PrepareOptions::default());
    }
}
