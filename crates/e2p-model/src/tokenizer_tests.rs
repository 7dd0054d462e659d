//! Tests of the tokenizer wrapper: special ids, missing files, vocabulary checks.

use std::fs;

use serde_json::json;

use super::*;

/// A word-level tokenizer of five words and two special tokens, with `<s>` put before every text.
fn write_tokenizer(dir: &Path) {
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}
        },
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "one", "vocab": {"<s>": 0, "</s>": 1, "one": 2, "two": 3, "three": 4}}
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).expect("writes");
}

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_tokenizer(dir.path());
    dir
}

#[test]
fn special_tokens_are_added_on_request_and_stored_truncation_is_ignored() {
    let dir = directory();
    let tokenizer = Tokenizer::from_dir(dir.path()).expect("loads");
    assert_eq!(
        tokenizer.encode("one two three", true).expect("encodes"),
        [0, 2, 3, 4]
    );
    assert_eq!(
        tokenizer.encode("one two three", false).expect("encodes"),
        [2, 3, 4]
    );
    assert_eq!(
        tokenizer.decode(&[0, 2, 4, 1]).expect("decodes"),
        "one three"
    );
}

#[test]
fn a_missing_tokenizer_names_the_path() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let Err(error) = Tokenizer::from_dir(dir.path()) else {
        panic!("there is no tokenizer")
    };
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn a_broken_tokenizer_is_an_error() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::write(dir.path().join("tokenizer.json"), "{\"version\": \"1.0\"").expect("writes");
    assert!(matches!(
        Tokenizer::from_dir(dir.path()),
        Err(ModelError::Tokenizer { .. })
    ));
}

#[test]
fn the_vocabulary_must_fit_the_model() {
    let dir = directory();
    let tokenizer = Tokenizer::from_dir(dir.path()).expect("loads");
    assert_eq!(tokenizer.vocab_size(), 5);
    tokenizer
        .check_vocab_size(8)
        .expect("a padded embedding matrix is fine");
    let message = tokenizer
        .check_vocab_size(4)
        .expect_err("too small")
        .to_string();
    assert!(message.contains('5') && message.contains('4'), "{message}");
}

#[test]
fn end_tokens_come_from_the_first_file_that_names_any() {
    let dir = directory();
    let eos = |config: &[u32]| {
        Tokenizer::from_dir(dir.path())
            .expect("loads")
            .eos_token_ids(config)
    };
    assert!(eos(&[]).is_empty());
    fs::write(
        dir.path().join("special_tokens_map.json"),
        json!({"eos_token": {"content": "</s>"}}).to_string(),
    )
    .expect("writes");
    assert_eq!(eos(&[]), [1]);
    assert_eq!(eos(&[3]), [3]);
    fs::write(
        dir.path().join("generation_config.json"),
        json!({"eos_token_id": [1, 4]}).to_string(),
    )
    .expect("writes");
    assert_eq!(eos(&[3]), [1, 4]);
    fs::write(
        dir.path().join("generation_config.json"),
        json!({"eos_token_id": 4}).to_string(),
    )
    .expect("writes");
    assert_eq!(eos(&[3]), [4]);
}

#[test]
fn a_template_writes_its_own_special_tokens_and_the_plain_format_does_not() {
    let dir = directory();
    let encode = || {
        let tokenizer = Tokenizer::from_dir(dir.path()).expect("loads");
        tokenizer
            .encode_chat(&[ChatMessage::user("two")], &ChatOptions::default())
            .expect("encodes")
    };
    assert_eq!(encode()[0], 0);
    let config = json!({"bos_token": "<s>", "chat_template": "{{ bos_token }}{{ messages[0].content }} three"});
    fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).expect("writes");
    assert_eq!(encode(), [0, 3, 4]);
}
