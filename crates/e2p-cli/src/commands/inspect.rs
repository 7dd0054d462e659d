//! `e2p inspect`: what a path holds.
//!
//! Each kind of thing is recognised by a file it must have and described by a list of facts.

use std::path::Path;

use anyhow::Context;
use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use e2p_data::{DataDir, UserEmbeddings};
use e2p_model::{
    Checkpoint, DecoderConfig, Positions, RotaryScaling, Tokenizer, parse_config, read_json,
};
use e2p_prefix::Adapter;
use e2p_train::{MetricsLine, RunDir};
use serde_json::{Map, Value, json};

use crate::args::GlobalArgs;
use crate::backbone::resolve;
use crate::output::Output;
use crate::report::hinted;

/// `e2p inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A backbone (or its hub id), an adapter, a run, a data directory or a file of user embeddings
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
}

/// What was found, in the order in which it is shown. Preferred variable name: `facts`.
type Facts = Map<String, Value>;

/// Describes the path.
pub(crate) fn run(
    args: &InspectArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let given = Path::new(&args.path);
    let is_table = given.extension().is_some_and(|found| {
        ["safetensors", "npy", "parquet", "jsonl"]
            .iter()
            .any(|known| found == *known)
    });
    anyhow::ensure!(
        !is_table || given.exists(),
        "`{}` does not exist",
        args.path
    );
    let path = resolve(&args.path, global)?;
    let facts = describe(&path).with_context(|| format!("cannot describe `{}`", args.path))?;
    let Some(facts) = facts else {
        return Err(hinted(
            format!("e2p does not know what `{}` is", args.path),
            "a backbone (config.json), an adapter (adapter_config.json), a run (recipe.toml), a data directory (dataset.json), or a \
             file of user embeddings (.safetensors, .npy, .parquet, .jsonl)",
        ));
    };
    if output.is_json() {
        return output.json_line(&facts);
    }
    let width = facts.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in &facts {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        output.line(&format!("{:<width$}  {value}", name.replace('_', " ")))?;
    }
    Ok(())
}

/// What `path` is, by a file that it must have; `None` for nothing known.
fn describe(path: &Path) -> anyhow::Result<Option<Facts>> {
    let has = |name: &str| path.join(name).is_file();
    Ok(Some(if has("config.json") {
        backbone(path)?
    } else if has("adapter_config.json") {
        adapter(path)?
    } else if has("recipe.toml") {
        run_facts(path)?
    } else if has("dataset.json") {
        data(path)?
    } else if path.is_file() {
        embeddings(path)?
    } else {
        return Ok(None);
    }))
}

fn facts<const N: usize>(all: [(&str, Value); N]) -> Facts {
    let named = all
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    named.collect()
}

fn adapter(dir: &Path) -> anyhow::Result<Facts> {
    // The whole adapter, so that broken tensors show here and not at the first request.
    let adapter = Adapter::load(dir, &Device::default())?;
    let (config, projector) = (&adapter.config, &adapter.config.projector);
    let space = &config.embedding_space;
    Ok(facts([
        ("kind", json!("adapter")),
        ("method", json!(config.method)),
        ("trained_parameters", json!(adapter.projector.num_params())),
        ("preset", json!(projector.preset)),
        ("soft_tokens", json!(projector.n_prefix)),
        ("position", json!(config.prompt.position)),
        ("soft_token_rms", json!(adapter.projector.scale())),
        (
            "embedding_space",
            json!(format!("{} with {} dimensions", space.name, space.dim)),
        ),
        ("backbone", json!(config.base_model_name_or_path)),
        (
            "backbone_kind",
            json!(format!(
                "{}, d_model {}, vocabulary {}",
                config.backbone.model_type, config.backbone.d_model, config.backbone.vocab_size
            )),
        ),
        (
            "backbone_fingerprint",
            json!(format!("sha256:{}", config.backbone.fingerprint)),
        ),
        ("recipe_hash", json!(config.recipe_hash)),
        ("format_version", json!(config.format_version)),
    ]))
}

fn run_facts(dir: &Path) -> anyhow::Result<Facts> {
    let recipe = RunDir::recipe(dir)?;
    let (mut steps, mut total, mut loss, mut best) = (0, 0, None, None::<f64>);
    for line in RunDir::metrics(dir).unwrap_or_default() {
        match line {
            MetricsLine::Step(report) => {
                (steps, total, loss) = (report.step, report.total_steps, Some(report.loss));
            }
            MetricsLine::Valid(report) => {
                best = Some(best.map_or(report.valid_nll, |best| best.min(report.valid_nll)));
            }
        }
    }
    let adapter = RunDir::adapter_path(dir);
    let state = if adapter.is_dir() {
        "finished"
    } else {
        "unfinished; continue with: e2p train --resume --out"
    };
    Ok(facts([
        ("kind", json!("run")),
        ("state", json!(state)),
        ("task", json!(recipe.task)),
        ("method", json!(recipe.method)),
        ("steps", json!(format!("{steps} of {total}"))),
        ("last_loss", json!(loss)),
        ("best_valid_nll", json!(best)),
        ("backbone", json!(recipe.backbone)),
        ("data", json!(recipe.data)),
        ("users", json!(recipe.users)),
        ("seed", json!(recipe.seed)),
        ("recipe_hash", json!(recipe.hash())),
        ("has_report", json!(dir.join("report.json").is_file())),
    ]))
}

fn data(dir: &Path) -> anyhow::Result<Facts> {
    let data = DataDir::open(dir)?;
    let info = data.info();
    let Value::Object(mut facts) = serde_json::to_value(info)? else {
        unreachable!("a struct is an object");
    };
    facts.shift_insert(0, "kind".into(), json!("data directory"));
    Ok(facts)
}

