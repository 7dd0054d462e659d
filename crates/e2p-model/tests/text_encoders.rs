//! Text encoders against sentence-transformers, and what of their directories is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_close, device, values};
use e2p_model::burn::tensor::{Tensor, TensorData};
use e2p_model::{LoadOptions, TextEncoder};
use serde_json::{Value, json};

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/encoders")
        .join(case)
}

fn open(dir: &Path) -> e2p_model::Result<TextEncoder> {
    TextEncoder::from_dir(dir, &LoadOptions::default(), &device())
}

/// Texts, ids and vectors of a case.
fn expected(dir: &Path) -> (Vec<String>, Vec<Vec<u32>>, Tensor<2>) {
    let text = fs::read_to_string(dir.join("sentences_expected.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts = lines.iter().map(|l| l["text"].as_str().unwrap().into());
    let ids = lines.iter().map(|l| {
        let ids = l["ids"].as_array().unwrap();
        ids.iter().map(|id| id.as_u64().unwrap() as u32).collect()
    });
    let vectors: Vec<f32> = lines
        .iter()
        .flat_map(|l| l["embedding"].as_array().unwrap())
        .map(|x| x.as_f64().unwrap() as f32)
        .collect();
    let shape = [lines.len(), vectors.len() / lines.len()];
    let vectors = Tensor::from_data(TensorData::new(vectors, shape), &device());
    (texts.collect(), ids.collect(), vectors)
}

#[test]
fn every_directory_gives_the_vectors_of_sentence_transformers() {
    let mut cases: Vec<PathBuf> = fs::read_dir(golden(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 26, "{} cases", cases.len());
    for dir in cases {
        let case = dir.file_name().unwrap().to_string_lossy().into_owned();
        let encoder = open(&dir).unwrap();
        let inputs = encoder.inputs().unwrap();
        let (texts, ids, vectors) = expected(&dir);
        let rows: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| inputs.encode(text).unwrap())
            .collect();
        assert_eq!(rows, ids, "{case}: ids");
        assert_eq!(encoder.width(), vectors.dims()[1], "{case}: width");
        let found = encoder.embed(&rows, inputs.n_skipped()).unwrap();
        let (a, b) = (values(found.clone()), values(vectors.clone()));
        for (a, b) in a.chunks(encoder.width()).zip(b.chunks(encoder.width())) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine > 0.9999, "{case}: cosine {cosine}");
        }
        assert_close(found.clone(), vectors, &case);
        for (row, ids) in rows.iter().enumerate() {
            let alone = encoder.embed(&[ids], inputs.n_skipped()).unwrap();
            let together = found.clone().slice([row..row + 1]);
            assert_close(alone, together, &format!("{case}: row {row} alone"));
        }
    }
}

