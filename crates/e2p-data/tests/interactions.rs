//! Events of one's own in every format: podcasts, with and without times.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use e2p_data::interactions::{Columns, HoldOut, Interactions, InteractionsOptions};
use e2p_data::{DataDir, PrepareOptions, Prompt, Split, SplitOptions, SplitRule};
use files::{examples, files, prepared, refusal, users};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;
use tempfile::TempDir;

/// Listener, podcast, minutes, day, name, tags.
const EVENTS: [(&str, &str, &str, &str, &str, &str); 9] = [
    (
        "l1",
        "p1",
        "30",
        "2024-05-01",
        "Night Trains",
        "travel|history",
    ),
    (
        "l1",
        "p2",
        "12.5",
        "2024-05-02",
        "Bread, and \"more\"",
        "food",
    ),
    ("l1", "p3", "1", "2024-05-05", "Deep Sea", ""),
    ("l1", "p1", "10", "2024-05-04", "", ""),
    ("l2", "p2", "7", "2024-05-01", "", ""),
    ("l2", "p3", "8", "2024-05-06", "", ""),
    (
        "l2",
        "p4",
        "2",
        "2024-05-03",
        "Comets",
        "science|space|night|far",
    ),
    ("l3", "p1", "5", "2024-05-03", "", ""),
    ("l3", "p4", "6", "2024-05-07", "", ""),
];

fn delimited(delimiter: &str) -> String {
    let mut text = ["user", "item", "weight", "time", "text", "tags"].join(delimiter) + "\n";
    for (user, item, weight, time, name, tags) in EVENTS {
        let name = if name.contains('"') {
            format!("\"{}\"", name.replace('"', "\"\""))
        } else {
            name.to_owned()
        };
        text += &([user, item, weight, time, &name, tags].join(delimiter) + "\r\n");
    }
    text
}

fn json_lines() -> String {
    let lines = EVENTS.map(|(user, item, weight, time, text, tags)| {
        let tags: Vec<&str> = tags.split('|').collect();
        let weight: f64 = weight.parse().unwrap();
        serde_json::json!({"user": user, "item": item, "weight": weight, "time": time, "text": text, "tags": tags}).to_string()
    });
    lines.join("\n")
}

