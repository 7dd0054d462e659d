//! LaMP and the generic JSON Lines task, on hand-written files and on a made-up world.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use e2p_data::jsonl::{Jsonl, JsonlOptions};
use e2p_data::lamp::{Lamp, LampOptions, MOVIE_TAGS};
use e2p_data::{DataDir, Input, Message, PrepareOptions, Prompt, Split, SplitOptions, SplitRule};
use files::{examples, files, fixture, input, prepared, refusal, users};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

/// Questions and outputs of one split, as the real files have them: one line of JSON.
fn lamp(task: &str, questions: &str, golds: &str) -> TempDir {
    let outputs = format!("{{\"task\": \"{task}\", \"golds\": [{golds}]}}");
    files(&[
        ("train_questions.json", &format!("[{questions}]")),
        ("train_outputs.json", &outputs),
    ])
}

fn source(directory: &TempDir) -> Lamp {
    let inputs = [Input::new(directory.path())];
    Lamp::new(&inputs, LampOptions::default()).unwrap()
}

const GOLD: &str = r#"{"id": "20", "output": "comedy"}"#;
const QUESTION: &str = r#"{"id": "20", "input": "Which tag? description: a cat", "profile": [
    {"id": "200", "tag": "comedy", "description": "a dog"}, {"id": "201", "tag": "action", "description": "a train"}]}"#;

#[test]
fn labels_are_candidates() {
    for (task, gold, profile, labels) in [
        (
            "LaMP_1",
            "[2]",
            json!({"title": "T", "abstract": "A"}),
            vec!["[1]", "[2]"],
        ),
        (
            "LaMP_2",
            "classic",
            json!({"tag": "t", "description": "D"}),
            MOVIE_TAGS.to_vec(),
        ),
        (
            "LaMP_2",
            "women",
            json!({"tag": "t", "description": "D"}),
            vec!["women"],
        ),
        (
            "LaMP_3",
            "4",
            json!({"text": "T", "score": "4"}),
            vec!["1", "2", "3", "4", "5"],
        ),
        (
            "LaMP_4",
            "A headline",
            json!({"text": "T", "title": "t"}),
            vec![],
        ),
        (
            "LaMP_5",
            "A title",
            json!({"title": "t", "abstract": "A"}),
            vec![],
        ),
        (
            "LaMP_6",
            "A subject",
            json!({"text": "T", "title": "t"}),
            vec![],
        ),
        ("LaMP_7", "A tweet", json!({"text": "T"}), vec![]),
    ] {
        let question = json!({"id": "0", "input": "Say it.", "profile": [profile]});
        let gold = json!({"id": "0", "output": gold});
        let directory = lamp(task, &question.to_string(), &gold.to_string());
        let (_directory, data) = prepared(&source(&directory), &PrepareOptions::default()).unwrap();
        assert_eq!(data.info().task, task.to_lowercase().replace('_', "-"));
        let example = &examples(&data, Split::Train)[0];
        assert_eq!(example.candidates, labels, "{task}");
        assert_eq!(example.prompt, Prompt::Chat(vec![Message::user("Say it.")]));
        assert_eq!(users(&data)[0].profile.len(), 1);
        assert!(
            data.info().licence.contains("CC BY-NC-SA")
                && data.info().citation.contains("2304.11406")
        );
    }
}

#[test]
fn files_are_paired_and_unanswered_questions_left_out() {
    let directory = lamp("LaMP_2", QUESTION, GOLD);
    std::fs::write(
        directory.path().join("test_questions.json"),
        format!("[{QUESTION}]"),
    )
    .unwrap();
    let (_out, data) = prepared(&source(&directory), &PrepareOptions::default()).unwrap();
    assert_eq!(
        data.info().notes["questions files without outputs left out"],
        1
    );
    assert_eq!(
        users(&data)[0].profile[0],
        "the tag for the movie: \"a dog\" is \"comedy\""
    );
    // The same files named one by one; outputs come with their questions.
    let inputs = ["train_questions.json", "train_outputs.json"].map(|name| input(&directory, name));
    let named = Lamp::new(&inputs, LampOptions::default()).unwrap();
    let (_out, again) = prepared(&named, &PrepareOptions::default()).unwrap();
    assert_eq!(
        examples(&again, Split::Train),
        examples(&data, Split::Train)
    );
    let missing = Lamp::new(
        &[input(&directory, "test_questions.json")],
        LampOptions::default(),
    )
    .unwrap_err();
    assert!(
        missing.to_string().contains("cannot open")
            && missing.to_string().contains("test_outputs.json"),
        "{missing}"
    );
}

