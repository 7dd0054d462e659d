//! What lies beside the weights, or among them, and would change the result: said, never left out.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Golden, device};
use e2p_model::{Decoder, Encoder, LoadOptions, TextEncoder};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// A copy of a golden checkpoint's configuration, with its weights changed.
fn with_weights(
    case: &str,
    change: impl Fn(&mut BTreeMap<String, TensorView<'_>>),
) -> tempfile::TempDir {
    let from = Golden::open(case).dir;
    let dir = tempfile::tempdir().unwrap();
    fs::copy(from.join("config.json"), dir.path().join("config.json")).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, TensorView<'_>> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name.clone(), view))
        .collect();
    change(&mut tensors);
    let written = safetensors::serialize(&tensors, None).unwrap();
    fs::write(dir.path().join("model.safetensors"), written).unwrap();
    dir
}

fn unused(dir: &Path) -> Vec<String> {
    let loaded = Decoder::from_dir(dir, &LoadOptions::default(), &device());
    let (decoder, report) = loaded.unwrap();
    assert_eq!(decoder.unused_tensors(), report.unused);
    report.unused
}

#[test]
fn an_unmerged_adapter_is_refused_beside_every_kind_of_model() {
    for case in ["llama", "gpt2", "bert"] {
        let dir = with_weights(case, |_| ());
        let path = dir.path().join("adapter_config.json");
        fs::write(&path, r#"{"peft_type": "LORA", "r": 4}"#).unwrap();
        let options = LoadOptions::default();
        let error = match case {
            "bert" => Encoder::from_dir(dir.path(), &options, &device()).map(|_| ()),
            _ => Decoder::from_dir(dir.path(), &options, &device()).map(|_| ()),
        };
        let said = error.unwrap_err().to_string();
        assert!(said.contains("merge_and_unload"), "{case}: {said}");
        assert!(said.contains("adapter_config.json"), "{case}: {said}");
        assert!(TextEncoder::from_dir(dir.path(), &options, &device()).is_err());
        fs::remove_file(path).unwrap();
        assert!(TextEncoder::from_dir(dir.path(), &options, &device()).is_ok());
    }
}

#[test]
fn a_second_head_is_said_unless_it_is_a_copy_of_the_embeddings() {
    let embeddings = "model.embed_tokens.weight";
    let copy = with_weights("llama", |tensors| {
        tensors.insert("lm_head.weight".into(), tensors[embeddings].clone());
    });
    assert_eq!(unused(copy.path()), Vec::<String>::new());

    let zeros: &'static [u8] = vec![0; 271 * 24 * 4].leak();
    let other = with_weights("llama", |tensors| {
        let shape = tensors[embeddings].shape().to_vec();
        let view = TensorView::new(tensors[embeddings].dtype(), shape, zeros).unwrap();
        tensors.insert("lm_head.weight".into(), view);
    });
    let said = unused(other.path());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("lm_head.weight"), "{said:?}");
    assert!(said[0].contains("tie_word_embeddings"), "{said:?}");
}

#[test]
fn every_tensor_that_is_not_used_is_said() {
    for (case, name) in [
        ("llama", "model.layers.0.self_attn.q_proj.lora_A.weight"),
        ("llama", "model.layers.2.input_layernorm.weight"),
        ("llama", "score.weight"),
        ("llama", "model.layers.0.self_attn.q_norm.weight"),
        ("gpt2", "transformer.h.0.adapter.down.weight"),
    ] {
        let dir = with_weights(case, |tensors| {
            let any = tensors.values().next().unwrap().clone();
            tensors.insert(name.into(), any);
        });
        assert_eq!(unused(dir.path()), [name], "{case}");
    }
}
