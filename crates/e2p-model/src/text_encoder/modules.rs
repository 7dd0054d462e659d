//! What `modules.json` lists, read as sentence-transformers reads it, or refused by name.
//!
//! Follows sentence-transformers 6.2.0; both spellings of its files, before and since 5.4.

use std::path::{Component, Path};

use serde_json::Value;

use super::dense::Activation;
use super::json::Entry;
use super::pooling::PoolingMode;
use crate::error::{ModelError, Result};
use crate::load::read_json;

const FILE: &str = "modules.json";

/// The modules of a directory, with folders relative to it.
#[derive(Debug)]
pub(super) struct Modules {
    /// Folder of the model and its tokenizer; empty for the directory itself.
    pub(super) model: String,
    pub(super) pooling: Pooling,
    /// What comes behind the pooling, in order.
    pub(super) stages: Vec<Stage>,
}

/// How one vector is made of the tokens' states.
#[derive(Debug)]
pub(super) struct Pooling {
    pub(super) modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt count.
    pub(super) include_prompt: bool,
    /// The width of a state, where the file says it, with the name of the file.
    pub(super) width: Option<(String, usize)>,
}

/// A module behind the pooling.
#[derive(Debug)]
pub(super) enum Stage {
    Dense(DenseConfig),
    Normalize,
}

/// `config.json` of a `Dense`.
#[derive(Debug)]
pub(super) struct DenseConfig {
    pub(super) folder: String,
    pub(super) in_features: usize,
    pub(super) out_features: usize,
    pub(super) bias: bool,
    pub(super) activation: Activation,
}

impl Modules {
    /// Reads `modules.json` and the configuration of every module; `None` for a directory that is
    /// not sentence-transformers'.
    ///
    /// # Errors
    /// A module, an order of modules or a key that is not supported, by name; files of
    /// sentence-transformers without `modules.json`.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        if !dir.join(FILE).is_file() {
            return refuse_leftovers(dir).map(|()| None);
        }
        let json = read_json(dir, FILE)?;
        let listed = Entry::new(FILE, &json).list("a list of modules")?;
        let mut model = None;
        let mut pooling = None;
        let mut stages = Vec::new();
        for module in listed {
            let kind = module.text("type")?;
            let path = module.text_or("path", "")?;
            let leaves = |part| !matches!(part, Component::Normal(_) | Component::CurDir);
            if Path::new(path).components().any(leaves) {
                return Err(module.refuse("path", path, "a folder within the directory"));
            }
            module.only_empty("kwargs")?;
            let name = match kind.strip_prefix("sentence_transformers.") {
                Some(rest) => rest.rsplit('.').next().unwrap_or_default(),
                None => "",
            };
            match (name, &model, &pooling) {
                ("Transformer", None, None) => model = Some(path.to_owned()),
                ("Pooling", Some(_), None) => pooling = Some(read_pooling(dir, path)?),
                ("Dense", Some(_), Some(_)) => stages.push(Stage::Dense(read_dense(dir, path)?)),
                ("Normalize", Some(_), Some(_)) => {
                    check_normalize(dir, path)?;
                    stages.push(Stage::Normalize);
                }
                // Does nothing outside training.
                ("Dropout", Some(_), Some(_)) => {}
                _ => {
                    return Err(module.refuse(
                        "type",
                        kind,
                        "sentence-transformers' own Transformer, then one Pooling, then any of Dense, \
                         Normalize and Dropout; embed the texts with sentence-transformers itself \
                         and give the vectors as a file",
                    ));
                }
            }
        }
        match (model, pooling) {
            (Some(model), Some(pooling)) => Ok(Some(Self {
                model,
                pooling,
                stages,
            })),
            _ => Err(Entry::new(FILE, &json).refuse(
                "",
                "no Transformer with a Pooling behind it",
                "both: a vector for each text, not for each token",
            )),
        }
    }
}

/// Files that mean something else without `modules.json` than with it.
fn refuse_leftovers(dir: &Path) -> Result<()> {
    for file in [
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ] {
        if dir.join(file).is_file() {
            return Err(ModelError::Unsupported {
                model_type: "a directory without `modules.json`".into(),
                option: file.into(),
                found: "a file of sentence-transformers".into(),
                expected: "`modules.json` beside it: copy the whole directory".into(),
            });
        }
    }
    Ok(())
}

