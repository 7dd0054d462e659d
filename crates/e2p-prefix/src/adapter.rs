//! The adapter on disk, under peft's file names: what a service needs beside the backbone.
//!
//! `adapter_config.json` says what the projector looks like, how its prompts were made and where
//! its tokens go, which embedding space it reads and which backbone it was trained on;
//! `adapter_model.safetensors` holds its tensors and the space's statistics. A wrong backbone or
//! space is refused by name.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use e2p_model::{Checkpoint, Decoder};
use serde::{Deserialize, Serialize};

use crate::config::ProjectorConfig;
use crate::error::{PrefixError, Result};
use crate::projector::Projector;
use crate::prompt::PromptConfig;
use crate::space::EmbeddingSpace;
use crate::tensors::{
    NamedTensors, load_named_tensors, named_tensors, read_safetensors, write_safetensors,
};

/// File with the configuration.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// File with the tensors.
pub const MODEL_FILE: &str = "adapter_model.safetensors";
/// The format this version writes, and the latest it reads.
pub const FORMAT_VERSION: u32 = 2;
/// Folder of a run directory that holds its adapter.
pub const ADAPTER_DIR: &str = "adapter";

/// `adapter_config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Always `E2P`: tells peft's readers that this is not one of theirs.
    pub peft_type: String,
    /// What was trained.
    pub method: Method,
    /// Where the backbone was found; for people, never used to decide.
    pub base_model_name_or_path: String,
    /// The backbone's identity.
    pub backbone: BackboneId,
    /// Shape of the projector.
    pub projector: ProjectorConfig,
    /// How the prompts of training were made; prompts at serving time are made the same way.
    pub prompt: PromptConfig,
    /// What the prompts of training were; `None` in an adapter of format version 1, which does not
    /// say.
    pub prompt_format: Option<PromptFormat>,
    /// The user embeddings' space; its statistics are in the tensor file.
    pub embedding_space: EmbeddingSpace,
    /// SHA-256 of the resolved training recipe, or empty.
    pub recipe_hash: String,
}

/// What an adapter learned to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A user embedding to soft tokens.
    #[default]
    E2p,
    /// One learned prefix for everybody: the baseline.
    SoftPrompt,
}

/// What the prompts of an adapter's training were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptFormat {
    /// Conversations in the backbone's chat template.
    Chat,
    /// Plain texts.
    Text,
    /// Both.
    Mixed,
}

/// The identity of a backbone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneId {
    /// `model_type` of its configuration.
    pub model_type: String,
    /// Width of a token embedding.
    pub d_model: usize,
    /// Rows of its embedding matrix.
    pub vocab_size: usize,
    /// SHA-256 of its weights.
    pub fingerprint: String,
}

/// A trained projector with all that it takes to use it. Preferred variable name: `adapter`.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// What the files say.
    pub config: AdapterConfig,
    /// The trained part.
    pub projector: Projector,
}

impl BackboneId {
    /// The identity of `decoder`, which was loaded from `dir`.
    ///
    /// # Errors
    /// Weight files that cannot be read.
    pub fn of(decoder: &Decoder, dir: &Path) -> Result<Self> {
        let config = decoder.config();
        Ok(Self {
            model_type: config.model_type.clone(),
            d_model: config.d_model,
            vocab_size: config.vocab_size,
            fingerprint: Checkpoint::open(dir)?.fingerprint(),
        })
    }
}

impl Adapter {
    /// The adapter directory that `path` means: itself, or the one inside a run directory.
    pub fn find(path: &Path) -> PathBuf {
        let inside = path.join(ADAPTER_DIR);
        if inside.is_dir() { inside } else { path.into() }
    }

