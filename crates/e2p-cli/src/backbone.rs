//! Finds and loads the frozen model: a directory, or a hub id.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use e2p_model::burn::tensor::DType;
use e2p_model::{Decoder, LoadOptions, MatmulPrecision, Tokenizer};
use e2p_prefix::Personalized;

use crate::args::{Dtype, GlobalArgs, Precision};
use crate::device;
#[cfg(not(feature = "hub"))]
use crate::report::hinted;

/// Says which tensors of a model have no part in what is computed.
pub(crate) fn warn_unused(name: &str, unused: &[String]) {
    const LISTED: usize = 3;
    if unused.is_empty() {
        return;
    }
    let listed: Vec<String> = unused
        .iter()
        .take(LISTED)
        .map(|n| format!("`{n}`"))
        .collect();
    let rest = match unused.len().saturating_sub(LISTED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    tracing::warn!("not used of `{name}`: {}{rest}", listed.join(", "));
}

/// Loads `path_or_id` onto the device that the options ask for; the directory is where it was
/// found.
///
/// # Errors
/// A directory that is not there, and everything that [`Tokenizer::from_dir`] and
/// [`Decoder::from_dir`] refuse.
pub(crate) fn load(
    path_or_id: &str,
    global: &GlobalArgs,
) -> anyhow::Result<(Personalized, PathBuf)> {
    let chosen = device::choose(&global.device)?;
    let dtype = global.dtype.to_possible_value();
    tracing::info!(
        "backend {}, device {}, dtype {}",
        chosen.backend,
        chosen.name,
        dtype.as_ref().map_or("", PossibleValue::get_name)
    );
    let dir = resolve(path_or_id, global)?;
    // The tokenizer first: it is small, and its absence should not cost the loading of the weights.
    let tokenizer = Tokenizer::from_dir(&dir)
        .with_context(|| format!("cannot load the tokenizer of `{path_or_id}`"))?;
    let (decoder, _) = Decoder::from_dir(&dir, &load_options(global), &chosen.device)
        .with_context(|| format!("cannot load the backbone `{path_or_id}`"))?;
    warn_unused(path_or_id, decoder.unused_tensors());
    let config = decoder.config();
    tokenizer.check_vocab_size(config.vocab_size)?;
    tracing::debug!(
        "{} with {} parameters, context {}",
        config.model_type,
        config.n_parameters(),
        config.max_seq_len
    );
    Ok((Personalized::bare(decoder, tokenizer), dir))
}

/// What `--dtype` and `--matmul-precision` ask for.
pub(crate) fn load_options(global: &GlobalArgs) -> LoadOptions {
    let stored = match global.dtype {
        Dtype::F32 => DType::F32.into(),
        Dtype::F16 => DType::F16.into(),
        Dtype::Bf16 => DType::BF16.into(),
        Dtype::Int8 => LoadOptions::int8(),
    };
    let matmul_precision = match global.matmul_precision {
        Precision::Highest => MatmulPrecision::Highest,
        Precision::Medium => MatmulPrecision::Medium,
    };
    LoadOptions {
        matmul_precision,
        ..stored
    }
}

/// The directory that `path_or_id` means. A path that exists wins over a hub id.
///
/// # Errors
/// If there is no such directory and it cannot be downloaded.
pub(crate) fn resolve(path_or_id: &str, global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    let path = Path::new(path_or_id);
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    if !is_hub_id(path_or_id) {
        anyhow::bail!(
            "`{path_or_id}` does not exist; expected a Hugging Face directory with config.json, *.safetensors and tokenizer.json"
        );
    }
    download(path_or_id, global)
}

#[cfg(feature = "hub")]
fn download(id: &str, global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    crate::hub::download(id, &crate::hub::HubOptions::from_env(global.quiet))
}

#[cfg(not(feature = "hub"))]
fn download(id: &str, _global: &GlobalArgs) -> anyhow::Result<PathBuf> {
    Err(hinted(
        format!("`{id}` does not exist, and this binary cannot download from a hub"),
        "in a clone of the source: cargo install --path crates/e2p-cli --features hub",
    ))
}

/// `org/name`: two plain names.
fn is_hub_id(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    text.split_once('/')
        .is_some_and(|(org, name)| is_name(org) && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_two_plain_names() {
        assert!(is_hub_id("HuggingFaceTB/SmolLM2-135M"));
        for path in ["model", "./model", "../a/b", "/a/b", "a/b/c", "a/", "a b/c"] {
            assert!(!is_hub_id(path), "{path}");
        }
    }
}
