//! Parquet of every type, list and codec that people's writers give: read, or refused by file, row,
//! column and the type found. The files are written by `fixtures/tables.py`.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use std::fs;
use std::path::{Path, PathBuf};

use e2p_data::interactions::{Columns, Interactions, InteractionsOptions};
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::{DataError, Input, PrepareOptions, Prompt, Split, UserEmbeddings, UserRecord};
use files::{examples, prepared, refusal};

fn table(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tables")
        .join(name)
}

fn events(name: &str, columns: &[(&str, &str)]) -> Interactions {
    let mut names = Columns::default();
    for (field, column) in columns {
        let name = match *field {
            "user" => &mut names.user,
            "item" => &mut names.item,
            "weight" => &mut names.weight,
            "time" => &mut names.time,
            "text" => &mut names.text,
            _ => &mut names.tags,
        };
        (*column).clone_into(name);
    }
    let options = InteractionsOptions {
        columns: names,
        ..InteractionsOptions::default()
    };
    Interactions::new(vec![table(name)], options)
}

/// The only user, and the item of the test.
fn user_and_test(source: &Interactions) -> (UserRecord, String) {
    let (_out, data) = prepared(source, &PrepareOptions::default()).unwrap();
    let user = data.users().unwrap().next().unwrap().unwrap();
    let test = examples(&data, Split::Test).remove(0);
    (user, test.item.unwrap())
}

#[test]
fn weights_of_every_numeric_type_are_read() {
    for column in [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "decimal5",
        "decimal15",
        "decimal30",
        "weight_text",
    ] {
        let source = events("typed.parquet", &[("weight", column), ("time", "date32")]);
        let (user, test) = user_and_test(&source);
        assert_eq!(user.weights, [5.0, 4.0, 3.0], "{column}");
        assert_eq!(
            (user.history, test.as_str()),
            (vec!["a".into(), "b".into(), "c".into()], "e")
        );
    }
}

#[test]
fn times_of_every_unit_order() {
    for column in [
        "date32",
        "date64",
        "timestamp_s",
        "timestamp_ms",
        "timestamp_us",
        "timestamp_ns",
        "timestamp_s_zone",
        "timestamp_ms_zone",
        "timestamp_us_zone",
        "timestamp_ns_zone",
        "date_text",
    ] {
        let source = events("typed.parquet", &[("time", column)]);
        let (user, test) = user_and_test(&source);
        assert_eq!(
            (user.history, test.as_str()),
            (vec!["a".into(), "b".into(), "c".into()], "e"),
            "{column}"
        );
        // The same moment as the date that one types, so that splits by time mean the same.
        let rule = e2p_data::SplitRule::Time {
            valid_from: e2p_data::parse_time("2024-05-04").unwrap(),
            test_from: e2p_data::parse_time("2024-05-05").unwrap(),
        };
        let mut options = PrepareOptions::default();
        options.split.rule = rule;
        let by_time = InteractionsOptions {
            hold_out: e2p_data::interactions::HoldOut::Temporal,
            columns: Columns {
                time: column.to_owned(),
                ..Columns::default()
            },
            ..InteractionsOptions::default()
        };
        let source = Interactions::new(vec![table("typed.parquet")], by_time);
        let (_out, data) = prepared(&source, &options).unwrap();
        let counts = Split::ALL.map(|split| examples(&data, split).len());
        assert_eq!(counts, [3, 1, 1], "{column}");
    }
    let (user, test) = user_and_test(&events("int96.parquet", &[]));
    assert_eq!((user.history.len(), test.as_str()), (3, "e"));
}

#[test]
fn ids_are_read_in_every_encoding() {
    for (column, first) in [
        ("large_string", "a"),
        ("string_view", "a"),
        ("dictionary", "a"),
        ("binary", "a"),
        ("id_int8", "1"),
        ("id_uint64", "18446744073709551615"),
        ("id_float64", "1"),
    ] {
        let source = events("typed.parquet", &[("item", column), ("time", "date32")]);
        assert_eq!(user_and_test(&source).0.history[0], first, "{column}");
    }
}

