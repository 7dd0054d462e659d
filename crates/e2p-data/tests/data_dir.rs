//! The data directory: what is written is read, and nothing half-written is left behind.
#![allow(clippy::unwrap_used)]

use std::fs;

use e2p_data::{
    DataDir, DataDirWriter, DatasetInfo, Example, ItemRecord, Message, Overwrite, Prompt, Result,
    Split, UserRecord,
};

fn example(user: &str, target: &str) -> Example {
    Example {
        user: user.into(),
        prompt: Prompt::Chat(vec![
            Message::user("Hi."),
            Message::assistant("Hello."),
            Message::user("And?"),
        ]),
        target: target.into(),
        candidates: vec!["No.".into(), target.into()],
        item: None,
    }
}

fn write(path: &std::path::Path, overwrite: Overwrite) -> Result<DataDir> {
    let mut writer = DataDirWriter::create(path, overwrite)?;
    writer.example(Split::Train, &example("u1", "Yes."))?;
    writer.example(Split::Train, &example("u2", "\"Maybe\"\n… Ü"))?;
    let text = Example {
        prompt: Prompt::Text("Recommend:".into()),
        candidates: vec![],
        ..example("u1", "Blur")
    };
    writer.example(
        Split::Test,
        &Example {
            item: Some("7".into()),
            ..text
        },
    )?;
    writer.user(&UserRecord {
        user: "u1".into(),
        profile: vec!["I like tea.".into()],
        ..Default::default()
    })?;
    writer.item(&ItemRecord {
        item: "7".into(),
        text: "Blur".into(),
    })?;
    writer.finish(DatasetInfo {
        name: "Ours".into(),
        task: "jsonl".into(),
        ..Default::default()
    })
}

#[test]
fn what_is_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let written = write(&path, Overwrite::Refuse).unwrap();
    let data = DataDir::open(&path).unwrap();
    assert_eq!(data.info(), written.info());
    let counts = data.info().counts;
    assert_eq!(
        (
            counts.train,
            counts.valid,
            counts.test,
            counts.users,
            counts.items
        ),
        (2, 0, 1, 1, 1)
    );
    let train: Vec<Example> = data
        .examples(Split::Train)
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(
        train,
        [example("u1", "Yes."), example("u2", "\"Maybe\"\n… Ü")]
    );
    assert_eq!(data.examples(Split::Valid).unwrap().count(), 0);
    let item = data
        .examples(Split::Test)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .item;
    assert_eq!(item.as_deref(), Some("7"));
    data.validate().unwrap();
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no temporary directory is left"
    );
}

#[test]
fn the_json_is_that_of_the_documentation() {
    let directory = tempfile::tempdir().unwrap();
    let data = write(&directory.path().join("data"), Overwrite::Refuse).unwrap();
    let test = fs::read_to_string(data.path().join("test.jsonl")).unwrap();
    assert_eq!(
        test,
        "{\"user\":\"u1\",\"prompt\":\"Recommend:\",\"target\":\"Blur\",\"item\":\"7\"}\n"
    );
    let train = fs::read_to_string(data.path().join("train.jsonl")).unwrap();
    let chat =
        r#""prompt":[{"role":"user","content":"Hi."},{"role":"assistant","content":"Hello."},"#;
    assert!(train.lines().next().unwrap().contains(chat), "{train}");
    assert!(
        train
            .lines()
            .next()
            .unwrap()
            .ends_with(r#""target":"Yes.","candidates":["No.","Yes."]}"#),
        "{train}"
    );
    let users = fs::read_to_string(data.path().join("users.jsonl")).unwrap();
    assert_eq!(
        users,
        "{\"user\":\"u1\",\"profile\":[\"I like tea.\"],\"history\":[]}\n"
    );
}

#[test]
fn an_occupied_output_is_refused_or_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    fs::create_dir(&path).unwrap();
    write(&path, Overwrite::Refuse).expect("an empty directory may be filled");
    fs::write(path.join("stray.txt"), "x").unwrap();
    let error = write(&path, Overwrite::Refuse).unwrap_err();
    assert!(
        error.to_string().ends_with("exists and is not empty"),
        "{error}"
    );
    write(&path, Overwrite::Replace).unwrap();
    assert!(!path.join("stray.txt").exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer =
        DataDirWriter::create(directory.path().join("data"), Overwrite::Refuse).unwrap();
    writer.example(Split::Train, &example("u", "Yes.")).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn damage_is_named_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let data = write(&path, Overwrite::Refuse).unwrap();
    let train = path.join("train.jsonl");
    let whole = fs::read_to_string(&train).unwrap();
    let error = || data.validate().unwrap_err().to_string();

    let first = whole.lines().next().unwrap();
    fs::write(&train, format!("{first}\n")).unwrap();
    assert!(
        error().ends_with("has 1 lines, expected 2 by `dataset.json`"),
        "{}",
        error()
    );
    fs::write(&train, &whole[..whole.len() - 4]).unwrap();
    assert!(
        error().contains("line 2, column") && error().contains("cut off"),
        "{}",
        error()
    );
    fs::write(
        &train,
        whole.replace("\"No.\",\"Yes.\"", "\"No.\",\"Never.\""),
    )
    .unwrap();
    assert!(
        error()
            .contains("line 1, column 146: found 2 candidates without the target in `candidates`"),
        "{}",
        error()
    );
    fs::write(&train, whole.replace("\"user\":\"u2\"", "\"user\":2")).unwrap();
    assert!(
        error().contains("line 2, column 9: found the number `2`, expected a text"),
        "{}",
        error()
    );
    fs::write(
        &train,
        whole.replace("\"target\":\"Yes.\"", "\"target\":\" \""),
    )
    .unwrap();
    assert!(
        error().contains("line 1, column 130: found an empty text in `target`"),
        "{}",
        error()
    );
    fs::remove_file(&train).unwrap();
    assert!(error().contains("cannot open"), "{}", error());

    let info = path.join("dataset.json");
    let text = fs::read_to_string(&info).unwrap();
    fs::write(
        &info,
        text.replace("\"format_version\": 1", "\"format_version\": 99"),
    )
    .unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has format version 99, expected 1"),
        "{error}"
    );
    fs::remove_file(&info).unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is not a data directory: it has no `dataset.json`"),
        "{error}"
    );
}
