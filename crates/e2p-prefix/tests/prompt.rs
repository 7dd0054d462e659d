//! Prompts as training and serving make them: ids, slot, cut, profile, date.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use e2p_model::{ChatMessage, DecoderConfig, ModelError, Tokenizer};
use e2p_prefix::{
    PLACEHOLDER, PrefixError, PrefixPosition, Prompt, PromptBuilder, PromptConfig, date_of,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2p-model/tests/golden/llama")
}

/// The golden tokenizer with another chat template; without any for `None`.
fn tokenizer(template: Option<&str>) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        golden().join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(golden().join("tokenizer_config.json")).unwrap()).unwrap();
    config["chat_template"] = template.into();
    let path = dir.path().join("tokenizer_config.json");
    fs::write(path, config.to_string()).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn decoder() -> DecoderConfig {
    DecoderConfig::small_llama(271, 24, 2, 4, 2, 48, 64)
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage {
        role: role.into(),
        content: content.into(),
    }
}

fn dialogue() -> Vec<ChatMessage> {
    vec![
        message("system", "Be kind."),
        message("user", "one"),
        message("assistant", "two"),
        message("user", "three"),
    ]
}

fn at(position: PrefixPosition) -> PromptConfig {
    PromptConfig {
        position,
        ..PromptConfig::default()
    }
}

/// Text before and behind the slot.
fn halves(tokenizer: &Tokenizer, prompt: &Prompt) -> [String; 2] {
    let (before, after) = prompt.ids.split_at(prompt.slot);
    [before, after].map(|ids| tokenizer.decode(ids).unwrap())
}

#[test]
fn the_slot_of_a_chat_is_where_the_position_says() {
    let tokenizer = Tokenizer::from_dir(&golden()).unwrap();
    let whole = "[system] Be kind.\n[user] one\n[assistant] two\n[user] three\n[assistant] ";
    for (position, before) in [
        (PrefixPosition::Start, ""),
        (PrefixPosition::AfterBos, ""),
        (PrefixPosition::AfterSystem, "[system] Be kind.\n"),
        (PrefixPosition::BeforeTarget, whole),
    ] {
        let config = at(position);
        let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
        let prompt = prompts.chat(&dialogue(), None, usize::MAX).unwrap();
        let [found, rest] = halves(&tokenizer, &prompt);
        assert_eq!(
            (found.as_str(), found.clone() + &rest),
            (before, whole.into())
        );
        // Decoding leaves out `<s>`, which tells the first two apart.
        let is_behind_bos = prompt.slot > 0;
        assert_eq!(
            is_behind_bos,
            position != PrefixPosition::Start,
            "{position}"
        );
    }
}

#[test]
fn a_placeholder_is_cut_out_and_must_be_there_once() {
    let tokenizer = Tokenizer::from_dir(&golden()).unwrap();
    let config = at(PrefixPosition::Placeholder);
    let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
    let text = format!("About the user: {PLACEHOLDER}. Hello");
    let prompt = prompts.text(&text, None, usize::MAX).unwrap();
    assert_eq!(
        halves(&tokenizer, &prompt),
        ["About the user: ", ". Hello"].map(str::to_owned)
    );
    for found in [0, 2] {
        let text = PLACEHOLDER.repeat(found) + "x";
        let error = prompts.text(&text, None, usize::MAX).unwrap_err();
        assert!(matches!(error, PrefixError::Placeholder { found: n } if n == found));
    }
}

#[test]
fn a_long_dialogue_loses_its_oldest_turns_and_keeps_its_system_message_and_the_profile() {
    let tokenizer = Tokenizer::from_dir(&golden()).unwrap();
    let config = at(PrefixPosition::AfterSystem);
    let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
    let full = prompts.chat(&dialogue(), None, usize::MAX).unwrap();
    let cut = prompts.chat(&dialogue(), None, full.ids.len() - 1).unwrap();
    let [system, rest] = halves(&tokenizer, &cut);
    assert_eq!(system, "[system] Be kind.\n");
    assert_eq!(rest, "[assistant] two\n[user] three\n[assistant] ");
    // One message that is too long by itself is cut on the left, behind `<s>`.
    let short = prompts.chat(&dialogue(), None, 5).unwrap();
    assert_eq!(short.ids.len(), 5);
    assert_eq!(short.ids[0], full.ids[0]);
    assert!(short.slot <= 5 && short.slot >= 1);
    // The profile is a system message of its own.
    let with = prompts.chat(&dialogue()[1..], Some("I ski."), usize::MAX);
    let [system, _] = halves(&tokenizer, &with.unwrap());
    assert_eq!(system, "[system] I ski.\n");
    let text = prompts.text("Hello", Some("I ski."), usize::MAX).unwrap();
    assert_eq!(halves(&tokenizer, &text).concat(), "I ski.\nHello");
}