/// A copy of a case with one file changed.
fn changed(case: &str, file: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(&golden(case), copy.path());
    let path = copy.path().join(file);
    let mut json = fs::read(&path).map_or(json!({}), |text| serde_json::from_slice(&text).unwrap());
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
    copy
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_files(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// What a directory is refused for, by the model or by its tokenizer.
fn refusal(dir: &Path) -> String {
    let error = match open(dir) {
        Ok(encoder) => encoder.inputs().map(|_| ()).unwrap_err(),
        Err(error) => error,
    };
    error.to_string()
}

#[test]
fn what_is_not_supported_is_refused_by_file_key_and_value() {
    let own = "sentence_transformers.models";
    let pooling = "1_Pooling/config.json";
    let bert = "sentence_bert_config.json";
    let cases: [(&str, &str, &str, Value, &[&str]); 30] = [
        // Modules.
        (
            "bert-cls",
            "modules.json",
            "/1/type",
            json!("custom_code.MyPooling"),
            &["custom_code.MyPooling", "modules.json"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/2/type",
            json!(format!("{own}.LSTM")),
            &["LSTM"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/2/type",
            json!(format!("{own}.Pooling")),
            &["Pooling"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/0/type",
            json!(format!("{own}.CLIPModel")),
            &["CLIPModel"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/1/path",
            json!("../1_Pooling"),
            &["../1_Pooling"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/1/path",
            json!("3_Pooling"),
            &["3_Pooling/config.json", "no such file"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/0/kwargs",
            json!(["task"]),
            &["kwargs", "task"],
        ),
        (
            "bert-cls",
            "modules.json",
            "/1/type",
            json!(7),
            &["type", "7", "a string"],
        ),
        // Pooling.
        (
            "bert-cls",
            pooling,
            "/pooling_mode",
            json!("attention"),
            &["pooling_mode", "attention", "lasttoken"],
        ),
        (
            "bert-cls",
            pooling,
            "/pooling_mode",
            json!(["cls", "none"]),
            &["pooling_mode", "none"],
        ),
        (
            "bert-cls",
            pooling,
            "/pooling_mode",
            json!(3),
            &["pooling_mode", "3"],
        ),
        (
            "bert-cls",
            pooling,
            "/pooling_mode_clever",
            json!(true),
            &["pooling_mode_clever"],
        ),
        (
            "bert-cls",
            pooling,
            "/embedding_dimension",
            json!(32),
            &["32", "16"],
        ),
        (
            "bert-cls",
            pooling,
            "/include_prompt",
            json!("yes"),
            &["include_prompt", "yes"],
        ),
        (
            "pooling-max",
            pooling,
            "/pooling_mode_max_tokens",
            json!("true"),
            &["pooling_mode_max_tokens", "true or false"],
        ),
        // Dense.
        (
            "dense-relu",
            "2_Dense/config.json",
            "/activation_function",
            json!("torch.nn.modules.activation.Mish"),
            &["activation_function", "Mish", "Tanh"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/activation_function",
            json!("mine.ReLU"),
            &["mine.ReLU"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/in_features",
            json!(16),
            &["in_features", "16", "8"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/out_features",
            json!(9),
            &["linear.weight", "[8, 8]"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/bias",
            json!(false),
            &["unused", "linear.bias"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/module_input_name",
            json!("token_embeddings"),
            &["module_input_name", "token_embeddings"],
        ),
        (
            "dense-relu",
            "2_Dense/config.json",
            "/use_residual",
            json!(true),
            &["use_residual"],
        ),
        // Length, case, prompts, modality.
        (
            "bert-cls",
            bert,
            "/max_seq_length",
            json!("64"),
            &["max_seq_length", "64"],
        ),
        (
            "bert-cls",
            bert,
            "/modality_config",
            json!({"message": {"method": "forward"}}),
            &["modality_config", "message"],
        ),
        (
            "bert-cls",
            bert,
            "/processing_kwargs",
            json!({"text": {"max_length": 3}}),
            &["processing_kwargs", "max_length"],
        ),
        (
            "bert-cls",
            bert,
            "/model_args",
            json!({"num_labels": 2}),
            &["model_args", "num_labels"],
        ),
        (
            "bert-cls",
            "config_sentence_transformers.json",
            "/default_prompt_name",
            json!("clustering"),
            &["default_prompt_name", "clustering"],
        ),
        (
            "bert-cls",
            "config_sentence_transformers.json",
            "/model_type",
            json!("SparseEncoder"),
            &["model_type", "SparseEncoder"],
        ),
        (
            "bert-cls",
            "tokenizer_config.json",
            "/do_lower_case",
            json!(false),
            &["do_lower_case", "tokenizer.json"],
        ),
        (
            "bert-cls",
            "tokenizer_config.json",
            "/model_max_length",
            json!("long"),
            &["model_max_length", "long"],
        ),
    ];
    for (case, file, key, value, words) in cases {
        let (parent, name) = key.rsplit_once('/').unwrap();
        let dir = changed(case, file, |json| {
            json.pointer_mut(parent).unwrap()[name] = value.clone();
        });
        let refused = refusal(dir.path());
        for word in words {
            assert!(refused.contains(word), "{file} {key} {value}: {refused}");
        }
    }
}

#[test]
fn encoder_options_that_change_the_computation_are_refused() {
    for (case, key, value, word) in [
        ("bert-cls", "hidden_act", json!("relu"), "gelu"),
        (
            "bert-cls",
            "position_embedding_type",
            json!("relative_key"),
            "absolute",
        ),
        ("bert-cls", "is_decoder", json!(true), "false"),
        (
            "roberta",
            "pad_token_id",
            json!(63),
            "max_position_embeddings",
        ),
        ("mpnet", "relative_attention_num_buckets", json!(16), "32"),
        (
            "distilbert/0_Transformer",
            "activation",
            json!("relu"),
            "gelu",
        ),
        ("qwen3-last", "is_causal", json!(false), "true"),
        (
            "qwen3-last",
            "use_bidirectional_attention",
            json!(true),
            "false",
        ),
        ("bert-cls", "model_type", json!("new"), "xlm-roberta"),
    ] {
        let (case, folder) = case.split_once('/').unwrap_or((case, "."));
        let file = format!("{folder}/config.json");
        let dir = changed(case, &file, |json| json[key] = value.clone());
        let refused = refusal(dir.path());
        assert!(refused.contains(word), "{key}: {refused}");
        let named = if key == "model_type" { "new" } else { key };
        assert!(refused.contains(named), "{key}: {refused}");
    }
}

#[test]
fn an_incomplete_copy_is_refused_and_a_bare_model_is_averaged() {
    let dir = changed("bert-cls", "unread.json", |_| ());
    fs::remove_file(dir.path().join("modules.json")).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("1_Pooling/config.json"), "{refused}");
    assert!(refused.contains("copy the whole directory"), "{refused}");
    fs::remove_dir_all(dir.path().join("1_Pooling")).unwrap();
    let bare = open(dir.path()).unwrap();
    assert_eq!(bare.description(), "mean, normalised, at most 64 tokens");

    // Files that were downloaded one by one.
    let flat = changed("bert-cls", "unread.json", |_| ());
    let folder = flat.path().join("1_Pooling");
    fs::rename(
        folder.join("config.json"),
        flat.path().join("1_Pooling_config.json"),
    )
    .unwrap();
    let description = open(flat.path()).unwrap().description();
    assert_eq!(description, "cls, normalised, at most 64 tokens");
}

#[test]
fn a_tokenizer_that_transformers_would_build_anew_must_say_the_same() {
    let refused = |case: &str, change: &dyn Fn(&mut Value)| {
        let dir = changed(case, "tokenizer_config.json", change);
        let encoder = open(dir.path()).unwrap();
        encoder.inputs().map(|_| ()).err().map(|e| e.to_string())
    };
    // transformers 5.23.0 lowers the case for each of these, whatever `tokenizer.json` says.
    for class in [json!("BertTokenizer"), json!("MPNetTokenizer"), json!(null)] {
        let said = refused("cased", &|json| json["tokenizer_class"] = class.clone()).unwrap();
        assert!(
            said.contains("do_lower_case") && said.contains("not said"),
            "{said}"
        );
    }
    let plain = |json: &mut Value| json["tokenizer_class"] = json!("PreTrainedTokenizerFast");
    assert_eq!(refused("cased", &plain), None);
    let cased = |json: &mut Value| {
        json["tokenizer_class"] = json!("BertTokenizer");
        json["do_lower_case"] = json!(false);
    };
    assert_eq!(refused("cased", &cased), None);
    // Accents go with the case unless they are said.
    let accents = |json: &mut Value| json["strip_accents"] = json!(true);
    assert_eq!(refused("bert-cls", &accents), None);
    let accents = |json: &mut Value| json["strip_accents"] = json!(false);
    assert!(
        refused("bert-cls", &accents)
            .unwrap()
            .contains("strip_accents")
    );
}

#[test]
fn modules_are_read_from_the_folders_that_are_named() {
    let dir = changed("dense-relu", "modules.json", |json| {
        json[1]["path"] = json!("mine/pool");
        json[2]["path"] = json!("out");
    });
    fs::create_dir(dir.path().join("mine")).unwrap();
    for (from, to) in [("1_Pooling", "mine/pool"), ("2_Dense", "out")] {
        fs::rename(dir.path().join(from), dir.path().join(to)).unwrap();
    }
    let (_, ids, vectors) = expected(&golden("dense-relu"));
    let found = open(dir.path()).unwrap().embed(&ids, 0).unwrap();
    assert_close(found, vectors, "folders of other names");

    // Weights in a format that is not read are named.
    let weights = dir.path().join("out/model.safetensors");
    fs::rename(weights, dir.path().join("out/pytorch_model.bin")).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("pytorch_model.bin"), "{refused}");
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    let refused = refusal(dir.path());
    assert!(refused.contains("out/config.json"), "{refused}");

    let many = changed("pooling-last", "1_Pooling/config.json", |json| {
        json["pooling_mode"] = json!(vec!["mean"; 1 << 20]);
    });
    let refused = refusal(many.path());
    assert!(refused.contains("1048576 modes"), "{refused}");
}

#[test]
fn everything_that_changes_the_vectors_changes_the_fingerprint() {
    let fingerprint = |dir: &Path| open(dir).unwrap().fingerprint().unwrap();
    let cls = fingerprint(&golden("bert-cls"));
    assert_eq!(cls, fingerprint(&golden("bert-cls")));
    let mean = changed("bert-cls", "1_Pooling/config.json", |json| {
        json["pooling_mode"] = json!("mean");
    });
    let prompted = changed("bert-cls", "config_sentence_transformers.json", |json| {
        *json = json!({"prompts": {"query": "q : "}, "default_prompt_name": "query"});
    });
    let mean_prints = [fingerprint(mean.path()), fingerprint(prompted.path())];
    assert!(!mean_prints.contains(&cls) && mean_prints[0] != mean_prints[1]);
    // Plain means at unit length keep the name that they have had: that of the weights.
    let weights = e2p_model::Checkpoint::open(mean.path())
        .unwrap()
        .fingerprint();
    assert_eq!(mean_prints[0], weights);

    let relu = fingerprint(&golden("dense-relu"));
    let tanh = changed("dense-relu", "2_Dense/config.json", |json| {
        json["activation_function"] = json!("torch.nn.modules.activation.Tanh");
    });
    assert_ne!(relu, fingerprint(tanh.path()));
}
