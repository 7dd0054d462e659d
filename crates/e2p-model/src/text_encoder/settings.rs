//! What the files beside the modules say about the text: how long it may be, what stands in front
//! of it, whether its case counts.

use std::path::Path;

use serde_json::Value;

use super::json::Entry;
use crate::error::Result;
use crate::load::read_json;

/// Files of the same content; sentence-transformers reads the first that is there.
const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];
const PROMPTS_FILE: &str = "config_sentence_transformers.json";
const TOKENIZER_FILE: &str = "tokenizer_config.json";

/// How a text becomes tokens.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Longest text in tokens, special tokens included.
    pub(super) max_seq_len: usize,
    /// What stands in front of every text; empty for nothing.
    pub(super) prompt: String,
    pub(super) lower_case: bool,
}

impl Settings {
    /// Those of a model outside sentence-transformers: as long as the model's context.
    pub(super) fn plain(context: usize) -> Self {
        Self {
            max_seq_len: context,
            prompt: String::new(),
            lower_case: false,
        }
    }

    /// Reads the files of a sentence-transformers directory whose model lies in `model_dir` and
    /// has `context` positions.
    ///
    /// # Errors
    /// A key that is not supported, by file and name.
    pub(super) fn read(dir: &Path, model_dir: &Path, context: usize) -> Result<Self> {
        let (file, json) = first_of(model_dir, &TRANSFORMER_FILES)?;
        let transformer = Entry::new(file, &json);
        let limit = check_transformer(&transformer)?;
        if limit == Some(0) {
            return Err(transformer.refuse("max_seq_length", 0, "at least 1"));
        }
        let limit = match limit {
            Some(limit) => limit,
            None => tokenizer_limit(model_dir)?.unwrap_or(context),
        };
        Ok(Self {
            max_seq_len: limit.min(context),
            prompt: prompt(dir)?,
            lower_case: transformer.flag_or("do_lower_case", false)?,
        })
    }
}

/// The first of these files that is there, or `Null`.
fn first_of(dir: &Path, files: &[&'static str]) -> Result<(&'static str, Value)> {
    match files.iter().find(|file| dir.join(file).is_file()) {
        Some(file) => Ok((file, read_json(dir, file)?)),
        None => Ok((files[0], Value::Null)),
    }
}

/// Refuses what changes the model or the text in a way that is not read here; gives the limit.
fn check_transformer(entry: &Entry<'_>) -> Result<Option<usize>> {
    entry.only_keys(&[
        "max_seq_length",
        "do_lower_case",
        "transformer_task",
        "modality_config",
        "module_output_name",
        "processing_kwargs",
        "unpad_inputs",
        // Of `encode_query` and `encode_document`, which are not called here.
        "query_length",
        "document_length",
        "model_args",
        "model_kwargs",
        "config_args",
        "config_kwargs",
        "tokenizer_args",
        "processor_kwargs",
        "tokenizer_name_or_path",
    ])?;
    for (key, expected) in [
        ("transformer_task", "feature-extraction"),
        ("module_output_name", "token_embeddings"),
    ] {
        let found = entry.text_or(key, expected)?;
        if found != expected {
            return Err(entry.refuse(key, found, expected));
        }
    }
    let plain = serde_json::json!({"method": "forward", "method_output_name": "last_hidden_state"});
    for (modality, how) in entry.object("modality_config")? {
        if modality != "text" || *how != plain {
            let found = format!("{modality}: {how}");
            return Err(entry.refuse("modality_config", found, &format!("text: {plain} alone")));
        }
    }
    entry.only_empty("processing_kwargs")?;
    entry.only_empty("tokenizer_name_or_path")?;
    // How transformers computes, not what.
    allow(
        entry,
        &["model_args", "model_kwargs"],
        &[
            "attn_implementation",
            "torch_dtype",
            "dtype",
            "trust_remote_code",
        ],
    )?;
    allow(
        entry,
        &["config_args", "config_kwargs"],
        &["use_cache", "trust_remote_code"],
    )?;
    let tokenizer = ["tokenizer_args", "processor_kwargs"];
    allow(
        entry,
        &tokenizer,
        &["model_max_length", "padding_side", "trust_remote_code"],
    )?;
    for key in tokenizer {
        for (name, value) in entry.object(key)? {
            if name == "model_max_length" {
                return Ok(value.as_f64().map(|limit| limit as usize));
            }
        }
    }
    entry.size("max_seq_length")
}

/// Refuses entries of these objects other than `known`.
fn allow(entry: &Entry<'_>, keys: &[&str], known: &[&str]) -> Result<()> {
    for key in keys {
        for (name, value) in entry.object(key)? {
            if !known.contains(&name.as_str()) {
                let found = format!("{name}: {value}");
                return Err(entry.refuse(key, found, &known.join(", ")));
            }
        }
    }
    Ok(())
}

/// `model_max_length` of the tokenizer; often an astronomic number that means none.
fn tokenizer_limit(dir: &Path) -> Result<Option<usize>> {
    if !dir.join(TOKENIZER_FILE).is_file() {
        return Ok(None);
    }
    let json = read_json(dir, TOKENIZER_FILE)?;
    let limit = ["model_max_length", "max_len"]
        .iter()
        .find_map(|key| json.get(key))
        .filter(|limit| !limit.is_null());
    let Some(limit) = limit else { return Ok(None) };
    match limit.as_f64() {
        // A float beyond the range of usize becomes its largest number.
        Some(tokens) if tokens >= 1.0 => Ok(Some(tokens as usize)),
        _ => Err(Entry::new(TOKENIZER_FILE, &json).refuse(
            "model_max_length",
            limit,
            "a number of at least 1",
        )),
    }
}

/// The prompt that `encode` puts in front of every text: the default one, where one is named.
fn prompt(dir: &Path) -> Result<String> {
    let (file, json) = first_of(dir, &[PROMPTS_FILE])?;
    let entry = Entry::new(file, &json);
    let kind = entry.text_or("model_type", "SentenceTransformer")?;
    if kind != "SentenceTransformer" {
        return Err(entry.refuse("model_type", kind, "SentenceTransformer"));
    }
    entry.only_empty("truncate_dim")?;
    let prompts = entry.object("prompts")?;
    for (name, prompt) in &prompts {
        if !prompt.is_string() && !prompt.is_null() {
            return Err(entry.refuse(&format!("prompts.{name}"), prompt, "a string"));
        }
    }
    let Some(default) = entry.text_or_none("default_prompt_name")? else {
        return Ok(String::new());
    };
    let found = prompts.iter().find(|(name, _)| *name == default);
    match found {
        Some((_, prompt)) => Ok(prompt.as_str().unwrap_or_default().to_owned()),
        // These two are there without being listed, and empty.
        None if default == "query" || default == "document" => Ok(String::new()),
        None => {
            let names: Vec<&str> = prompts.iter().map(|(name, _)| name.as_str()).collect();
            let expected = format!("one of the prompts: {}", names.join(", "));
            Err(entry.refuse("default_prompt_name", default, &expected))
        }
    }
}
