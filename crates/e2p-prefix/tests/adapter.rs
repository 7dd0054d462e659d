//! The adapter on disk: what is saved comes back, and what does not fit is refused by name.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use e2p_prefix::burn::tensor::{Device, Tensor, TensorData};
use e2p_prefix::{
    Adapter, AdapterConfig, BackboneId, EmbeddingSpace, FORMAT_VERSION, Method, PrefixPosition,
    Preset, ProjectorConfig, PromptConfig, PromptFormat,
};

fn backbone() -> BackboneId {
    BackboneId {
        model_type: "llama".into(),
        d_model: 16,
        vocab_size: 100,
        fingerprint: "0123456789abcdef".into(),
    }
}

fn adapter(preset: Preset) -> Adapter {
    let projector = ProjectorConfig {
        preset,
        n_prefix: 2,
        d_hidden: 12,
        ..ProjectorConfig::new(5, 16)
    };
    Adapter {
        projector: projector.init(0.3, 1.0, 9, &Device::flex()),
        config: AdapterConfig {
            format_version: FORMAT_VERSION,
            peft_type: "E2P".into(),
            method: Method::E2p,
            base_model_name_or_path: "models/small".into(),
            backbone: backbone(),
            projector,
            prompt: PromptConfig {
                position: PrefixPosition::AfterSystem,
                max_prompt_tokens: 200,
                date: "2026-11-27".into(),
                ..PromptConfig::default()
            },
            prompt_format: Some(PromptFormat::Chat),
            embedding_space: EmbeddingSpace::new(
                "users-v3",
                vec![0.5; 5],
                vec![2.0, 1.0, 0.0, 1.0, 3.0],
            ),
            recipe_hash: "feed".into(),
        },
    }
}

fn soft_tokens(adapter: &Adapter) -> Vec<f32> {
    let user = adapter
        .config
        .embedding_space
        .standardise("u", &[0.1, -0.2, 0.3, -0.4, 0.5])
        .unwrap();
    let user = Tensor::from_data(TensorData::new(user, [1, 5]), &Device::flex());
    let all = Tensor::cat(
        vec![
            adapter.projector.forward(user),
            adapter.projector.default_prefix(1),
        ],
        1,
    );
    all.into_data().try_into_vec_as::<f32>().unwrap()
}

#[test]
fn a_saved_adapter_gives_the_same_soft_tokens() {
    for preset in [Preset::Linear, Preset::Mlp, Preset::Glide] {
        let dir = tempfile::tempdir().unwrap();
        let saved = adapter(preset);
        saved.save(dir.path()).unwrap();
        let loaded = Adapter::load(dir.path(), &Device::flex()).unwrap();
        assert_eq!(loaded.config, saved.config);
        assert_eq!(soft_tokens(&loaded), soft_tokens(&saved), "{preset:?}");
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors"]);
    }
}

#[test]
fn another_backbone_is_refused_and_both_are_named() {
    let adapter = adapter(Preset::Mlp);
    adapter
        .config
        .check_backbone(&backbone(), "anything")
        .unwrap();
    let other = BackboneId {
        fingerprint: "fedcba9876543210".into(),
        ..backbone()
    };
    let error = adapter
        .config
        .check_backbone(&other, "models/other")
        .unwrap_err()
        .to_string();
    for part in [
        "models/small",
        "models/other",
        "0123456789ab",
        "fedcba987654",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn another_space_or_dimension_or_a_broken_embedding_is_refused_by_name() {
    let space = adapter(Preset::Mlp).config.embedding_space;
    let error = space.check("users-v4", 5).unwrap_err().to_string();
    assert!(
        error.contains("users-v3") && error.contains("users-v4"),
        "{error}"
    );
    let error = space
        .standardise("anna", &[0.0; 4])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("anna") && error.contains('4') && error.contains('5'),
        "{error}"
    );
    let error = space
        .standardise("ben", &[0.0, f32::NAN, 0.0, 0.0, 0.0])
        .unwrap_err()
        .to_string();
    assert!(error.contains("ben"), "{error}");
}

/// What `Adapter::load` says after `break_it` changed the saved files.
fn refusal(break_it: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    adapter(Preset::Mlp).save(dir.path()).unwrap();
    break_it(dir.path());
    let error = Adapter::load(dir.path(), &Device::flex()).unwrap_err();
    error.to_string()
}

fn edit(dir: &Path, from: &str, to: &str) {
    let path = dir.join("adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn broken_files_are_refused_with_file_and_reason() {
    let truncated = refusal(|dir| {
        let path = dir.join("adapter_model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    });
    assert!(
        truncated.contains("adapter_model.safetensors"),
        "{truncated}"
    );
    let missing =
        refusal(|dir| std::fs::remove_file(dir.join("adapter_model.safetensors")).unwrap());
    assert!(missing.contains("adapter_model.safetensors"), "{missing}");
    let lora = refusal(|dir| edit(dir, "\"E2P\"", "\"LORA\""));
    assert!(
        lora.contains("peft_type") && lora.contains("LORA"),
        "{lora}"
    );
    let later = refusal(|dir| edit(dir, "\"format_version\": 2", "\"format_version\": 7"));
    assert!(
        later.contains("format_version") && later.contains('7'),
        "{later}"
    );
    let wider = refusal(|dir| edit(dir, "\"d_hidden\": 12", "\"d_hidden\": 13"));
    assert!(wider.contains("12") && wider.contains("13"), "{wider}");
    let garbage = refusal(|dir| std::fs::write(dir.join("adapter_config.json"), "{").unwrap());
    assert!(garbage.contains("adapter_config.json"), "{garbage}");
}

#[test]
fn version_1_is_read_with_a_word_about_what_it_does_not_say() {
    let dir = tempfile::tempdir().unwrap();
    let saved = adapter(Preset::Linear);
    saved.save(dir.path()).unwrap();
    assert_eq!(saved.config.unrecorded(), None);
    let path = dir.path().join("adapter_config.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["format_version"], 2);
    assert_eq!(json["prompt"]["date"], "2026-11-27");
    assert_eq!(json["prompt_format"], "chat");

    // As version 1 wrote it.
    let fields = json.as_object_mut().unwrap();
    fields.insert("format_version".into(), 1.into());
    fields.insert("position".into(), "after_system".into());
    fields.remove("prompt");
    fields.remove("prompt_format");
    std::fs::write(&path, json.to_string()).unwrap();
    let loaded = Adapter::load(dir.path(), &Device::flex()).unwrap();
    assert_eq!(loaded.config.prompt.position, PrefixPosition::AfterSystem);
    assert_eq!(loaded.config.prompt.date, "");
    assert_eq!(loaded.config.prompt_format, None);
    let unknown = loaded.config.unrecorded().unwrap();
    for part in [
        "chats or plain text",
        "length limits",
        "profile text",
        "1970-01-01",
    ] {
        assert!(unknown.contains(part), "{unknown}");
    }
    assert_eq!(soft_tokens(&loaded), soft_tokens(&saved));

    fields_without(&path, "position");
    let error = AdapterConfig::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is not an adapter configuration"), "{error}");
}

fn fields_without(path: &Path, field: &str) {
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove(field);
    std::fs::write(path, json.to_string()).unwrap();
}
