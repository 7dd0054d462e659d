//! First-step logits of real checkpoints against their references.
#![allow(clippy::unwrap_used)]

mod common;

use common::{device, shared_model, values};
use e2p_model::burn::tensor::s;
use e2p_model::{Decoder, LoadOptions, Padding, read_json};

fn first_step_logits_match(name: &str) {
    let Some(dir) = shared_model(name) else {
        return;
    };
    let (decoder, report) = Decoder::from_dir(&dir, &LoadOptions::default(), &device()).unwrap();
    assert_eq!(report.unused, Vec::<String>::new());
    for case in read_json(&dir, "golden.json").unwrap()["cases"]
        .as_array()
        .unwrap()
    {
        let ids = |value: &serde_json::Value| {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap() as u32)
                .collect::<Vec<_>>()
        };
        let prompt = ids(&case["prompt_ids"]);
        let (embeds, starts) = decoder.embed_rows(&[&prompt], Padding::Right).unwrap();
        let hidden = decoder.forward_embeds(embeds, &starts).unwrap();
        let last = hidden
            .slice(s![.., prompt.len() - 1.., ..])
            .reshape([1, decoder.config().d_model]);
        let logits = values(decoder.logits(last));
        let top = ids(&case["first_step"]["top_ids"]);
        let expected: Vec<f64> = case["first_step"]["top_logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        for (id, expected) in top.iter().zip(expected) {
            let found = f64::from(logits[*id as usize]);
            assert!(
                (found - expected).abs() < 1e-3,
                "{name}: logit of {id} is {found}, expected {expected}"
            );
        }
        let best = (0..logits.len())
            .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
            .unwrap();
        assert_eq!(best as u32, top[0]);
    }
}

#[test]
fn chat_3m_first_step_logits_equal_transformers() {
    first_step_logits_match("chat-3m");
}

#[test]
fn tinystories_first_step_logits_equal_the_reference() {
    first_step_logits_match("tinystories-656k-llama");
}

#[test]
fn stories260k_first_step_logits_equal_the_reference() {
    first_step_logits_match("stories260k");
}