fn embeddings(path: &Path) -> anyhow::Result<Facts> {
    let users = UserEmbeddings::open(path)?;
    users.validate()?;
    let statistics = users.statistics()?;
    let dead = statistics.std.iter().filter(|std| **std < 1e-6).count();
    Ok(facts([
        ("kind", json!("user embeddings")),
        ("users", json!(users.len())),
        ("dimensions", json!(users.dim())),
        ("space", json!(users.space())),
        (
            "element_type",
            json!(format!("{:?}", users.element_type()).to_lowercase()),
        ),
        ("dead_dimensions", json!(dead)),
        ("first_ids", json!(users.ids().take(3).collect::<Vec<_>>())),
    ]))
}

fn backbone(dir: &Path) -> anyhow::Result<Facts> {
    let json = read_json(dir, "config.json")?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut facts = if e2p_model::Encoder::is_supported(&json) {
        encoder_facts(&json, &checkpoint)
    } else {
        decoder_facts(dir, &parse_config(&json)?)
    };
    let mut dtypes: Vec<String> = checkpoint
        .tensors()
        .map(|(_, info)| format!("{:?}", info.dtype).to_lowercase())
        .collect();
    dtypes.sort();
    dtypes.dedup();
    facts.insert("dtype_on_disk".into(), json!(dtypes.join(", ")));
    facts.insert("bytes_on_disk".into(), json!(checkpoint.bytes()));
    facts.insert(
        "fingerprint".into(),
        json!(format!("sha256:{}", checkpoint.fingerprint())),
    );
    Ok(facts)
}

fn decoder_facts(dir: &Path, config: &DecoderConfig) -> Facts {
    let parameters = config.n_parameters();
    let (heads, kv_heads, width) = (config.n_heads, config.n_kv_heads, config.head_dim);
    let weights = format!(
        "{} as f32, {} as f16",
        bytes(4 * parameters),
        bytes(2 * parameters)
    );
    let cache = 2 * config.n_layers * kv_heads * width * size_of::<f32>();
    let full = bytes(cache * config.max_seq_len);
    let facts = [
        ("kind", json!("backbone")),
        ("model_type", json!(config.model_type)),
        ("parameters", json!(parameters)),
        ("layers", json!(config.n_layers)),
        ("d_model", json!(config.d_model)),
        (
            "heads",
            json!(format!("{heads} on {kv_heads} key/value heads of {width}")),
        ),
        ("positions", json!(positions(config))),
        ("context", json!(config.max_seq_len)),
        ("vocabulary", json!(config.vocab_size)),
        ("tied_head", json!(config.tie_word_embeddings)),
        ("tokenizer", json!(tokenizer(dir, config))),
        ("weights_in_memory", json!(weights)),
        (
            "cache_in_memory",
            json!(format!("{} a token as f32, {full} a context", bytes(cache))),
        ),
    ];
    facts
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

fn encoder_facts(json: &Value, checkpoint: &Checkpoint) -> Facts {
    let parameters: usize = checkpoint
        .tensors()
        .map(|(_, info)| info.shape.iter().product::<usize>())
        .sum();
    // DistilBERT has names of its own.
    let of = |keys: [&str; 2]| keys.iter().find_map(|key| json.get(key)).cloned();
    let facts = [
        ("kind", json!("sentence encoder")),
        ("model_type", json["model_type"].clone()),
        ("parameters", json!(parameters)),
        ("layers", json!(of(["num_hidden_layers", "n_layers"]))),
        ("d_model", json!(of(["hidden_size", "dim"]))),
        ("context", json["max_position_embeddings"].clone()),
        ("vocabulary", json["vocab_size"].clone()),
    ];
    facts
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

fn positions(config: &DecoderConfig) -> String {
    let rotary = match &config.positions {
        Positions::Learned => return "learned".into(),
        Positions::Rotary(rotary) => rotary,
    };
    let scaling = match rotary.scaling {
        RotaryScaling::None => "unscaled".into(),
        RotaryScaling::Linear { factor } => format!("linear scaling by {factor}"),
        RotaryScaling::Llama3 {
            factor,
            original_max_seq_len,
            ..
        } => {
            format!("llama3 scaling by {factor} from {original_max_seq_len}")
        }
    };
    format!("rotary, theta {}, {scaling}", rotary.theta)
}

/// One line on the tokenizer; its absence is a fact here and no error.
fn tokenizer(dir: &Path, config: &DecoderConfig) -> String {
    let tokenizer = match Tokenizer::from_dir(dir) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return error.to_string(),
    };
    let plain = tokenizer.chat_template().is_plain();
    let template = if plain {
        "no chat template"
    } else {
        "with a chat template"
    };
    let ends = tokenizer.eos_token_ids(&config.eos_token_ids);
    let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
    let size = tokenizer.vocab_size();
    format!(
        "{size} tokens, {template}, a text ends at {}",
        ends.join(" or ")
    )
}

/// A size for people: three digits and a unit.
fn bytes(n: usize) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (n.max(1).ilog2() / 10).min(4);
    let value = n as f64 / 1024f64.powi(power.cast_signed());
    let digits = match value {
        _ if power == 0 || value >= 100.0 => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {}", units[power as usize])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 512, 1536, 12 << 20, 538 << 20].map(bytes);
        assert_eq!(sizes, ["0 B", "512 B", "1.50 KiB", "12.0 MiB", "538 MiB"]);
    }
}