#[test]
fn splits_go_by_user_or_by_time() {
    let question = |id: usize, user: &str, date: &str| {
        json!({"id": id.to_string(), "input": format!("Paraphrase {id}"), "user_id": user,
            "profile": [{"text": "old", "date": "2009-01-01"}, {"text": format!("of {id}"), "date": date}]})
        .to_string()
    };
    let questions = [
        question(0, "a", "2010-01-01"),
        question(1, "a", "2011-01-01"),
        question(2, "b", "2012-01-01"),
    ];
    let golds: Vec<String> = (0..3)
        .map(|id| json!({"id": id.to_string(), "output": format!("tweet {id}")}).to_string())
        .collect();
    let directory = lamp("LaMP_7", &questions.join(","), &golds.join(","));
    let with = |rule| {
        // Shares count where users decide, and are refused elsewhere.
        let share = if rule == SplitRule::User { 0.3 } else { 0.1 };
        let split = SplitOptions {
            rule,
            valid: share,
            test: share,
            ..Default::default()
        };
        let options = PrepareOptions {
            split,
            ..Default::default()
        };
        prepared(&source(&directory), &options).unwrap()
    };
    let targets = |data: &DataDir, split| -> Vec<String> {
        examples(data, split)
            .into_iter()
            .map(|e| e.target)
            .collect()
    };
    let time = |text: &str| e2p_data::parse_time(text).unwrap();
    let (_out, data) = with(SplitRule::Time {
        valid_from: time("2010-06-01"),
        test_from: time("2011-06-01"),
    });
    for (at, split) in Split::ALL.into_iter().enumerate() {
        assert_eq!(targets(&data, split), [format!("tweet {at}")]);
    }
    // The profile is that of the user's first question, latest first.
    let users = users(&data);
    assert_eq!(
        (users[0].user.as_str(), users[0].profile.as_slice()),
        ("a", ["of 0".to_owned(), "old".into()].as_slice())
    );
    assert_eq!(
        data.info().notes["questions of a user whose profile was read before"],
        1
    );
    let (_out, data) = with(SplitRule::User);
    let of = |user: &str| {
        Split::ALL
            .into_iter()
            .filter(|split| examples(&data, *split).iter().any(|e| e.user == user))
            .count()
    };
    assert_eq!((of("a"), of("b")), (1, 1));
}

