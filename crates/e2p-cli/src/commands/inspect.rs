//! `e2p inspect`: what a path holds.
//!
//! Each kind of thing is recognised by a file it must have and described by a list of facts.

use std::path::Path;

use anyhow::Context;
use e2p_model::{
    Checkpoint, DecoderConfig, Positions, RotaryScaling, Tokenizer, parse_config, read_json,
};
use serde_json::{Map, Value, json};

use crate::args::{GlobalArgs, InspectArgs};
use crate::backbone::resolve;
use crate::output::Output;
use crate::report::hinted;

/// What was found, in the order in which it is shown. Preferred variable name: `facts`.
type Facts = Map<String, Value>;

/// Describes the path.
pub(crate) fn run(
    args: &InspectArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = resolve(&args.path, global)?;
    let facts = if path.join("config.json").is_file() {
        let described = backbone(&path);
        described.with_context(|| format!("cannot describe the backbone `{}`", args.path))?
    } else {
        return Err(hinted(
            format!("`{}` is nothing that e2p knows", args.path),
            "a backbone is a Hugging Face directory with config.json, *.safetensors and tokenizer.json",
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

fn backbone(dir: &Path) -> anyhow::Result<Facts> {
    let json = read_json(dir, "config.json")?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut facts = if json["model_type"] == "bert" {
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
    let facts = [
        ("kind", json!("sentence encoder")),
        ("model_type", json["model_type"].clone()),
        ("parameters", json!(parameters)),
        ("layers", json["num_hidden_layers"].clone()),
        ("d_model", json["hidden_size"].clone()),
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