    /// Reads an adapter directory onto `device`.
    ///
    /// # Errors
    /// Unreadable or malformed files, a later format, another method, tensors that do not fit.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        let config = AdapterConfig::read(dir)?;
        let path = dir.join(MODEL_FILE);
        let mut tensors = read_safetensors(&path)?;
        let wrong = |problems: String| PrefixError::Tensors {
            path: path.clone(),
            problems,
        };
        let mut config = config;
        let dim = config.embedding_space.dim;
        let mut statistics = |name: &str| match tensors.remove(&format!("embedding_space.{name}")) {
            Some((_, values))
                if values.len() == dim && values.iter().all(|value| value.is_finite()) =>
            {
                Ok(values)
            }
            Some((shape, _)) => Err(wrong(format!(
                "`embedding_space.{name}` has shape {shape:?}, expected [{dim}] finite values"
            ))),
            None => Err(wrong(format!("`embedding_space.{name}` is missing"))),
        };
        config.embedding_space.mean = statistics("mean")?;
        config.embedding_space.std = statistics("std")?;
        let projector =
            load_named_tensors(config.projector.init(1.0, 1.0, 0, device), &mut tensors)
                .map_err(wrong)?;
        if !tensors.is_empty() {
            let names: Vec<_> = tensors.keys().map(|name| format!("`{name}`")).collect();
            return Err(wrong(format!("{} not used", names.join(", "))));
        }
        Ok(Self { config, projector })
    }

    /// Writes the two files into `dir`, which must exist. Callers that must not lose an older
    /// adapter write beside it and rename.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut tensors: NamedTensors = named_tensors(&self.projector);
        let space = &self.config.embedding_space;
        tensors.insert(
            "embedding_space.mean".into(),
            (vec![space.dim], space.mean.clone()),
        );
        tensors.insert(
            "embedding_space.std".into(),
            (vec![space.dim], space.std.clone()),
        );
        write_safetensors(&dir.join(MODEL_FILE), &tensors)?;
        let path = dir.join(CONFIG_FILE);
        let json = serde_json::to_vec_pretty(&self.config).map_err(|source| PrefixError::Json {
            path: path.clone(),
            source,
        })?;
        std::fs::write(&path, json).map_err(|source| PrefixError::Io { path, source })
    }
}

impl AdapterConfig {
    /// Reads `adapter_config.json` in `dir`; the space's statistics stay empty.
    ///
    /// # Errors
    /// An unreadable or malformed file, a later format, another method.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        let bytes = std::fs::read(&path).map_err(|source| PrefixError::Io {
            path: path.clone(),
            source,
        })?;
        let mut json: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|source| PrefixError::Json {
                path: path.clone(),
                source,
            })?;
        let format = |key: &str, found: String, expected: String| PrefixError::Format {
            path: path.clone(),
            key: key.into(),
            found,
            expected,
        };
        // Before the fields: a later format may have others.
        let shown = |key: &str| json.get(key).map_or("nothing".into(), ToString::to_string);
        if json.get("peft_type").and_then(serde_json::Value::as_str) != Some("E2P") {
            return Err(format("peft_type", shown("peft_type"), "\"E2P\"".into()));
        }
        match json
            .get("format_version")
            .and_then(serde_json::Value::as_u64)
        {
            Some(version) if (1..=u64::from(FORMAT_VERSION)).contains(&version) => {}
            _ => {
                return Err(format(
                    "format_version",
                    shown("format_version"),
                    format!("1 to {FORMAT_VERSION}"),
                ));
            }
        }
        if json["format_version"] == 1 {
            upgrade(&mut json);
        }
        let config: Self = serde_json::from_value(json).map_err(|source| PrefixError::Json {
            path: path.clone(),
            source,
        })?;
        config.projector.validate()?;
        if config.embedding_space.dim != config.projector.d_user
            || config.backbone.d_model != config.projector.d_model
        {
            let found = format!(
                "{} to {}",
                config.projector.d_user, config.projector.d_model
            );
            let expected = format!(
                "{} to {} as in embedding_space and backbone",
                config.embedding_space.dim, config.backbone.d_model
            );
            return Err(format("projector", found, expected));
        }
        Ok(config)
    }

    /// What an adapter of format version 1 does not say about its prompts, as a sentence for
    /// whoever uses it; `None` for later ones.
    pub fn unrecorded(&self) -> Option<&'static str> {
        self.prompt_format.is_none().then_some(
            "the adapter does not record how its prompts were made (format version 1): whether they were chats or plain text, \
             their length limits and whether the profile text stood in them are unknown; chat templates read 1970-01-01 as today",
        )
    }

    /// Refuses another backbone, by fingerprint.
    ///
    /// # Errors
    /// [`PrefixError::WrongBackbone`] naming both.
    pub fn check_backbone(&self, found: &BackboneId, found_name: &str) -> Result<()> {
        if self.backbone == *found {
            return Ok(());
        }
        let describe = |id: &BackboneId, name: &str| {
            let short: String = id.fingerprint.chars().take(12).collect();
            format!(
                "`{name}` ({}, d_model {}, vocabulary {}, fingerprint {short})",
                id.model_type, id.d_model, id.vocab_size
            )
        };
        Err(PrefixError::WrongBackbone {
            expected: describe(&self.backbone, &self.base_model_name_or_path),
            found: describe(found, found_name),
        })
    }
}

/// Turns the JSON of format version 1 into that of version 2.
///
/// Version 1 said of its prompts only the position. They were made with what are defaults now: no
/// date, no special tokens in plain chats.
fn upgrade(json: &mut serde_json::Value) {
    let position = json["position"].take();
    if let Some(fields) = json.as_object_mut() {
        fields.remove("position");
        fields.insert("format_version".into(), FORMAT_VERSION.into());
        fields.insert("prompt".into(), serde_json::json!({ "position": position }));
    }
}