#[test]
fn lamp_names_what_is_wrong() {
    let cases = [
        (
            QUESTION.replace("\"20\"", "\"21\""),
            "train_questions.json",
            "line 1, column 2: found no output in question `21`, expected its id in `train_outputs.json`",
        ),
        (
            format!("{QUESTION},\n{QUESTION}"),
            "train_questions.json",
            "line 3, column 1: found question `20` again, expected every id once",
        ),
        (
            r#"{"id": "20", "input": "x", "profile": []}"#.into(),
            "train_questions.json",
            "line 1, column 2: found an empty profile in question `20`, expected at least one entry",
        ),
        (
            r#"{"id": "20", "input": "x"}"#.into(),
            "train_questions.json",
            "line 1, column 27: found no `profile`",
        ),
        (
            r#"{"id": 20, "input": "x", "profile": []}"#.into(),
            "train_questions.json",
            "line 1, column 10: found the number `20`",
        ),
        (
            QUESTION.replace("\"tag\": \"action\"", "\"label\": \"action\""),
            "train_questions.json",
            "found no `tag` in entry 2 of the profile in question `20`",
        ),
        (
            QUESTION.replace("]}", ", ]}"),
            "train_questions.json",
            "line 2, column ",
        ),
    ];
    for (questions, file, expected) in cases {
        let directory = lamp("LaMP_2", &questions, GOLD);
        let message = refusal(&source(&directory));
        assert!(
            message.contains(file) && message.contains(expected),
            "{message}"
        );
    }
    let outputs = |task: &str, golds: &str| {
        let directory = lamp(task, QUESTION, golds);
        Lamp::new(&[Input::new(directory.path())], LampOptions::default())
            .unwrap_err()
            .to_string()
    };
    for (task, golds, expected) in [
        (
            "LaMP_9",
            GOLD,
            "train_outputs.json` cannot be used: line 1, column 10: found `LaMP_9`, expected `LaMP_1` to `LaMP_7`",
        ),
        (
            "LaMP_2",
            "{\"id\": \"20\", \"output\": \" \"}",
            "found an empty output of question `20`",
        ),
        (
            "LaMP_2",
            "{\"id\": \"20\", \"output\": \"a\"}, {\"id\": \"20\", \"output\": \"b\"}",
            "line 1, column 59: found question `20` again",
        ),
    ] {
        let message = outputs(task, golds);
        assert!(message.contains(expected), "{message}");
    }
    // Twenty are enough.
    let many: Vec<String> = (0..50).map(|id| format!("{{\"id\": \"{id}\"}}")).collect();
    let directory = lamp("LaMP_2", &many.join(",\n"), GOLD);
    let message = refusal(&source(&directory));
    assert!(
        message.matches("found no `").count() == 20 && message.contains("line 20, column 12"),
        "{message}"
    );
    // Cut off in the middle.
    let directory = lamp("LaMP_2", &QUESTION[..60], GOLD);
    std::fs::write(
        directory.path().join("train_questions.json"),
        &format!("[{QUESTION}")[..80],
    )
    .unwrap();
    let message = refusal(&source(&directory));
    assert!(
        message.contains("line 2, column") && message.contains("cut off"),
        "{message}"
    );
    let empty = tempfile::tempdir().unwrap();
    let error = Lamp::new(&[Input::new(empty.path())], LampOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("expected a `*_questions.json`"),
        "{error}"
    );
}

/// The made-up world of `fixtures/generate.py`: official names, dev as validation.
#[test]
fn worlds_of_lamp_are_read_whole() {
    for (folder, task, candidates) in [("lamp2_world", "lamp-2", 15), ("lamp7_world", "lamp-7", 0)]
    {
        let inputs = [Input::new(fixture(folder))];
        let source = Lamp::new(&inputs, LampOptions::default()).unwrap();
        let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
        let counts = data.info().counts;
        assert_eq!(
            (
                data.info().task.as_str(),
                counts.train,
                counts.valid,
                counts.users
            ),
            (task, 160, 40, 200)
        );
        let valid = examples(&data, Split::Valid);
        assert!(
            valid
                .iter()
                .all(|example| example.candidates.len() == candidates)
        );
        assert!(users(&data).iter().all(|user| user.profile.len() == 6));
    }
}

fn jsonl(lines: &str) -> (TempDir, Jsonl) {
    let directory = files(&[("all.jsonl", lines)]);
    let inputs = vec![input(&directory, "all.jsonl")];
    (directory, Jsonl::new(inputs, JsonlOptions::default()))
}