#[test]
fn a_profile_takes_whole_sentences_within_its_limit() {
    let tokenizer = Tokenizer::from_dir(&golden()).unwrap();
    let sentences = ["I ski.", "I cook.", "I read."].map(str::to_owned);
    let two = tokenizer.encode("I ski. I cook.", false).unwrap().len();
    let profile = |max_profile_tokens| {
        let config = PromptConfig {
            max_profile_tokens,
            ..PromptConfig::default()
        };
        let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
        prompts.profile(&sentences).unwrap()
    };
    assert_eq!(profile(two).as_deref(), Some("I ski. I cook."));
    assert_eq!(profile(two - 1).as_deref(), Some("I ski."));
    assert_eq!(profile(1), None);
}

#[test]
fn an_answer_is_what_the_template_writes_up_to_the_end_of_the_turn() {
    let tokenizer = Tokenizer::from_dir(&golden()).unwrap();
    let config = PromptConfig::default();
    let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
    let eos = tokenizer.token_to_id("</s>").unwrap();
    let mut expected = tokenizer.encode("four", false).unwrap();
    expected.push(eos);
    assert_eq!(prompts.chat_target(&dialogue(), "four").unwrap(), expected);
    assert_eq!(prompts.text_target("four").unwrap(), expected);
}

#[test]
fn templates_read_the_configured_date_and_no_clock() {
    let template = "{{ strftime_now('%d %B %Y') }}|{{ messages[0]['content'] }}";
    let tokenizer = tokenizer(Some(template));
    let chat = |date: &str| {
        let config = PromptConfig {
            date: date.into(),
            ..PromptConfig::default()
        };
        let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config)?;
        let prompt = prompts.chat(&[ChatMessage::user("hi")], None, usize::MAX)?;
        Ok::<_, PrefixError>(tokenizer.decode(&prompt.ids).unwrap())
    };
    assert_eq!(chat("2026-11-27").unwrap(), "27 November 2026|hi");
    assert_eq!(chat("").unwrap(), "01 January 1970|hi");
    let error = chat("27.11.2026").unwrap_err().to_string();
    assert_eq!(
        error,
        "`prompt.date` = \"27.11.2026\"; expected a day such as 2026-11-27, or nothing"
    );
    let config = PromptConfig {
        date: "2024-02-29".into(),
        ..PromptConfig::default()
    };
    assert_eq!(date_of(config.now().unwrap()), "2024-02-29");
}

#[test]
fn plain_chats_begin_with_special_tokens_where_that_is_configured() {
    let tokenizer = tokenizer(None);
    let bos = tokenizer.bos_token_id().unwrap();
    let begins_with_bos = |special_tokens_in_plain_chats| {
        let config = PromptConfig {
            special_tokens_in_plain_chats,
            ..PromptConfig::default()
        };
        let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
        let prompt = prompts.chat(&[ChatMessage::user("hi")], None, usize::MAX);
        let prompt = prompt.unwrap();
        assert_eq!(tokenizer.decode(&prompt.ids).unwrap(), "User: hi\nBot:");
        prompt.ids[0] == bos
    };
    assert!(begins_with_bos(true));
    assert!(!begins_with_bos(false));
}

#[test]
fn an_empty_text_becomes_the_first_token_or_is_refused() {
    let gpt2 = golden().with_file_name("gpt2");
    let tokenizer = Tokenizer::from_dir(&gpt2).unwrap();
    let config = PromptConfig::default();
    let prompts = PromptBuilder::new(&tokenizer, &decoder(), &config).unwrap();
    let bos = tokenizer.bos_token_id().unwrap();
    let expected = Prompt {
        ids: vec![bos],
        slot: 1,
    };
    assert_eq!(prompts.text("", None, usize::MAX).unwrap(), expected);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    fs::copy(gpt2.join("tokenizer.json"), path).unwrap();
    let nameless = Tokenizer::from_dir(dir.path()).unwrap();
    let prompts = PromptBuilder::new(&nameless, &decoder(), &config).unwrap();
    let error = prompts.text("", None, usize::MAX).unwrap_err();
    assert!(matches!(error, PrefixError::Model(ModelError::EmptyPrompt)));
}
