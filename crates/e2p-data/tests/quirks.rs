//! What public reports found in people's files: marks, quotes, packing, types, missing times. Each
//! is read as it was meant, or refused with the place and what was found.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use std::fs;
use std::io::Write;

use e2p_data::interactions::{HoldOut, Interactions, InteractionsOptions};
use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{DataDir, Input, PrepareOptions, Prompt, Split, UserEmbeddings};
use files::{examples, files, prepared, refusal, users};
use tempfile::TempDir;

fn events(texts: &[(&str, &str)]) -> (TempDir, Interactions) {
    let directory = files(texts);
    let paths = texts.iter().map(|(name, _)| directory.path().join(name));
    let source = Interactions::new(paths.collect(), InteractionsOptions::default());
    (directory, source)
}

fn read(texts: &[(&str, &str)]) -> (TempDir, DataDir) {
    let (_files, source) = events(texts);
    prepared(&source, &PrepareOptions::default()).unwrap()
}

fn items(data: &DataDir) -> Vec<(String, String)> {
    let items = data.items().unwrap().map(Result::unwrap);
    items.map(|item| (item.item, item.text)).collect()
}

fn held_out(data: &DataDir, user: &str) -> Vec<String> {
    let held_out = [Split::Valid, Split::Test].into_iter();
    let examples = held_out.flat_map(|split| examples(data, split));
    let own = examples.filter(|example| example.user == user);
    own.map(|example| example.item.unwrap()).collect()
}

const PLAYS: &str = "user,item,time\nu,a,9\nu,b,8\nu,c,7\nu,d,6\nv,a,5\nv,b,4\nv,c,3\n";

#[test]
fn one_missing_time_leaves_the_order_of_the_others() {
    let (_out, data) = read(&[("e.csv", &format!("{PLAYS}w,a,\n"))]);
    assert_eq!(held_out(&data, "u"), ["b", "a"]);
    assert_eq!(held_out(&data, "v"), ["b", "a"]);
    let note = "interactions without a time, taken as older than all others";
    assert_eq!(data.info().notes[note], 1);
    // Among the events of one user: what has no time is not held out, and no last item follows it.
    let (_out, data) = read(&[("e.csv", &format!("{PLAYS}u,x,\nu,y,\n"))]);
    assert_eq!(held_out(&data, "u"), ["b", "a"]);
    let (_out, data) = read(&[("e.csv", &format!("{PLAYS}w,a,\nw,b,\nw,c,3\n"))]);
    assert_eq!(held_out(&data, "w"), [""; 0]);
    let note = "users of whom nothing is held out, for the last items have no time";
    assert_eq!(data.info().notes[note], 1);
    let (_files, source) = events(&[("e.csv", &format!("{PLAYS}w,a,\n"))]);
    drop(source);
    let options = InteractionsOptions {
        hold_out: HoldOut::Temporal,
        ..InteractionsOptions::default()
    };
    let source = Interactions::new(vec![_files.path().join("e.csv")], options);
    assert!(refusal(&source).contains("temporal, while 1 of 8 events have no time"));
}

#[test]
fn what_is_beyond_a_second_orders_too() {
    let times = [".125", ".25", ".5", ".75"];
    let rows = times.iter().zip(["d", "c", "b", "a"]);
    let rows: String = rows
        .map(|(t, item)| format!("u,{item},2024-05-01T10:00:00{t}Z\n"))
        .collect();
    let (_out, data) = read(&[("e.csv", &format!("user,item,time\n{rows}"))]);
    assert_eq!(held_out(&data, "u"), ["b", "a"]);
}

#[test]
fn times_with_offsets_are_compared_in_utc() {
    let text = "user,item,time\nu,a,2024-05-01T12:00:00-05:00\nu,b,2024-05-01T15:00:00+02:00\n\
                u,c,2024-05-01T12:30:00Z\n";
    let (_out, data) = read(&[("e.csv", text)]);
    assert_eq!(held_out(&data, "u"), ["b", "a"]);
}