#[test]
fn lines_of_every_kind_are_read() {
    let (_files, source) = jsonl(concat!(
        r#"{"user": "anna", "profile": ["Likes tea.", " "], "history": ["i1", 2]}"#,
        "\n",
        r#"{"item": 2, "text": "Green tea"}"#,
        "\n\n",
        r#"{"user": "anna", "prompt": "Which?", "target": "B", "candidates": ["A", "B"], "split": "test", "time": "2024-05-01", "other": {}}"#,
        "\n",
        r#"{"user": 7, "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], "target": "Hello", "split": "train", "item": "i1", "profile": "A number."}"#,
        "\r\n",
        r#"{"user": "bert", "messages": [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "So."}], "split": "dev"}"#,
    ));
    let (_out, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    assert_eq!(data.info().task, "jsonl");
    let [train, valid, test] = Split::ALL.map(|split| examples(&data, split));
    assert_eq!((train.len(), valid.len(), test.len()), (1, 1, 1));
    assert_eq!(
        (train[0].user.as_str(), train[0].item.as_deref()),
        ("7", Some("i1"))
    );
    assert_eq!(valid[0].prompt, Prompt::Chat(vec![Message::user("And?")]));
    assert_eq!(
        (valid[0].target.as_str(), test[0].candidates.len()),
        ("So.", 2)
    );
    let users = users(&data);
    let ids: Vec<&str> = users.iter().map(|user| user.user.as_str()).collect();
    assert_eq!(ids, ["anna", "7", "bert"]);
    assert_eq!(
        (users[0].profile.as_slice(), users[0].history.as_slice()),
        (
            ["Likes tea.".to_owned()].as_slice(),
            ["i1".to_owned(), "2".into()].as_slice()
        )
    );
    assert_eq!(users[1].profile, ["A number."]);
    assert_eq!(data.items().unwrap().next().unwrap().unwrap().item, "2");
}

#[test]
fn questions_as_of_uqabench_need_no_more_than_their_lines() {
    let lines: String = (0..40)
        .map(|n| json!({"user": format!("u{}", n % 10), "prompt": format!("Question {n}"), "target": "yes", "candidates": ["yes", "no"]}).to_string() + "\n")
        .collect();
    let (_files, source) = jsonl(&lines);
    let options = PrepareOptions {
        split: SplitOptions {
            valid: 0.3,
            test: 0.3,
            ..Default::default()
        },
        ..Default::default()
    };
    let (_out, data) = prepared(&source, &options).unwrap();
    let counts = data.info().counts;
    assert_eq!(
        (counts.train + counts.valid + counts.test, counts.users),
        (40, 10)
    );
    assert!(
        !data
            .info()
            .notes
            .contains_key("users in more than one split")
    );
}

#[test]
fn jsonl_names_what_is_wrong() {
    let cases = [
        (
            r#"{"user": "a", "prompt": "p", "target": "t", "candidates": ["x", "y"]}"#,
            "line 1, column 45: found 2 candidates without the target in `candidates`",
        ),
        (
            r#"{"prompt": "p", "target": "t"}"#,
            "line 1, column 1: found nothing in `user`, expected a user id",
        ),
        (
            r#"{"user": " ", "prompt": "p", "target": "t"}"#,
            "line 1, column 2: found ` ` in `user`",
        ),
        (
            r#"{"user": "a", "prompt": "p"}"#,
            "found nothing in `target`",
        ),
        (
            r#"{"user": "a", "target": "t"}"#,
            "found nothing in `prompt`",
        ),
        (
            r#"{"user": "a", "prompt": [], "target": "t"}"#,
            "column 15: found an empty prompt in `prompt`, expected a text or at least one message",
        ),
        (
            r#"{"user": "a", "messages": []}"#,
            "column 15: found no messages in `messages`",
        ),
        (
            r#"{"user": "a", "messages": [{"role": "user", "content": "x"}]}"#,
            "found a last message of `user` in `messages`",
        ),
        (
            r#"{"user": "a", "messages": [{"role": "assistant", "content": "x"}]}"#,
            "found an answer to nothing in `messages`",
        ),
        (
            r#"{"user": "a", "prompt": "p", "target": "t", "messages": []}"#,
            "one or the other",
        ),
        (
            r#"{"user": "a", "prompt": "p", "target": "t", "split": "tset"}"#,
            "column 45: found `tset` in `split`, expected `train`, `valid` or `test`",
        ),
        (
            r#"{"user": "a", "prompt": "p", "target": "t", "time": "soon"}"#,
            "column 45: found `soon` in `time`",
        ),
        (
            r#"{"user": "a", "prompt": "p", "target": "t", "time": NaN}"#,
            "line 1, column 53: found `NaN`, which JSON does not have",
        ),
        (
            r#"{"user": "a"}"#,
            "found a user and nothing else in `user`",
        ),
        (
            r#"["a"]"#,
            "line 1, column 1: found a JSON list, expected one object a line",
        ),
        (
            "{\"item\": \"i\", \"text\": \"T\"}\n{\"item\": \"i\", \"text\": \"T\"}",
            "line 2, column 2: found item `i` again in `item`",
        ),
        (
            r#"{"user": "a", "prompt": "p", "targ"#,
            "(the file seems to be cut off here)",
        ),
        (
            "user,prompt,target\na,p,t\n",
            "line 1, column 1: found `user`, expected a JSON object",
        ),
    ];
    for (lines, expected) in cases {
        let (_files, source) = jsonl(lines);
        let message = refusal(&source);
        assert!(
            message.contains("all.jsonl") && message.contains(expected),
            "{message}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever users and texts there are, splits by user are disjoint and nothing is lost.
    #[test]
    fn splits_by_user_are_disjoint(seed: u64, rows in prop::collection::vec(("[a-f\u{e9}]{1,2}", "\\PC{1,8}", 0..3_usize), 1..40)) {
        let rows: Vec<_> = rows.into_iter().filter(|(_, text, _)| !text.trim().is_empty()).collect();
        prop_assume!(!rows.is_empty());
        let lines: String = rows.iter().enumerate().map(|(n, (user, text, split))| {
            json!({"user": user, "prompt": format!("{n}"), "target": text, "split": Split::ALL[*split].name()}).to_string() + "\n"
        }).collect();
        let (_files, source) = jsonl(&lines);
        let split = SplitOptions { rule: SplitRule::User, valid: 0.3, test: 0.3, seed, ..Default::default() };
        let options = PrepareOptions { split, ..Default::default() };
        let (_out, data) = prepared(&source, &options).unwrap();
        let users = Split::ALL.map(|split| examples(&data, split).into_iter().map(|e| e.user).collect::<std::collections::BTreeSet<_>>());
        prop_assert!(users[0].is_disjoint(&users[1]) && users[0].is_disjoint(&users[2]) && users[1].is_disjoint(&users[2]));
        prop_assert!(!data.info().notes.contains_key("users in more than one split"));
        let counts = data.info().counts;
        prop_assert_eq!(counts.train + counts.valid + counts.test, rows.len() as u64);
    }

    /// Any text is refused with an error or read into a directory that is valid.
    #[test]
    fn any_lines_are_survived(lines in prop::collection::vec(r#"(\{"user": "a", |\{)("prompt": ("p"|\[\]), )?("target": "[t ]", )?("candidates": \[("t")?\], )?("time": (1|1e99|-0|"x"), )?("user": (1|null|"\\n")\}|\})"#, 0..6)) {
        let (_files, source) = jsonl(&lines.join("\n"));
        let _ = prepared(&source, &PrepareOptions::default());
    }
}

#[test]
fn pseudo_users_join_the_training_split_alone() {
    let lines = r#"{"user": "a", "profile": ["I have dogs.", "I sing."]}
{"user": "b", "profile": ["I ski."]}
{"user": "a", "prompt": "Hi.", "target": "My dogs bark a lot.", "split": "train"}
{"user": "b", "prompt": "Hi.", "target": "I ski every day.", "split": "test"}
"#;
    let options = PrepareOptions {
        pseudo_users: 2,
        ..Default::default()
    };
    let directory = files(&[
        ("in.jsonl", lines),
        (
            "bare.jsonl",
            "{\"user\": \"a\", \"prompt\": \"Hi.\", \"target\": \"My dogs bark a lot.\", \"split\": \"train\"}\n",
        ),
    ]);
    let source = |name| Jsonl::new(vec![input(&directory, name)], JsonlOptions::default());
    let (_kept, data) = prepared(&source("in.jsonl"), &options).unwrap();
    data.validate().unwrap();
    let train = examples(&data, Split::Train);
    assert_eq!(
        train
            .iter()
            .map(|example| &*example.user)
            .collect::<Vec<_>>(),
        ["a", "pseudo-0-0", "pseudo-1-0"]
    );
    assert!(
        train
            .iter()
            .all(|example| example.target == train[0].target)
    );
    assert_eq!(examples(&data, Split::Test).len(), 1);
    let users = users(&data);
    assert_eq!(users.len(), 4);
    for made_up in &users[2..] {
        assert_eq!(made_up.profile.len(), 2);
        assert!(made_up.profile.contains(&train[0].target));
        assert!(!made_up.profile.iter().any(|text| text.contains("ski")));
    }
    assert_eq!(data.info().notes["examples of pseudo-users"], 2);
    let error = prepared(&source("bare.jsonl"), &options).unwrap_err();
    assert!(error.to_string().contains("pseudo-users"), "{error}");
}
