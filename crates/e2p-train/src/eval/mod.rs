//! Evaluation: every condition on the same examples, so that a reader sees at once whether the user's embedding did the work.
//!
//! `evaluate` reads a finished run, scores each [`Condition`] and hands the figures to the report. Nothing is trained here.

mod answers;
mod arms;
mod assemble;
mod bootstrap;
mod branches;
mod condition;
mod cost;
mod examples;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use e2p_data::Split;
use e2p_prefix::{Adapter, Method};

pub use assemble::Evaluation;
pub use bootstrap::Estimate;
pub use condition::Condition;
pub use cost::Cost;

use self::arms::Arms;
use self::examples::EvalExample;
use crate::earlier::EarlierStore;
use crate::encode::ExampleEncoder;
use crate::error::{Result, TrainError};
use crate::inputs::Inputs;
use crate::run_dir::RunDir;
use crate::scoring::row_nlls;
use crate::users::UserTable;

/// Prompts whose candidates are ranked in one go.
const PROMPTS_PER_TRUNK: usize = 8;
/// Prompts shown with everybody's answers in the report.
const SAMPLES: usize = 4;

/// What to evaluate. Preferred variable name: `options`.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// The split; `None` for test, or valid where there is no test split.
    pub split: Option<Split>,
    /// Examples; 0 for all.
    pub limit: usize,
    /// Conditions; empty for all that the run and its data allow.
    pub conditions: Vec<Condition>,
    /// Examples whose candidates are ranked; 0 for none.
    pub candidates: usize,
    /// Examples that are answered in text; 0 for none.
    pub generate: usize,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// The run of the `soft_prompt` control; `None` for `RUN/soft_prompt` where it is there.
    pub soft_prompt: Option<PathBuf>,
    /// Standard deviation of noise on the standardised embeddings.
    pub embedding_noise: f32,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Seeds the strangers, the random vectors, the noise and the bootstrap.
    pub seed: u64,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            split: None,
            limit: 0,
            conditions: Vec::new(),
            candidates: 500,
            generate: 200,
            max_new_tokens: 40,
            soft_prompt: None,
            embedding_noise: 0.0,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// What an evaluation is doing, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalProgress {
    /// The condition.
    pub condition: Condition,
    /// The figure that is computed.
    pub stage: Stage,
    /// Examples done in this stage.
    pub done: usize,
    /// Examples of this stage.
    pub total: usize,
}

/// A part of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Log-likelihoods of the targets.
    Targets,
    /// Log-likelihoods of the candidates.
    Candidates,
    /// Answers in text.
    Answers,
}

/// Figures of one condition, an entry for each example in order.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    pub(crate) condition: Condition,
    /// Negative log-likelihood (nats) and tokens of the target.
    pub(crate) nll: Vec<(f64, usize)>,
    /// Ranks of the gold among the candidates: by log-likelihood, and by log-likelihood per token. For the ranked examples.
    pub(crate) ranks: Vec<(usize, usize)>,
    /// Answers of the first examples.
    pub(crate) answers: Vec<String>,
    pub(crate) cost: Cost,
}

