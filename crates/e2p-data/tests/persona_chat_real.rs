//! The real Persona-Chat files, where they are beside the workspace; the counts are those of their
//! documentation.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod shared;

use std::collections::BTreeSet;

use e2p_data::persona_chat::{PersonaChat, PersonaChatOptions};
use e2p_data::{DataDir, Example, Input, PrepareOptions, Prompt, Split, prepare};
use shared::shared_data;

fn prepared(inputs: &[&str], options: PersonaChatOptions) -> Option<(tempfile::TempDir, DataDir)> {
    let root = shared_data()?;
    let inputs = inputs
        .iter()
        .map(|name| Input::new(root.join(name)))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let source = PersonaChat::new(inputs, options).unwrap();
    let out = directory.path().join("data");
    let data = prepare(&source, out, &PrepareOptions::default(), &mut ()).unwrap();
    data.validate().unwrap();
    Some((directory, data))
}

fn examples(data: &DataDir, split: Split) -> Vec<Example> {
    data.examples(split).unwrap().map(Result::unwrap).collect()
}

#[test]
fn valid_has_700_episodes_and_20_candidates_gold_last() {
    let options = PersonaChatOptions {
        history: 0,
        ..Default::default()
    };
    let Some((_directory, data)) = prepared(&["personachat/valid_self_original.txt"], options)
    else {
        return;
    };
    eprintln!("{:?} {:?}", data.info().counts, data.info().notes);
    assert_eq!(data.info().notes["episodes"], 700);
    let valid = examples(&data, Split::Valid);
    assert_eq!(valid.len(), 5470);
    assert!(valid.iter().all(|example| example.candidates.len() == 20));
    assert!(
        valid
            .iter()
            .all(|example| example.candidates.last() == Some(&example.target))
    );
    let users: BTreeSet<String> = data
        .users()
        .unwrap()
        .map(|user| user.unwrap().user)
        .collect();
    assert_eq!(
        users,
        valid.iter().map(|example| example.user.clone()).collect()
    );
    let first = &valid[0];
    assert_eq!(
        first.target,
        "I am good, I just got off work and tired, I have two jobs."
    );
    let Prompt::Chat(chat) = &first.prompt else {
        panic!("a chat")
    };
    assert_eq!(chat[0].content, "Hello what are doing today?");
}

#[test]
fn all_variants_are_the_same_conversations() {
    let options = || PersonaChatOptions {
        history: 0,
        ..Default::default()
    };
    let Some((_one, original)) = prepared(&["personachat/valid_self_original.txt"], options())
    else {
        return;
    };
    let (_two, both) =
        prepared(&["personachat/valid_both_original_no_cands.txt"], options()).unwrap();
    let (_three, revised) =
        prepared(&["personachat/valid_self_revised_no_cands.txt"], options()).unwrap();
    assert_eq!(revised.info().notes["episodes"], 700);
    let plain = |data: &DataDir| -> Vec<_> {
        examples(data, Split::Valid)
            .into_iter()
            .map(|example| (example.user, example.prompt, example.target))
            .collect()
    };
    assert_eq!(
        plain(&original),
        plain(&both),
        "the owner's persona is the same, so the user is"
    );
    let targets = |data| {
        plain(data)
            .into_iter()
            .map(|(_, _, target)| target)
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(&original), targets(&revised));
}

#[test]
fn train_has_7915_examples() {
    let names = ["personachat/train_1072_dialogues.csv"];
    let Some((_directory, data)) = prepared(&names, PersonaChatOptions::default()) else {
        return;
    };
    eprintln!("{:?} {:?}", data.info().counts, data.info().notes);
    assert_eq!(data.info().notes["episodes"], 1072);
    assert_eq!(data.info().counts.train, 7915);
}

#[test]
fn synthetic_conversations_have_both_sides() {
    let names = ["synthetic_persona_chat/Synthetic-Persona-Chat_test.csv"];
    let Some((_directory, data)) = prepared(&names, PersonaChatOptions::default()) else {
        return;
    };
    eprintln!("{:?} {:?}", data.info().counts, data.info().notes);
    assert_eq!(data.info().notes["episodes"], 968);
    assert_eq!(data.info().name, "Synthetic-Persona-Chat");
    assert!(
        (24_000..26_000).contains(&data.info().counts.test),
        "{:?}",
        data.info().counts
    );
    let names = ["synthetic_persona_chat/Synthetic-Persona-Chat_valid.csv"];
    let (_directory, data) = prepared(&names, PersonaChatOptions::default()).unwrap();
    assert_eq!(data.info().notes["episodes"], 1000);
}