#[test]
fn other_types_are_refused_by_name() {
    for (field, column, found) in [
        (
            "weight",
            "bool",
            "row 1, column `bool`: found `true`, expected a finite number",
        ),
        (
            "weight",
            "date32",
            "row 1, column `date32`: found a time, expected a finite number",
        ),
        (
            "weight",
            "list",
            "row 1, column `list`: found a list, expected a finite number",
        ),
        (
            "weight",
            "object",
            "column `object`: found an object, expected values",
        ),
        (
            "weight",
            "map",
            "column `map`: found a map, expected values",
        ),
        (
            "weight",
            "bytes",
            "row 1, column `bytes`: found bytes that are not UTF-8 text",
        ),
        (
            "time",
            "bool",
            "row 1, column `bool`: found `true`, expected a whole number or a date",
        ),
        (
            "time",
            "time_of_day",
            "row 1, column `time_of_day`: found a time of day",
        ),
        (
            "time",
            "dictionary",
            "row 1, column `dictionary`: found `a`, expected a whole number or a date",
        ),
        (
            "item",
            "bool",
            "row 1, column `bool`: found `true`, expected an item id",
        ),
        (
            "item",
            "date32",
            "row 1, column `date32`: found a time, expected an item id",
        ),
        (
            "item",
            "id_float64_large",
            "the floating-point number 9007199254740992, whose last digits are lost",
        ),
        (
            "user",
            "list",
            "row 1, column `list`: found a list, expected a user id",
        ),
        (
            "user",
            "null",
            "row 1, column `null`: found nothing, expected a user id",
        ),
        (
            "text",
            "bool",
            "row 1, column `bool`: found `true`, expected a text",
        ),
        (
            "tags",
            "bool",
            "row 1, column `bool`: found `true`, expected tags",
        ),
    ] {
        let message = refusal(&events("typed.parquet", &[(field, column)]));
        assert!(
            message.contains("typed.parquet") && message.contains(found),
            "{field} {column}: {message}"
        );
    }
}

#[test]
fn a_column_of_nothing_is_absent_and_counted() {
    let source = events("typed.parquet", &[("weight", "null"), ("time", "date32")]);
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    assert_eq!(
        data.info().notes["interactions without a weight, taken as 1"],
        5
    );
    assert!(
        !data
            .info()
            .notes
            .contains_key("interactions without a time")
    );
    let source = events("typed.parquet", &[("time", "null")]);
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    assert_eq!(data.info().notes["interactions without a time"], 5);
}

#[test]
fn codecs_are_read_or_named() {
    for name in [
        "codec_none",
        "codec_snappy",
        "codec_gzip",
        "codec_zstd",
        "codec_lz4",
        "pages_1",
        "pages_2",
        "spark",
    ] {
        let (user, _) = user_and_test(&events(&format!("{name}.parquet"), &[]));
        let total: f32 = user.weights.iter().sum();
        assert!(
            user.weights.len() == 3 && total >= 6.0,
            "{name}: {:?}",
            user.weights
        );
    }
    let message = refusal(&events("codec_brotli.parquet", &[]));
    assert!(
        message.contains("found compression with Brotli, expected Snappy, gzip, zstd, LZ4"),
        "{message}"
    );
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("by_year.parquet");
    fs::create_dir_all(nested.join("year=2024")).unwrap();
    let source = Interactions::new(vec![nested], InteractionsOptions::default());
    assert!(refusal(&source).contains("year=2024"));
}

#[test]
fn a_file_of_items_needs_no_users() {
    let source = Interactions::new(
        vec![table("typed.parquet"), table("items.parquet")],
        InteractionsOptions {
            target: "{text}: {tags}".to_owned(),
            ..InteractionsOptions::default()
        },
    );
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    let items: Vec<String> = data
        .items()
        .unwrap()
        .map(|item| item.unwrap().text)
        .collect();
    assert_eq!(items, ["A: x|y, z", "B", "C", "D: w", "E"]);
}

