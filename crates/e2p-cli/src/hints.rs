//! What to type next, for the errors that have an answer. The libraries know nothing of verbs and
//! options; this file does.

use std::error::Error;

use e2p_data::DataError;
use e2p_model::ModelError;
use e2p_prefix::PrefixError;
use e2p_train::{SHIPPED, TrainError};

use crate::report::Hinted;

/// The hint of one error of a chain.
pub(crate) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let own = error
        .downcast_ref()
        .map(|error: &Hinted| error.hint().to_owned());
    own.or_else(|| error.downcast_ref().and_then(train))
        .or_else(|| error.downcast_ref().and_then(prefix))
        .or_else(|| error.downcast_ref().and_then(model))
        .or_else(|| error.downcast_ref().and_then(data))
}

fn model(error: &ModelError) -> Option<String> {
    let hint = match error {
        ModelError::NoTokenizer { .. } => {
            "put the checkpoint's `tokenizer.json` beside its weights"
        }
        ModelError::NoWeights { .. } => {
            "download the checkpoint's `*.safetensors` files, or convert it with `save_pretrained(..., safe_serialization=True)`"
        }
        ModelError::VocabularyMismatch { .. } => {
            "take `tokenizer.json` and the weights from the same checkpoint"
        }
        ModelError::ContextOverflow { .. } => "shorten the prompt or lower `--max-new-tokens`",
        ModelError::Dtype { .. } => "try `--dtype f32`",
        ModelError::Logits { .. } => {
            "try `--dtype f32`; if the error stays, the checkpoint is broken"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn prefix(error: &PrefixError) -> Option<String> {
    let hint = match error {
        PrefixError::Model(error) => return model(error),
        PrefixError::WrongBackbone { .. } => {
            "give the backbone that the adapter was trained on, or train one for this backbone: e2p train RECIPE --set backbone=DIR …"
        }
        // The same number of dimensions may be the same space in a file of another name.
        PrefixError::WrongSpace {
            expected,
            expected_dim,
            found_dim,
            ..
        } if expected_dim == found_dim => {
            return Some(format!(
                "--space {expected}   if these embeddings are of that space under another name; otherwise train an adapter on them"
            ));
        }
        PrefixError::WrongSpace { .. } | PrefixError::Dimension { .. } => {
            "give embeddings of the model that the adapter was trained on (--users FILE), or train an adapter on these: e2p train RECIPE --set users=FILE …"
        }
        PrefixError::Placeholder { .. } => {
            "write <|user_embedding|> once into the prompt, where the user's soft tokens go"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn train(error: &TrainError) -> Option<String> {
    let hint = match error {
        TrainError::Model(error) => return model(error),
        TrainError::Prefix(error) => return prefix(error),
        TrainError::Data(error) => return data(error),
        TrainError::OtherSpace { source, .. } => return prefix(source),
        // A file with a wrong key cannot be shown, and pre-training has recipes of another kind.
        TrainError::Recipe { origin, .. } if SHIPPED.iter().any(|(name, _)| name == origin) => {
            format!("e2p recipe show {origin}   prints a recipe with every key")
        }
        TrainError::NoRecipe { .. } => "e2p recipe list   says what each is for".to_owned(),
        TrainError::RunExists { .. } => {
            "--resume continues it, --force replaces it, --out DIR names another".to_owned()
        }
        TrainError::NoRun { path, .. } => {
            format!("e2p train RECIPE --out {}   makes a run", path.display())
        }
        TrainError::OtherRecipe { .. } | TrainError::OtherInput { .. } => {
            "--resume with what the run was started with, or name another directory with --out"
                .to_owned()
        }
        TrainError::Condition { condition, .. } if condition == "soft_prompt" => {
            "e2p train … --baseline   trains it beside the run".to_owned()
        }
        TrainError::NoExamples { .. } => {
            "e2p inspect DATA   counts its splits; raise prompt.max_target_tokens if targets are long".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

fn data(error: &DataError) -> Option<String> {
    let hint = match error {
        DataError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let ends = |end: &str| path.extension().is_some_and(|e| e == end);
            if path.ends_with("dataset.json") {
                "e2p prepare TASK --input FILE --out DATA   makes a data directory"
            } else if ends("safetensors") || ends("npy") {
                "e2p embed text|interactions --data DATA --out FILE   makes user embeddings"
            } else {
                return None;
            }
            .to_owned()
        }
        DataError::UnknownUser { file, .. } => format!(
            "e2p inspect {}   shows its ids; the embeddings and the data must come from the same users",
            file.display()
        ),
        DataError::NotADataDirectory { .. } => {
            "e2p prepare TASK --input FILE --out DATA   makes a data directory".to_owned()
        }
        DataError::FormatVersion { .. } | DataError::Count { .. } => {
            "e2p prepare   writes the directory again".to_owned()
        }
        DataError::OutputExists { .. } => {
            "name another directory with --out, or replace this one with --force".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}
