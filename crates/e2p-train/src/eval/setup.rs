//! What an evaluation needs before it can begin: the adapters, and the conditions that can be had
//! with them.

use std::path::{Path, PathBuf};

use e2p_data::UserEmbeddings;
use e2p_prefix::{Adapter, Method};

use crate::error::{Result, TrainError};
use crate::eval::arms::Condition;
use crate::eval::options::EvalOptions;
use crate::eval::score::catalogue::Als;
use crate::inputs::Inputs;
use crate::recipe::Recipe;
use crate::run_dir::RunDir;

/// The adapter of a finished run, refused on another backbone.
pub(crate) fn load_adapter(run: &Path, inputs: &Inputs, backbone: &str) -> Result<Adapter> {
    let path = RunDir::adapter_path(run);
    if !path.is_dir() {
        return Err(TrainError::NoRun {
            path: run.into(),
            missing: "adapter/, which the end of training writes,".into(),
        });
    }
    let adapter = Adapter::load(&path, inputs.decoder.device())?;
    adapter.config.check_backbone(&inputs.backbone, backbone)?;
    Ok(adapter)
}

/// The adapter of the `soft_prompt` control, where there is one.
pub(crate) fn soft_prompt(
    run: &Path,
    inputs: &Inputs,
    options: &EvalOptions,
    adapter: &Adapter,
) -> Result<Option<Adapter>> {
    if adapter.config.method == Method::SoftPrompt {
        return Ok(Some(adapter.clone()));
    }
    let beside = run.join("soft_prompt");
    let path = match &options.soft_prompt {
        Some(path) => path.clone(),
        None if RunDir::adapter_path(&beside).is_dir() => beside,
        None => return Ok(None),
    };
    let found = load_adapter(&path, inputs, &path.display().to_string())?;
    let needs = if found.config.method != Method::SoftPrompt {
        "a run with method = \"soft_prompt\""
    } else if found.config.prompt.position != adapter.config.prompt.position
        || found.config.projector.n_prefix != adapter.config.projector.n_prefix
    {
        "a run with the same position and n_prefix"
    } else {
        return Ok(Some(found));
    };
    Err(TrainError::Condition {
        condition: "soft_prompt".into(),
        needs: format!("{needs}, but `{}` is another", path.display()),
    })
}

/// The conditions that are wanted, or all that can be had.
pub(crate) fn conditions(
    options: &EvalOptions,
    inputs: &Inputs,
    recipe: &Recipe,
    adapter: &Adapter,
    has_soft_prompt: bool,
) -> Result<Vec<Condition>> {
    let is_e2p = adapter.config.method == Method::E2p;
    let missing = |condition: Condition| -> Option<&str> {
        if condition.has_text() && inputs.profiles.is_empty() {
            return Some("profiles in users.jsonl of the data directory");
        }
        match condition {
            Condition::None | Condition::Text | Condition::TextShuffled => None,
            Condition::SoftPrompt => (!has_soft_prompt).then_some(
                "a run trained with method = \"soft_prompt\" (--soft-prompt RUN, or `e2p train --baseline`)",
            ),
            Condition::TextE2p if recipe.prompt.profile => Some(
                "a run trained with prompt.profile = false; in this one `e2p` stands beside the profile text already",
            ),
            _ => (!is_e2p).then_some("a run trained with method = \"e2p\""),
        }
    };
    if options.conditions.is_empty() {
        return Ok(Condition::ALL
            .into_iter()
            .filter(|condition| missing(*condition).is_none())
            .collect());
    }
    let mut chosen = options.conditions.clone();
    chosen.sort_unstable();
    chosen.dedup();
    for condition in &chosen {
        if let Some(needs) = missing(*condition) {
            return Err(TrainError::Condition {
                condition: condition.to_string(),
                needs: needs.into(),
            });
        }
    }
    Ok(chosen)
}

/// Without the conditions that need another user where there is none, unless they were asked for.
pub(crate) fn with_others(
    mut conditions: Vec<Condition>,
    n_users: usize,
    options: &EvalOptions,
) -> Result<Vec<Condition>> {
    if n_users > 1 {
        return Ok(conditions);
    }
    let mut asked = options.conditions.iter();
    if let Some(condition) = asked.find(|condition| condition.has_stranger()) {
        return Err(TrainError::Condition {
            condition: condition.to_string(),
            needs: "examples of at least two users".into(),
        });
    }
    conditions.retain(|condition| !condition.has_stranger());
    Ok(conditions)
}

/// Refuses user embeddings of another space than the adapter's.
pub(crate) fn check_space(
    inputs: &Inputs,
    options: &EvalOptions,
    recipe: &Recipe,
    adapter: &Adapter,
) -> Result<()> {
    let Some(embeddings) = &inputs.embeddings else {
        return Ok(());
    };
    if adapter.config.method == Method::SoftPrompt {
        return Ok(());
    }
    let expected = &adapter.config.embedding_space;
    let name = match &options.space {
        Some(name) => name,
        // What the recipe says of its own file holds for that file alone.
        None if !recipe.space.is_empty() && embeddings.path() == Path::new(&recipe.users) => {
            &recipe.space
        }
        None => embeddings.space(),
    };
    expected
        .check(name, embeddings.dim())
        .map_err(|source| TrainError::OtherSpace {
            path: embeddings.path().into(),
            source: Box::new(source),
        })
}

/// The levels of noise, all of them numbers that a standard deviation can be.
pub(crate) fn noise_levels(options: &EvalOptions) -> Result<Vec<f32>> {
    let wrong = options
        .embedding_noise
        .iter()
        .find(|noise| !noise.is_finite() || **noise < 0.0);
    match wrong {
        Some(found) => Err(TrainError::Noise { found: *found }),
        None if options.embedding_noise.is_empty() => Ok(vec![0.0]),
        None => Ok(options.embedding_noise.clone()),
    }
}

/// The user vectors of the factorization that is a baseline: those asked for, or the run's own
/// where item vectors are beside them.
pub(crate) fn als(options: &EvalOptions, inputs: &Inputs) -> Option<PathBuf> {
    if let Some(path) = &options.als {
        return Some(path.clone());
    }
    let own = inputs.embeddings.as_ref().map(UserEmbeddings::path);
    own.filter(|path| Als::items_path(path).is_file())
        .map(Path::to_path_buf)
}