#[test]
fn lists_of_every_kind_are_vectors() {
    let numbers = [
        "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
        "uint32", "uint64", "large", "fixed", "decimal",
    ];
    for name in numbers {
        let users = UserEmbeddings::open(table(&format!("vectors_{name}.parquet"))).unwrap();
        assert_eq!(users.ids().collect::<Vec<_>>(), ["x", "y", "z"], "{name}");
        assert_eq!(*users.get("y").unwrap(), [5.0, 6.0, 7.0, 8.0], "{name}");
    }
    for (name, expected) in [
        (
            "null",
            "row 2: found nothing in `embedding`, expected a list of numbers",
        ),
        ("hole", "row 2: found nothing at position 2 in `embedding`"),
        ("empty", "row 2: found 0 numbers, expected 4 as in row 1"),
        (
            "text",
            "row 1: found the text `[1, 2]`, not a list in `embedding`",
        ),
        (
            "texts",
            "row 1: found the text `1` at position 1 in `embedding`",
        ),
        ("number", "row 1: found the number `1` in `embedding`"),
        (
            "nested",
            "found a list of lists, or of objects that hold more than values in `embedding`",
        ),
        ("flags", "row 1: found `true` at position 1 in `embedding`"),
    ] {
        let error = UserEmbeddings::open(table(&format!("vectors_{name}.parquet"))).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn rows_of_hugging_face_are_lines() {
    let open = |name: &str| {
        let input = Input::parse(&format!("train={}", table(name).display()));
        Jsonl::new(vec![input], JsonlOptions::default())
    };
    let (_out, data) = prepared(&open("chats.parquet"), &PrepareOptions::default()).unwrap();
    let chats = examples(&data, Split::Train);
    assert_eq!(
        (chats[0].user.as_str(), chats[0].target.as_str()),
        ("7", "Hello.")
    );
    let Prompt::Chat(messages) = &chats[1].prompt else {
        panic!("{:?}", chats[1].prompt)
    };
    let roles: Vec<&str> = messages
        .iter()
        .map(|message| message.role.as_str())
        .collect();
    assert_eq!(
        (roles, chats[1].target.as_str()),
        (vec!["system", "user"], "No.")
    );
    let (_out, data) = prepared(&open("prompts.parquet"), &PrepareOptions::default()).unwrap();
    let prompts = examples(&data, Split::Train);
    assert_eq!(
        (prompts[0].target.as_str(), prompts[0].candidates.len()),
        ("2", 2)
    );
    let message = refusal(&open("typed.parquet"));
    assert!(
        message.contains("row 1, column `user`: found a user and nothing else"),
        "{message}"
    );
}

/// Sizes are what the file makes of little: a row is held, twenty names of the longest are not.
#[test]
fn what_is_small_on_disk_and_large_in_memory_is_bounded() {
    let users = UserEmbeddings::open(table("zeros.parquet")).unwrap();
    assert_eq!((users.len(), users.dim()), (4, 100_000));
    let mut options = PrepareOptions {
        max_line_bytes: 1000,
        ..PrepareOptions::default()
    };
    let Err(error) = prepared(&events("names.parquet", &[]), &options) else {
        panic!("read")
    };
    let expected =
        "row 1, column `text`: found 100000 bytes, expected at most 1000 (`--max-line-bytes`)";
    assert!(error.to_string().contains(expected), "{error}");
    options.max_line_bytes = 100_000;
    prepared(&events("names.parquet", &[]), &options).unwrap();
}

/// Files with every fourth byte changed, one at a time, or cut: an error that names it, or a table, never a panic.
#[test]
fn a_damaged_file_is_an_error() {
    std::panic::set_hook(Box::new(|info| {
        assert!(e2p_data::is_catching_panics(), "{info}");
    }));
    let directory = tempfile::tempdir().unwrap();
    let (mut errors, mut changed) = (0, 0);
    for name in [
        "codec_snappy",
        "codec_gzip",
        "pages_2",
        "int96",
        "vectors_float32",
        "vectors_fixed",
        "chats",
    ] {
        let whole = fs::read(table(&format!("{name}.parquet"))).unwrap();
        let path = directory.path().join(format!("{name}.parquet"));
        for at in (0..whole.len()).step_by(4) {
            let mut damaged = whole.clone();
            damaged[at] ^= [0x01, 0x80, 0xFF][at / 4 % 3];
            if at % 28 == 0 {
                damaged.truncate(at);
            }
            fs::write(&path, &damaged).unwrap();
            changed += 1;
            let error = if name.starts_with("vectors") {
                UserEmbeddings::open(&path).err()
            } else if name == "chats" {
                let input = Input::new(&path);
                prepared(
                    &Jsonl::new(vec![input], JsonlOptions::default()),
                    &PrepareOptions::default(),
                )
                .err()
            } else {
                let source = Interactions::new(vec![path.clone()], InteractionsOptions::default());
                prepared(&source, &PrepareOptions::default()).err()
            };
            if let Some(error) = error {
                let nothing = matches!(error, DataError::NothingLeft { .. });
                assert!(nothing || error.to_string().contains(name), "{error}");
                errors += 1;
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(errors * 2 > changed, "{errors} of {changed}");
}
