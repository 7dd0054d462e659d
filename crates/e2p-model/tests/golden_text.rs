//! Generated ids, texts and rendered chats against transformers, on the golden fixtures.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::ControlFlow;

use common::{DECODER_CASES, Golden, device};
use e2p_model::{
    ChatMessage, ChatOptions, Decoder, GenerateRequest, Generator, LoadOptions, PromptInput,
    SamplingConfig, StopConditions, Tokenizer,
};
use serde_json::Value;

fn greedy(decoder: &Decoder, golden: &Golden, repetition_penalty: f32) -> Vec<Vec<u32>> {
    let requests: Vec<_> = golden
        .ids("input_ids")
        .into_iter()
        .map(|row| GenerateRequest {
            prompt: PromptInput::Ids(row[..5].to_vec()),
            guidance: None,
            sampling: SamplingConfig {
                repetition_penalty,
                ..SamplingConfig::default()
            },
            stop: StopConditions {
                max_new_tokens: 12,
                ..StopConditions::default()
            },
        })
        .collect();
    Generator::new(decoder, None)
        .generate(&requests, |_| ControlFlow::Continue(()))
        .unwrap()
        .into_iter()
        .map(|generation| generation.ids)
        .collect()
}

#[test]
fn greedy_ids_equal_transformers_with_and_without_penalty() {
    for case in DECODER_CASES {
        let golden = Golden::open(case);
        let (decoder, _) =
            Decoder::from_dir(&golden.dir, &LoadOptions::default(), &device()).unwrap();
        assert_eq!(
            greedy(&decoder, &golden, 1.0),
            golden.ids("greedy_ids"),
            "{case}"
        );
        assert_eq!(
            greedy(&decoder, &golden, 1.3),
            golden.ids("greedy_rep_ids"),
            "{case} with repetition penalty"
        );
    }
}

fn lines(golden: &Golden, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(golden.dir.join(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn chats_render_and_encode_as_in_transformers() {
    for case in ["llama", "llama-untied-f16", "llama-bf16-shards"] {
        let golden = Golden::open(case);
        let tokenizer = Tokenizer::from_dir(&golden.dir).unwrap();
        for line in lines(&golden, "chat_expected.jsonl") {
            let messages: Vec<ChatMessage> =
                serde_json::from_value(line["messages"].clone()).unwrap();
            let options = ChatOptions {
                add_generation_prompt: line["add_generation_prompt"].as_bool().unwrap(),
                ..ChatOptions::default()
            };
            let text = tokenizer.render_chat(&messages, &options).unwrap();
            assert_eq!(text, line["text"].as_str().unwrap());
            assert_eq!(
                tokenizer.encode_chat(&messages, &options).unwrap(),
                ids(&line["ids"])
            );
        }
    }
}

#[test]
fn prompts_and_targets_encode_as_in_transformers() {
    for case in ["llama", "llama-untied-f16", "llama-bf16-shards", "gpt2"] {
        let golden = Golden::open(case);
        let tokenizer = Tokenizer::from_dir(&golden.dir).unwrap();
        for (input, expected) in std::iter::zip(
            lines(&golden, "score.jsonl"),
            lines(&golden, "score_expected.jsonl"),
        ) {
            let text = |key: &str| input[key].as_str().unwrap().to_string();
            assert_eq!(
                tokenizer.encode(&text("prompt"), true).unwrap(),
                ids(&expected["prompt_ids"])
            );
            let target = tokenizer.encode(&text("target"), false).unwrap();
            assert_eq!(target, ids(&expected["target_ids"]));
            assert_eq!(tokenizer.decode(&target).unwrap(), text("target"));
        }
    }
}
