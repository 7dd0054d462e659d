//! Encoder families: `config.json` and tensor names, one file each, as the decoders' in
//! [`crate::families`].

mod bert;
mod distilbert;
mod mpnet;
mod roberta;

use serde_json::Value;

use super::config::EncoderConfig;
use super::family::EncoderFamily;
use crate::error::{ModelError, Result};

/// Every supported family.
const FAMILIES: [&EncoderFamily; 4] = [
    &bert::FAMILY,
    &distilbert::FAMILY,
    &mpnet::FAMILY,
    &roberta::FAMILY,
];

/// Every supported `model_type`, comma-separated.
pub(crate) fn supported() -> String {
    let types: Vec<&str> = FAMILIES
        .iter()
        .flat_map(|f| f.model_types)
        .copied()
        .collect();
    types.join(", ")
}

/// Whether a parsed `config.json` names one of them.
pub(super) fn is_encoder(json: &Value) -> bool {
    let found = json.get("model_type").and_then(Value::as_str);
    let mut types = FAMILIES.iter().flat_map(|family| family.model_types);
    types.any(|name| Some(*name) == found)
}

/// The family of a parsed `config.json`, with the configuration.
///
/// # Errors
/// [`ModelError::ModelType`], and an option that is not supported, by its key.
pub(super) fn parse(json: &Value) -> Result<(&'static EncoderFamily, EncoderConfig)> {
    let found = json.get("model_type").and_then(Value::as_str);
    let found = found.unwrap_or("(none)");
    for family in FAMILIES {
        if let Some(model_type) = family.model_types.iter().find(|name| **name == found) {
            let config = (family.config)(model_type, json)?;
            config.shape.validate()?;
            return Ok((family, config));
        }
    }
    Err(ModelError::ModelType {
        found: found.into(),
        supported: supported(),
    })
}
