//! RoBERTa, XLM-R and CamemBERT (transformers `models/roberta`, `xlm_roberta`, `camembert`):
//! BERT whose positions are counted from behind the padding token's id.

use serde_json::Value;

use super::bert;
use crate::encoder::config::EncoderConfig;
use crate::encoder::family::{BERT_KEYS, EncoderFamily, shape};
use crate::error::Result;
use crate::families::Names;
use crate::families::wire::Wire;

pub(super) const FAMILY: EncoderFamily = EncoderFamily {
    model_types: &["roberta", "xlm-roberta", "camembert"],
    config,
    names: Names {
        root: "roberta.",
        ..bert::NAMES
    },
    token_types: "embeddings.token_type_embeddings",
    relative_positions: "",
};

fn config(model_type: &'static str, json: &Value) -> Result<EncoderConfig> {
    let wire = Wire { model_type, json };
    let n_token_types = wire.size_or("type_vocab_size", 2)?;
    if n_token_types == 0 {
        return Err(wire.invalid("type_vocab_size", 0, "at least 1"));
    }
    let shape = shape(&wire, &BERT_KEYS, wire.number_or("layer_norm_eps", 1e-12)?)?;
    let padding = wire.size_or("pad_token_id", 1)?;
    if padding + 1 >= shape.max_seq_len || padding >= shape.vocab_size {
        return Err(wire.invalid(
            "pad_token_id",
            padding,
            "a token below max_position_embeddings - 1: positions are counted from behind it",
        ));
    }
    Ok(EncoderConfig {
        shape,
        n_token_types,
        padding_id: Some(padding as u32),
        has_relative_positions: false,
    })
}