fn write_parquet(path: &Path) {
    let schema = "message events { required binary user (UTF8); required binary item (UTF8); required double weight;
        required binary time (UTF8); required binary text (UTF8); required binary tags (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(
        File::create(path).unwrap(),
        schema,
        Arc::new(WriterProperties::default()),
    )
    .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |of: fn(
        &(
            &'static str,
            &'static str,
            &'static str,
            &'static str,
            &'static str,
            &'static str,
        ),
    ) -> &'static str| {
        EVENTS
            .iter()
            .map(|event| ByteArray::from(of(event)))
            .collect::<Vec<_>>()
    };
    for column in 0..6 {
        let mut out = group.next_column().unwrap().unwrap();
        if column == 2 {
            let weights: Vec<f64> = EVENTS
                .iter()
                .map(|event| event.2.parse().unwrap())
                .collect();
            out.typed::<DoubleType>()
                .write_batch(&weights, None, None)
                .unwrap();
        } else {
            let values = match column {
                0 => texts(|event| event.0),
                1 => texts(|event| event.1),
                3 => texts(|event| event.3),
                4 => texts(|event| event.4),
                _ => texts(|event| event.5),
            };
            out.typed::<ByteArrayType>()
                .write_batch(&values, None, None)
                .unwrap();
        }
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn podcasts() -> InteractionsOptions {
    InteractionsOptions {
        prompt: "Recommend a podcast:".into(),
        target: "{text} ({tags})".into(),
        ..Default::default()
    }
}

fn from_csv(options: InteractionsOptions, prepare: &PrepareOptions) -> (TempDir, DataDir) {
    let directory = files(&[("events.csv", &delimited(","))]);
    let source = Interactions::new(vec![directory.path().join("events.csv")], options);
    prepared(&source, prepare).unwrap()
}

#[test]
fn every_format_says_the_same() {
    let directory = files(&[
        ("a.csv", &delimited(",")),
        ("a.tsv", &delimited("\t")),
        ("a.jsonl", &json_lines()),
    ]);
    write_parquet(&directory.path().join("a.parquet"));
    let read = |name: &str| {
        let source = Interactions::new(vec![directory.path().join(name)], podcasts());
        let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
        let items: Vec<_> = data.items().unwrap().map(Result::unwrap).collect();
        (
            Split::ALL.map(|split| examples(&data, split)),
            users(&data),
            items,
        )
    };
    let csv = read("a.csv");
    assert_eq!(csv.2.len(), 4);
    for name in ["a.tsv", "a.jsonl", "a.parquet"] {
        assert_eq!(read(name), csv, "{name}");
    }
}

#[test]
fn the_last_are_left_out_and_events_are_merged() {
    let (_out, data) = from_csv(podcasts(), &PrepareOptions::default());
    assert_eq!(data.info().notes["repeated interactions merged"], 1);
    let found = |split| -> Vec<(String, String)> {
        examples(&data, split)
            .into_iter()
            .map(|e| (e.user, e.target))
            .collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(user, target)| ((*user).to_owned(), (*target).to_owned()))
            .collect()
    };
    // l1 came back to p1 on the 4th; l3 has too few items to leave one out.
    assert_eq!(
        found(Split::Test),
        pairs(&[("l1", "Deep Sea"), ("l2", "Deep Sea")])
    );
    assert_eq!(
        found(Split::Valid),
        pairs(&[
            ("l1", "Night Trains (travel, history)"),
            ("l2", "Comets (science, space, night)")
        ])
    );
    let users = users(&data);
    assert_eq!(
        (users[0].history.as_slice(), users[0].weights.as_slice()),
        (["p2".to_owned()].as_slice(), [12.5].as_slice())
    );
    assert_eq!(users[2].profile, ["Comets", "Night Trains"]);
    assert_eq!(
        examples(&data, Split::Train)[0].prompt,
        Prompt::Text("Recommend a podcast:".into())
    );
}

#[test]
fn a_cut_in_time_is_the_same_for_all() {
    let time = |text: &str| e2p_data::parse_time(text).unwrap();
    let rule = SplitRule::Time {
        valid_from: time("2024-05-04"),
        test_from: time("2024-05-06"),
    };
    let split = SplitOptions {
        rule,
        ..Default::default()
    };
    let options = InteractionsOptions {
        hold_out: HoldOut::Temporal,
        ..podcasts()
    };
    let (_out, data) = from_csv(
        options,
        &PrepareOptions {
            split,
            ..Default::default()
        },
    );
    let items = |split| -> Vec<_> {
        examples(&data, split)
            .into_iter()
            .map(|e| (e.user, e.item.unwrap()))
            .collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(user, item)| ((*user).to_owned(), (*item).to_owned()))
            .collect()
    };
    assert_eq!(items(Split::Valid), pairs(&[("l1", "p1"), ("l1", "p3")]));
    assert_eq!(items(Split::Test), pairs(&[("l2", "p3"), ("l3", "p4")]));
    assert_eq!(
        items(Split::Train),
        pairs(&[("l1", "p2"), ("l2", "p2"), ("l2", "p4"), ("l3", "p1")])
    );
}

#[test]
fn rare_users_and_items_are_dropped_and_columns_renamed() {
    let text = delimited(",").replacen("user,item,weight", "listener,show,minutes", 1);
    let directory = files(&[
        ("events.csv", &text),
        ("shows.csv", "show,text\np3,Deep Sea Again\np9,Unheard\n"),
    ]);
    let columns = Columns {
        user: "listener".into(),
        item: "show".into(),
        weight: "minutes".into(),
        ..Columns::default()
    };
    let options = InteractionsOptions {
        min_user_items: 3,
        min_item_users: 1,
        columns,
        ..podcasts()
    };
    let paths = ["events.csv", "shows.csv"].map(|name| directory.path().join(name));
    let (_out, data) = prepared(
        &Interactions::new(paths.to_vec(), options),
        &PrepareOptions::default(),
    )
    .map_err(|e| e.to_string())
    .unwrap();
    let users: Vec<_> = users(&data).into_iter().map(|user| user.user).collect();
    assert_eq!(
        (users, data.info().counts.items),
        (vec!["l1".to_owned(), "l2".into()], 4)
    );
}