/// Evaluates the run in `run_path`.
///
/// `observe` sees the progress and says whether to go on.
///
/// # Errors
/// No finished run, a backbone or embedding space that is not the adapter's, a condition that cannot be had, [`TrainError::Stopped`].
pub fn evaluate(
    run_path: &Path,
    inputs: &Inputs,
    options: &EvalOptions,
    mut observe: impl FnMut(EvalProgress) -> bool,
) -> Result<Evaluation> {
    let recipe = RunDir::recipe(run_path)?;
    let decoder = &inputs.decoder;
    let adapter = load_adapter(run_path, inputs, &recipe.backbone)?;
    let soft_prompt = soft_prompt(run_path, inputs, options, &adapter)?;
    let conditions = conditions(options, inputs, &adapter, soft_prompt.is_some())?;
    let split = options.split.unwrap_or_else(|| {
        if inputs.data.info().counts.examples(Split::Test) > 0 {
            Split::Test
        } else {
            Split::Valid
        }
    });

    let n_prefix = adapter.config.projector.n_prefix;
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        decoder.config(),
        &recipe.prompt,
        n_prefix,
    );
    let mut users = UserTable::new(adapter.config.embedding_space.clone());
    let (examples, skipped) =
        examples::read(&recipe, inputs, &encoder, split, options.limit, &mut users)?;
    let arms = Arms::new(
        &adapter.projector,
        soft_prompt.as_ref().map(|adapter| &adapter.projector),
        &users,
        options.seed,
        options.embedding_noise,
        decoder.device(),
    );
    let ranked = ranked(&encoder, &examples, options.candidates)?;
    let answered: Vec<&EvalExample> = examples.iter().take(options.generate).collect();

    let mut scores = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let mut report = |stage, done, total| {
            let go_on = observe(EvalProgress {
                condition,
                stage,
                done,
                total,
            });
            if go_on {
                Ok(())
            } else {
                Err(TrainError::Stopped)
            }
        };
        report(Stage::Targets, 0, examples.len())?;
        let rows: Vec<_> = examples
            .iter()
            .map(|example| example.row(condition, &example.target))
            .collect();
        let mut stopped = Ok(());
        let nll = row_nlls(
            decoder,
            &rows,
            recipe.train.batch_size,
            &mut EarlierStore::new(0),
            |indices| {
                let users: Vec<usize> = indices.iter().map(|index| examples[*index].user).collect();
                arms.prefix(condition, &users)
            },
            |done| {
                stopped = report(Stage::Targets, done, rows.len());
                stopped.is_ok()
            },
        )?;
        stopped?;

        let mut ranks = Vec::with_capacity(ranked.len());
        for chunk in ranked.chunks(PROMPTS_PER_TRUNK) {
            let of: Vec<&EvalExample> = chunk
                .iter()
                .map(|(index, _, _)| &examples[*index])
                .collect();
            let candidates: Vec<Vec<Vec<u32>>> =
                chunk.iter().map(|(_, ids, _)| ids.clone()).collect();
            let sums = branches::log_likelihoods(decoder, &arms, condition, &of, &candidates)?;
            for ((_, ids, gold), sums) in chunk.iter().zip(sums) {
                let per_token: Vec<f64> = sums
                    .iter()
                    .zip(ids)
                    .map(|(sum, ids)| sum / ids.len() as f64)
                    .collect();
                ranks.push((rank(&sums, *gold), rank(&per_token, *gold)));
            }
            report(Stage::Candidates, ranks.len(), ranked.len())?;
        }

        let answers = answers::answers(
            decoder,
            &inputs.tokenizer,
            &arms,
            condition,
            &answered,
            options.max_new_tokens,
            |done| report(Stage::Answers, done, answered.len()).is_ok(),
        )?;
        let cost = cost::measure(decoder, &arms, condition, &examples)?;
        scores.push(Scores {
            condition,
            nll,
            ranks,
            answers,
            cost,
        });
    }
    let samples = samples(inputs, &arms, &examples, options, &adapter)?;
    let ranked: Vec<usize> = ranked.into_iter().map(|(index, _, _)| index).collect();
    Ok(assemble::assemble(&assemble::Parts {
        run_path,
        recipe: &recipe,
        inputs,
        options,
        split,
        adapter: &adapter,
        examples: &examples,
        users: &users,
        skipped,
        ranked: &ranked,
        scores: &scores,
        samples,
    }))
}

/// The rank of the gold, counted from 1; ties count against it.
pub(crate) fn rank(scores: &[f64], gold: usize) -> usize {
    let better = scores
        .iter()
        .enumerate()
        .filter(|(index, score)| *index != gold && **score >= scores[gold]);
    1 + better.count()
}

/// Examples with candidates: index, ids of every candidate, place of the gold.
type Ranked = (usize, Vec<Vec<u32>>, usize);