/// `config.json` in a module's folder, also under the name that a download of single files gives
/// it (`1_Pooling_config.json`); `Null` if there is none.
fn module_config(dir: &Path, folder: &str) -> Result<(String, Value)> {
    let file = format!("{folder}/config.json");
    let flat = format!("{folder}_config.json");
    for name in [&file, &flat] {
        if !folder.is_empty() && dir.join(name).is_file() {
            return Ok((name.clone(), read_json(dir, name)?));
        }
    }
    Ok((file, Value::Null))
}

fn read_pooling(dir: &Path, folder: &str) -> Result<Pooling> {
    let (file, json) = module_config(dir, folder)?;
    let entry = Entry::new(&file, &json);
    if json.is_null() {
        return Err(entry.refuse(
            "",
            "no such file",
            "the file that `modules.json` names: copy the whole directory",
        ));
    }
    let mut modes = Vec::new();
    let mut known = vec![
        "embedding_dimension",
        "word_embedding_dimension",
        "include_prompt",
        "pooling_mode",
    ];
    known.extend(PoolingMode::NAMED.map(|(.., key)| key));
    entry.only_keys(&known)?;
    // Today's spelling; where it stands, the old one counts no more.
    let names = entry.texts("pooling_mode")?;
    if names.len() > PoolingMode::NAMED.len() {
        let found = format!("{} modes", names.len());
        return Err(entry.refuse("pooling_mode", found, "each of them once at most"));
    }
    for name in &names {
        let named = PoolingMode::NAMED.iter().find(|(_, n, _)| n == name);
        let Some((mode, ..)) = named else {
            let all = PoolingMode::NAMED.map(|(_, name, _)| name).join(", ");
            return Err(entry.refuse("pooling_mode", name, &format!("one or more of {all}")));
        };
        modes.push(*mode);
    }
    for (mode, _, key) in PoolingMode::NAMED {
        if entry.flag_or(key, false)? && names.is_empty() {
            modes.push(mode);
        }
    }
    if modes.is_empty() {
        modes.push(PoolingMode::Mean);
    }
    let width = match entry.size("embedding_dimension")? {
        Some(width) => Some(width),
        None => entry.size("word_embedding_dimension")?,
    };
    Ok(Pooling {
        modes,
        include_prompt: entry.flag_or("include_prompt", true)?,
        width: width.map(|width| (file.clone(), width)),
    })
}

fn read_dense(dir: &Path, folder: &str) -> Result<DenseConfig> {
    const TORCH: &str = "torch.nn.modules.";
    let (file, json) = module_config(dir, folder)?;
    let entry = Entry::new(&file, &json);
    entry.only_keys(&[
        "in_features",
        "out_features",
        "bias",
        "activation_function",
        "module_input_name",
        "module_output_name",
        "use_residual",
    ])?;
    of_sentences(&entry)?;
    if entry.flag_or("use_residual", false)? {
        return Err(entry.refuse("use_residual", "true", "false"));
    }
    let name = entry.text_or("activation_function", "torch.nn.modules.activation.Tanh")?;
    let class = name.strip_prefix(TORCH).and_then(|n| n.rsplit('.').next());
    let known = Activation::NAMED.iter().find(|(_, n)| Some(*n) == class);
    let Some((activation, _)) = known else {
        let all = Activation::NAMED.map(|(_, name)| name).join(", ");
        let expected = format!("{TORCH}... {all}");
        return Err(entry.refuse("activation_function", name, &expected));
    };
    let size = |key: &str| {
        let size = entry.size(key)?.filter(|size| (1..=1 << 20).contains(size));
        size.ok_or_else(|| entry.refuse(key, entry.shown(key), "a width between 1 and 1048576"))
    };
    Ok(DenseConfig {
        folder: folder.to_owned(),
        in_features: size("in_features")?,
        out_features: size("out_features")?,
        bias: entry.flag_or("bias", true)?,
        activation: *activation,
    })
}

/// Before 5.4 the module had no file.
fn check_normalize(dir: &Path, folder: &str) -> Result<()> {
    let (file, json) = module_config(dir, folder)?;
    let entry = Entry::new(&file, &json);
    entry.only_keys(&["module_input_name", "module_output_name"])?;
    of_sentences(&entry)
}

/// Refuses modules that work on tokens, or leave their result where nothing reads it.
fn of_sentences(entry: &Entry<'_>) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        let found = entry.text_or(key, "sentence_embedding")?;
        if found != "sentence_embedding" {
            return Err(entry.refuse(key, found, "sentence_embedding"));
        }
    }
    Ok(())
}
