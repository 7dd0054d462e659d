//! Where the figures of a report come from: recipe, seeds, fingerprints, conventions, device,
//! versions.

use e2p_data::UserEmbeddings;
use serde_json::{Map, Value, json};

use crate::eval::judge::assemble::Parts;
use crate::metrics::BLEU_SIGNATURE;

/// Where the figures come from.
pub(crate) fn provenance(parts: &Parts<'_>) -> Map<String, Value> {
    let (config, options) = (&parts.adapter.config, parts.options);
    let info = parts.inputs.data.info();
    let inputs: Vec<Value> = info
        .inputs
        .iter()
        .map(|input| json!({"name": input.name, "sha256": input.sha256}))
        .collect();
    let answered = parts
        .scores
        .first()
        .map_or(0, |scores| scores.answers.len());
    let embeddings = parts.inputs.embeddings.as_ref();
    let mut entries = vec![
        ("run", json!(parts.run_path)),
        ("recipe", json!(parts.recipe.to_toml())),
        ("recipe_hash", json!(parts.recipe.hash())),
        ("evaluation_seed", json!(options.seed)),
        ("resamples", json!(options.resamples)),
        ("embedding_noise", json!(options.embedding_noise)),
        ("examples_left_out", json!(parts.skipped)),
        (
            "examples_whose_stranger_has_no_profile",
            json!(parts.strangers_without_profile),
        ),
        ("examples_with_ranked_candidates", json!(parts.ranked.len())),
        ("examples_answered", json!(answered)),
        ("metrics", json!(conventions(parts))),
        ("backbone", json!(config.base_model_name_or_path)),
        ("backbone_fingerprint", json!(config.backbone.fingerprint)),
        ("embedding_space", json!(config.embedding_space.name)),
        (
            "embedding_space_fingerprint",
            json!(config.embedding_space.fingerprint()),
        ),
        ("embeddings", json!(embeddings.map(UserEmbeddings::path))),
        ("data", json!(info.name)),
        ("data_licence", json!(info.licence)),
        ("data_citation", json!(info.citation)),
        ("data_inputs", json!(inputs)),
        (
            "device",
            json!(format!("{:?}", parts.inputs.decoder.device())),
        ),
        ("weights", json!(parts.inputs.decoder.weight_dtype())),
        (
            "matmul_precision",
            json!(parts.inputs.decoder.matmul_precision().name()),
        ),
        ("e2p_version", json!(env!("CARGO_PKG_VERSION"))),
    ];
    if let Some(catalogue) = parts.catalogue {
        entries.extend([
            ("catalogue_items", json!(catalogue.len())),
            ("catalogue_items_left_out", json!(catalogue.left_out())),
            ("catalogue_examples", json!(catalogue.golds.len())),
            ("catalogue_beam_width", json!(options.beam)),
        ]);
    }
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The conventions of the metrics that have more than one.
fn conventions(parts: &Parts<'_>) -> String {
    let mut said = vec!["nll: nats per target token, end of turn included".to_owned()];
    if !parts.ranked.is_empty() {
        said.push(
            "candidates: summed log-likelihood, or its mean per token; ties against the gold"
                .into(),
        );
    }
    if parts.scores.iter().any(|scores| !scores.answers.is_empty()) {
        said.push("f1 and distinct: words as ParlAI normalises them".into());
        said.push(format!("bleu: {BLEU_SIGNATURE}"));
        said.push("rouge: package rouge_score without stemming; rouge_*_package: package rouge on lower-cased text".into());
    }
    if parts.catalogue.is_some() {
        said.push(
            "hr, ndcg, mrr: whole catalogue by log-likelihood of the name, chosen items left out, ties against the gold"
                .into(),
        );
    }
    said.join("; ")
}