fn ranked(
    encoder: &ExampleEncoder<'_>,
    examples: &[EvalExample],
    limit: usize,
) -> Result<Vec<Ranked>> {
    let mut out = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        if out.len() == limit {
            break;
        }
        let mut ids = Vec::with_capacity(example.example.candidates.len());
        let mut gold = None;
        for candidate in &example.example.candidates {
            let is_gold = *candidate == example.example.target;
            // A candidate too long for the context is never the answer: it is left out, unless it is the gold, which fits.
            if let Some(candidate) = encoder.target(&example.example, candidate)? {
                if is_gold {
                    gold = Some(ids.len());
                }
                ids.push(candidate);
            }
        }
        if let Some(gold) = gold.filter(|_| ids.len() > 1) {
            out.push((index, ids, gold));
        }
    }
    Ok(out)
}

/// The same prompts answered for different users: prompt, then user and answer.
pub(crate) type Samples = Vec<(String, Vec<(String, String)>)>;

fn samples(
    inputs: &Inputs,
    arms: &Arms<'_>,
    examples: &[EvalExample],
    options: &EvalOptions,
    adapter: &Adapter,
) -> Result<Samples> {
    if options.generate == 0 || adapter.config.method != Method::E2p {
        return Ok(Vec::new());
    }
    let mut users: Vec<usize> = examples.iter().map(|example| example.user).collect();
    users.dedup();
    users.truncate(3);
    let step = (examples.len() / SAMPLES).max(1);
    let mut out = Vec::new();
    for example in examples.iter().step_by(step).take(SAMPLES) {
        let rows: Vec<EvalExample> = users
            .iter()
            .map(|user| EvalExample {
                user: *user,
                ..example.clone()
            })
            .collect();
        let rows: Vec<&EvalExample> = rows.iter().collect();
        let answers = answers::answers(
            &inputs.decoder,
            &inputs.tokenizer,
            arms,
            Condition::E2p,
            &rows,
            options.max_new_tokens,
            |_| true,
        )?;
        let named = users.iter().map(|user| arms.users.id(*user).to_owned());
        out.push((last_words(example), named.zip(answers).collect()));
    }
    Ok(out)
}

/// What a person sees of a prompt: the text, or the last message.
fn last_words(example: &EvalExample) -> String {
    match &example.example.prompt {
        e2p_data::Prompt::Text(text) => text.clone(),
        e2p_data::Prompt::Chat(messages) => messages
            .last()
            .map_or_else(String::new, |message| message.content.clone()),
    }
}

/// The adapter of a finished run, refused on another backbone.
fn load_adapter(run: &Path, inputs: &Inputs, backbone: &str) -> Result<Adapter> {
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

fn soft_prompt(
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
    } else if found.config.position != adapter.config.position
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

fn conditions(
    options: &EvalOptions,
    inputs: &Inputs,
    adapter: &Adapter,
    has_soft_prompt: bool,
) -> Result<Vec<Condition>> {
    let is_e2p = adapter.config.method == Method::E2p;
    let missing = |condition: Condition| -> Option<&str> {
        if condition.has_text() && inputs.profiles.is_empty() {
            return Some("profiles in users.jsonl of the data directory");
        }
        match condition {
            Condition::None | Condition::Text => None,
            Condition::SoftPrompt => (!has_soft_prompt).then_some(
                "a run trained with method = \"soft_prompt\" (--soft-prompt RUN, or `e2p train --baseline`)",
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

/// Opens what an evaluation of the run in `run_path` reads; `users` in place of the embeddings it was trained with.
///
/// # Errors
/// As [`Inputs::open`].
pub fn open_run(
    run_path: &Path,
    backbone: &Path,
    users: Option<&Path>,
    dtype: DType,
    device: &Device,
) -> Result<Inputs> {
    let mut recipe = RunDir::recipe(run_path)?;
    if let Some(users) = users {
        recipe.users = users.display().to_string();
    }
    Inputs::open(&recipe, backbone, dtype, device)
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn ties_count_against_the_gold() {
        assert_eq!(rank(&[-3.0, -1.0, -2.0], 1), 1);
        assert_eq!(rank(&[-1.0, -1.0, -2.0], 1), 2);
        assert_eq!(rank(&[-1.0, -1.0, -1.0], 2), 3);
        assert_eq!(rank(&[f64::NEG_INFINITY, -5.0], 0), 2);
    }
}