#[test]
fn events_name_what_is_wrong() {
    let csv = |text: &str| {
        let directory = files(&[("e.csv", text)]);
        refusal(&Interactions::new(
            vec![directory.path().join("e.csv")],
            InteractionsOptions::default(),
        ))
    };
    let cases = [
        (
            "user,item,weight\na,b,NaN\n",
            "line 2, column 3 (`weight`): found `NaN`, expected a finite number that is not negative",
        ),
        (
            "user,item,weight\na,b,-1\na,,1\n",
            "line 3, column 2 (`item`): found nothing, expected an item id",
        ),
        (
            "user,item,weight\n,b,1\n",
            "line 2, column 1 (`user`): found nothing, expected a user id",
        ),
        (
            "user,item,time\na,b,never\n",
            "line 2, column 3 (`time`): found `never`, expected a whole number or a date",
        ),
        (
            "user,weight\na,1\n",
            "line 1, column 1: found columns `user`, `weight`, expected a column `item` (columns are separated by `,`)",
        ),
        (
            "user\titem\na\tb\n",
            "line 1, column 1: found columns `user\titem`, expected a column `item` (columns are separated by `,`)",
        ),
        (
            "user,item\na,b,c\n",
            "line 2, column 3: found 3 cells, expected 2 cells",
        ),
        (
            "user,item\na,\"b\n",
            "line 2, column 2: found a quoted cell that begins here",
        ),
        (
            "",
            "line 1, column 1: found nothing, expected a line that names the columns",
        ),
    ];
    for (text, expected) in cases {
        let message = csv(text);
        assert!(
            message.contains("e.csv") && message.contains(expected),
            "{message}"
        );
    }
    let directory = files(&[(
        "e.jsonl",
        "{\"user\": \"a\", \"item\": \"b\", \"weight\": \"NaN\"}\n{\"user\": \"a\"}\n",
    )]);
    let message = refusal(&Interactions::new(
        vec![directory.path().join("e.jsonl")],
        InteractionsOptions::default(),
    ));
    assert!(
        message.contains("line 1, column 28: found `NaN` in `weight`"),
        "{message}"
    );
    assert!(
        message.contains("line 2, column 1: found nothing in `item`"),
        "{message}"
    );
    let directory = files(&[("e.parquet", "PAR1 but not really")]);
    let message = refusal(&Interactions::new(
        vec![directory.path().join("e.parquet")],
        InteractionsOptions::default(),
    ));
    assert!(
        message.contains("expected a complete Parquet file"),
        "{message}"
    );
    let directory = files(&[("e.xlsx", "x")]);
    let message = refusal(&Interactions::new(
        vec![directory.path().join("e.xlsx")],
        InteractionsOptions::default(),
    ));
    assert!(
        message.contains("is not an input of `interactions`"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever took whatever: nothing held out is in a history, and nobody has more held out than
    /// one each.
    #[test]
    fn what_is_held_out_is_nowhere_else(seed: u64, timed: bool, events in prop::collection::vec((0..5_u8, 0..9_u8, 0..4_u8), 3..60)) {
        let mut text = String::from("user,item,weight,time\n");
        for (number, (user, item, weight)) in events.iter().enumerate() {
            let time = if timed { number.to_string() } else { String::new() };
            text.extend([format!("u{user},i{item},{weight},{time}\n")]);
        }
        let directory = files(&[("e.csv", &text)]);
        let source = Interactions::new(vec![directory.path().join("e.csv")], InteractionsOptions::default());
        let split = SplitOptions { seed, ..Default::default() };
        let (_out, data) = prepared(&source, &PrepareOptions { split, ..Default::default() }).unwrap();
        let users = users(&data);
        for split in [Split::Valid, Split::Test] {
            let held_out = examples(&data, split);
            for example in &held_out {
                let user = users.iter().find(|user| user.user == example.user).unwrap();
                prop_assert!(!user.history.contains(example.item.as_ref().unwrap()));
                prop_assert_eq!(held_out.iter().filter(|other| other.user == example.user).count(), 1);
            }
        }
        for example in examples(&data, Split::Train) {
            let user = users.iter().find(|user| user.user == example.user).unwrap();
            prop_assert!(user.history.contains(example.item.as_ref().unwrap()));
        }
    }
}