#[test]
fn values_of_json_are_read_or_refused() {
    let line = |rest: &str| format!("{{\"user\": \"u\", \"item\": \"a\", {rest}}}\n");
    for (rest, expected) in [
        (
            r#""weight": false"#,
            "column 28: found `false` in `weight`, expected a finite number",
        ),
        (
            r#""weight": {"$numberInt": "5"}"#,
            "found an object in `weight`",
        ),
        (r#""weight": [5]"#, "found a list in `weight`"),
        (r#""weight": -1"#, "found `-1` in `weight`"),
        (r#""weight": 1e39"#, "found `1e39` in `weight`"),
        (
            r#""time": {"$date": "2024-05-01"}"#,
            "found an object in `time`, expected a whole number or a date",
        ),
        (r#""time": true"#, "found `true` in `time`"),
        (r#""time": ["2024-05-01"]"#, "found a list in `time`"),
        (r#""time": "yesterday""#, "found `yesterday` in `time`"),
        (r#""text": {"en": "A"}"#, "found an object in `text`"),
        (r#""tags": {"a": 1}"#, "found an object in `tags`"),
        (r#""tags": [["a"]]"#, "found a list in a list in `tags`"),
        (r#""user": true"#, "found `true` in `user`"),
        (r#""item": {"$oid": "5"}"#, "found an object in `item`"),
        (r#""weight": NaN"#, "found `NaN`, which JSON does not have"),
        (r#""weight": 1, "#, "expected a JSON object"),
    ] {
        let (_files, source) = events(&[("e.jsonl", &line(rest))]);
        let message = refusal(&source);
        assert!(
            message.contains("e.jsonl") && message.contains(expected),
            "{message}"
        );
    }
    let (_files, source) = events(&[("e.jsonl", "[{\"user\": \"u\", \"item\": \"a\"}]\n")]);
    assert!(refusal(&source).contains("found a JSON list, expected one object a line"));
    let mut text = line(r#""weight": "2.5", "time": 3"#);
    text +=
        "{\"user\": 98765432109876543210987, \"item\": 18446744073709551617, \"weight\": null}\n";
    let (_out, data) = read(&[("e.jsonl", &text)]);
    let users = users(&data);
    assert_eq!(
        (users[0].weights[0], users[1].user.as_str()),
        (2.5, "98765432109876543210987")
    );
    assert_eq!(users[1].history, ["18446744073709551617"]);
    assert_eq!(
        data.info().notes["interactions without a weight, taken as 1"],
        1
    );
}

#[test]
fn lone_quotes_of_tabular_text_are_characters() {
    let text = "user\titem\ttext\tweight\nu\ta\t\"Heroes\t29\nu\tb\t12\" mixes\t3\nu\tc\t\"weird al\" yankovic\t2\n\
                u\td\t\"Said \"\"so\"\"\"\t1\nu\te\t\"\t1\n";
    let (_out, data) = read(&[("plays.tsv", text)]);
    let names: Vec<String> = items(&data).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        names,
        [
            "\"Heroes",
            "12\" mixes",
            "\"weird al\" yankovic",
            "Said \"so\"",
            "\""
        ]
    );
}

#[test]
fn marks_and_line_ends_of_other_systems_are_read() {
    let expected = read(&[("e.csv", PLAYS)]);
    for (name, text) in [
        ("mark.csv", format!("\u{feff}{PLAYS}")),
        ("windows.csv", PLAYS.replace('\n', "\r\n")),
        ("mac.csv", PLAYS.replace('\n', "\r")),
        ("CAPITALS.CSV", PLAYS.to_owned()),
    ] {
        let (_out, data) = read(&[(name, &text)]);
        assert_eq!(users(&data), users(&expected.1), "{name}");
    }
    // The ids beside mapped vectors.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.safetensors");
    UserEmbeddings::write(&path, &["ada", "bob"], [[1.0], [2.0]], &[]).unwrap();
    for text in ["\u{feff}ada\nbob\n", "\u{feff}ada\r\nbob", "ada\rbob\r"] {
        fs::write(directory.path().join("users.ids.txt"), text).unwrap();
        let users = UserEmbeddings::open(&path).unwrap();
        assert_eq!(users.ids().collect::<Vec<_>>(), ["ada", "bob"], "{text:?}");
        assert_eq!(*users.get("ada").unwrap(), [1.0]);
    }
}

#[test]
fn packed_text_is_read() {
    let expected = read(&[("e.csv", PLAYS)]);
    let directory = tempfile::tempdir().unwrap();
    let gzip = directory.path().join("e.csv.gz");
    let mut out = flate2::write::GzEncoder::new(
        fs::File::create(&gzip).unwrap(),
        flate2::Compression::fast(),
    );
    out.write_all(PLAYS.as_bytes()).unwrap();
    out.finish().unwrap();
    let zst = directory.path().join("e.csv.zst");
    fs::write(&zst, zstd::encode_all(PLAYS.as_bytes(), 1).unwrap()).unwrap();
    for path in [gzip, zst] {
        let source = Interactions::new(vec![path], InteractionsOptions::default());
        let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
        assert_eq!(users(&data), users(&expected.1));
    }
    let lines = "{\"user\": 1, \"embedding\": [1, 2]}\n";
    let path = directory.path().join("v.jsonl.zst");
    fs::write(&path, zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    assert_eq!(
        *UserEmbeddings::open(&path).unwrap().get("1").unwrap(),
        [1.0, 2.0]
    );
    let error = UserEmbeddings::open(directory.path().join("v.npy.gz")).unwrap_err();
    assert!(
        error.to_string().contains("only `.jsonl` can be packed"),
        "{error}"
    );
}

#[test]
fn files_of_recbole_and_movielens_are_read() {
    let inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t5\t9\nu\tb\t4\t8\nu\tc\t3\t7\n";
    let item = "item_id:token\tname:token_seq\ttags:token_seq\na\tThe A\tdrama war\nb\tB\tcomedy\n";
    let (_files, _) = events(&[("x.inter", inter), ("x.item", item)]);
    let options = InteractionsOptions {
        target: "{text}/{tags}".to_owned(),
        ..InteractionsOptions::default()
    };
    let paths = ["x.inter", "x.item"].map(|name| _files.path().join(name));
    let source = Interactions::new(paths.to_vec(), options.clone());
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    assert_eq!(held_out(&data, "u"), ["b", "a"]);
    let expected = [("a", "The A/drama, war"), ("b", "B/comedy"), ("c", "c")];
    assert_eq!(
        items(&data),
        expected.map(|(id, text)| (id.to_owned(), text.to_owned()))
    );
    assert_eq!(users(&data)[0].weights, [3.0]);

    let directory = tempfile::tempdir().unwrap();
    let (ratings, movies) = (
        directory.path().join("ratings.dat"),
        directory.path().join("movies.dat"),
    );
    fs::write(&ratings, "u::1::5::9\nu::2::4::8\nu::3::3::7\n").unwrap();
    fs::write(
        &movies,
        b"1::Amor\xE9s (2000)::Drama|War\n2::B: 2::Comedy\n3::C::\n",
    )
    .unwrap();
    let source = Interactions::new(vec![ratings.clone(), movies], options);
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    assert_eq!(held_out(&data, "u"), ["2", "1"]);
    let names: Vec<String> = items(&data).into_iter().map(|(_, text)| text).collect();
    assert_eq!(names, ["Amorés (2000)/Drama, War", "B: 2/Comedy", "C"]);
    fs::write(&ratings, "1::F::1::10::48067\n").unwrap();
    let source = Interactions::new(vec![ratings], InteractionsOptions::default());
    assert!(refusal(&source).contains("found 5 cells separated by `::`"));
}

fn lines(text: &str) -> (TempDir, Jsonl) {
    let directory = files(&[("train.jsonl", text)]);
    let input = Input::new(directory.path().join("train.jsonl"));
    (directory, Jsonl::new(vec![input], JsonlOptions::default()))
}

#[test]
fn other_names_of_prompt_and_answer_are_read() {
    let text = r#"{"user": 1, "prompt": "p", "completion": "t"}
{"user": 1, "prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "t"}]}
{"user": 1, "conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "t"}]}
{"user": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]}, {"role": "assistant", "content": ["t"]}]}
"#;
    let (_files, source) = lines(text);
    let options = PrepareOptions {
        deduplicate: false,
        ..PrepareOptions::default()
    };
    let (_out, data) = prepared(&source, &options).unwrap();
    let examples = examples(&data, Split::Train);
    assert_eq!(examples.len(), 4);
    for example in examples {
        let prompt = match example.prompt {
            Prompt::Text(text) => text,
            Prompt::Chat(messages) => {
                assert_eq!((messages.len(), messages[0].role.as_str()), (1, "user"));
                messages[0].content.clone()
            }
        };
        assert_eq!((prompt.as_str(), example.target.as_str()), ("p", "t"));
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said_in_plain_words() {
    for (line, expected) in [
        (
            r#"[{"user": 1}]"#,
            "line 1, column 1: found a JSON list, expected one object a line",
        ),
        (
            r#"{"user": 1, "prompt": {"role": "user", "content": "p"}, "target": "t"}"#,
            "found an object in `prompt`, expected a text or a list of messages",
        ),
        (
            r#"{"user": 1, "prompt": 5, "target": "t"}"#,
            "found the number `5` in `prompt`",
        ),
        (
            r#"{"user": 1, "profile": {"a": 1}}"#,
            "found an object in `profile`, expected a text or a list of texts",
        ),
        (
            r#"{"user": 1, "profile": ["a", 2]}"#,
            "found the number `2` at position 2 in `profile`",
        ),
        (
            r#"{"user": 1, "prompt": [{"role": "user", "content": [{"type": "image_url"}]}], "target": "t"}"#,
            "found a part of type `image_url` as `content` in message 1 in `prompt`",
        ),
        (
            r#"{"user": 1, "prompt": [{"role": "user"}], "target": "t"}"#,
            "found nothing as `content` in message 1",
        ),
        (
            r#"{"user": 1, "prompt": [{"content": "p"}], "target": "t"}"#,
            "found nothing as `role` in message 1",
        ),
        (
            r#"{"user": 1, "prompt": ["p"], "target": "t"}"#,
            "found the text `p` in message 1",
        ),
        (
            r#"{"user": 1, "prompt": "p", "chosen": "t"}"#,
            "found nothing (but there is `chosen`) in `target`",
        ),
        (
            r#"{"user": 1, "prompt": "p", "target": "t", "completion": "t"}"#,
            "found `target` beside `completion` in `target`, expected one answer",
        ),
        (
            r#"{"user": 1, "prompt": "p", "target": ["t"]}"#,
            "found a list in `target`, expected a text",
        ),
        (
            r#"{"user": 1, "prompt": "p", "target": "t", "time": {"$date": 1}}"#,
            "found an object in `time`",
        ),
        (
            r#"{"user": 1, "prompt": "p", "target": "t", "candidates": "t"}"#,
            "found the text `t` in `candidates`, expected a list of texts",
        ),
        (
            r#"{"user": 1, "history": [true]}"#,
            "found `true` at position 1 in `history`",
        ),
        (
            r#"{"user": true, "prompt": "p", "target": "t"}"#,
            "found `true` in `user`, expected an id",
        ),
        (
            r#"{"user": 1, "prompt": "p", "target": "t", "split": 3}"#,
            "found the number `3` in `split`",
        ),
        (r#"{'user': 1}"#, "found `'`, expected a JSON object"),
    ] {
        let (_files, source) = lines(&format!("{line}\n"));
        let message = refusal(&source);
        assert!(
            message.contains("train.jsonl") && message.contains(expected),
            "{message}"
        );
        for word in [
            "enum",
            "variant",
            "invalid type",
            "sequence",
            "expected value",
        ] {
            assert!(!message.contains(word), "{message}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let vectors = directory.path().join("v.jsonl");
    for (line, expected) in [
        (
            r#"{"user": "a", "embedding": [1, NaN]}"#,
            "found `NaN`, which JSON does not have",
        ),
        (
            r#"{"user": "a", "embedding": "[1, 2]"}"#,
            "found the text `[1, 2]`, not a list in `embedding`",
        ),
        (
            r#"{"user": "a", "embedding": [1, "2"]}"#,
            "found the text `2` at position 2 in `embedding`",
        ),
        (
            r#"{"user": "a", "embedding": {"0": 1}}"#,
            "found an object in `embedding`",
        ),
        (r#"{"user": "a"}"#, "found nothing in `embedding`"),
        (
            r#"{"user": "a", "embedding": [1, 1e99]}"#,
            "row 1: found inf at position 2",
        ),
    ] {
        fs::write(&vectors, format!("{line}\n")).unwrap();
        let message = UserEmbeddings::open(&vectors).unwrap_err().to_string();
        assert!(
            message.contains("v.jsonl") && message.contains(expected),
            "{message}"
        );
    }
    let objects = directory.path().join("o.npy");
    let header = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    fs::write(&objects, bytes).unwrap();
    fs::write(directory.path().join("o.ids.txt"), "a\nb\n").unwrap();
    let message = UserEmbeddings::open(&objects).unwrap_err().to_string();
    assert!(
        message.contains("found an array of Python objects"),
        "{message}"
    );
}

/// Chat templates that insist on turns refuse a prompt that the assistant opens.
#[test]
fn no_prompt_of_persona_chat_begins_with_the_assistant() {
    let synthetic = "user 1 personas,user 2 personas,Best Generated Conversation\n\
        I bake.,I sail.,\"User 1: Hello!\nUser 2: Hi, how are you?\nUser 1: Fine, just baked.\nUser 2: I sailed.\nUser 1: Nice.\"\n";
    let parlai = "1 your persona: i bake .\n2 __SILENCE__\thello !\n3 hi , how are you ?\tfine .\n4 __SILENCE__\tand you ?\n5 good .\tnice .\n";
    let directory = files(&[("train.csv", synthetic), ("train.txt", parlai)]);
    for name in ["train.csv", "train.txt"] {
        for history in 0..6 {
            let options = PersonaChatOptions {
                history,
                ..PersonaChatOptions::default()
            };
            let input = Input::new(directory.path().join(name));
            let source = PersonaChat::new(vec![input], options).unwrap();
            let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
            let examples = examples(&data, Split::Train);
            assert!(examples.len() >= 2, "{name} {history}");
            for example in &examples {
                let Prompt::Chat(messages) = &example.prompt else {
                    panic!("{:?}", example.prompt)
                };
                let roles: Vec<&str> = messages.iter().map(|said| said.role.as_str()).collect();
                let turns = ["user", "assistant"].repeat(3);
                assert_eq!(roles, turns[..roles.len()], "{name} {history}");
                assert_eq!(roles.len() % 2, 1, "{name} {history}");
            }
            if history == 5 {
                let notes = &data.info().notes;
                let note = "messages of the owner that would open a prompt left out";
                assert_eq!(notes[note], 2, "{name}: {notes:?}");
            }
        }
    }
}
