//! `e2p score`: natural log-likelihoods of given targets.
//!
//! Lines are computed in batches of similar length and written in input order. Lines with the same
//! prompt share one pass over it, as the candidates of a ranking do. The head is applied to target
//! positions only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use e2p_model::burn::tensor::Tensor;
use e2p_prefix::{Prefilled, Prompt, SplicedBatch};
use serde::{Deserialize, Serialize};

use crate::args::{BackboneArgs, GlobalArgs, PersonalArgs, PromptArgs};
use crate::interrupt;
use crate::lines::{self, LineErrors};
use crate::output::Output;
use crate::personal::{Personal, PromptText};
use crate::progress::Progress;
use crate::report::hinted;

/// `e2p score`.
#[derive(Debug, Args)]
#[command(
    after_help = "Input line: {\"prompt\": str, \"target\": str, \"user\"?: str}\n\
    Output line: {\"logprob\": sum, \"tokens\": n, \"token_logprobs\": [...]}, natural logarithms, in input order."
)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// JSON Lines with `prompt` and `target`; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) prompting: PromptArgs,
    #[command(flatten)]
    pub(crate) personal: PersonalArgs,
}

/// Lines that are sorted by length together and held as results at most.
const WINDOW: usize = 4096;
/// Positions in one batch, padding included. Ours: large enough for full matrix products, small
/// enough for a laptop.
const POSITIONS_PER_BATCH: usize = 4096;

#[derive(Debug, Deserialize)]
struct ScoreLine {
    prompt: PromptText,
    target: String,
    #[serde(default, deserialize_with = "e2p_data::optional_id_text")]
    user: Option<String>,
}

/// A line as ids.
struct Item {
    line: usize,
    prompt: Prompt,
    target: Vec<u32>,
    user: Option<String>,
}

#[derive(Debug, Serialize)]
struct Score {
    logprob: f64,
    tokens: usize,
    token_logprobs: Vec<f32>,
}

/// Scores every line of the input.
pub(crate) fn run(
    args: &ScoreArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    let lines = lines::read::<ScoreLine>(&args.input, &["user"])?;
    let backbone = &args.backbone.backbone;
    let personal = Personal::open(backbone, &args.prompting, &args.personal, global)?;

    let mut errors = LineErrors::new(&args.input);
    let mut items = Vec::with_capacity(lines.len());
    for line in lines {
        match encode(&personal, line.number, line.value) {
            Ok(item) => items.push(item),
            Err(error) => errors.push(line.number, format!("{error:#}")),
        }
    }
    errors.into_result()?;

    let mut progress = Progress::new("lines", items.len(), global.quiet);
    for window in items.chunks(WINDOW) {
        let mut results: Vec<Vec<f32>> = vec![Vec::new(); window.len()];
        for job in plan(window) {
            interrupt::check()?;
            let scores = match &job {
                Job::Separate(indices) => separate(&personal, &pick(window, indices))?,
                Job::SamePrompt(indices) => same_prompt(&personal, &pick(window, indices))?,
            };
            let (Job::Separate(indices) | Job::SamePrompt(indices)) = job;
            progress.advance(indices.len());
            for (index, scores) in indices.into_iter().zip(scores) {
                results[index] = scores;
            }
        }
        for (item, token_logprobs) in window.iter().zip(results) {
            write(item, token_logprobs, output)?;
        }
    }
    progress.finish();
    Ok(())
}

fn write(item: &Item, token_logprobs: Vec<f32>, output: &mut Output) -> anyhow::Result<()> {
    if !token_logprobs.iter().all(|logprob| logprob.is_finite()) {
        let message = format!(
            "line {}: a log-probability is not a finite number",
            item.line
        );
        return Err(hinted(message, "try `--dtype f32`"));
    }
    // A fold, because the empty sum of floats is -0.
    let logprob = token_logprobs
        .iter()
        .fold(0.0, |sum, logprob| sum + f64::from(*logprob));
    output.json_line(&Score {
        logprob,
        tokens: token_logprobs.len(),
        token_logprobs,
    })
}

fn pick<'w>(window: &'w [Item], indices: &[usize]) -> Vec<&'w Item> {
    indices.iter().map(|index| &window[*index]).collect()
}

/// Lines that are computed together, as indices into the window.
#[derive(Debug, PartialEq)]
enum Job {
    /// Each line is a row of its own.
    Separate(Vec<usize>),
    /// All lines have the same prompt and user.
    SamePrompt(Vec<usize>),
}

/// Puts every line that has a target into one job.
fn plan(window: &[Item]) -> Vec<Job> {
    let mut groups: BTreeMap<(&Prompt, Option<&str>), Vec<usize>> = BTreeMap::new();
    for (index, item) in window
        .iter()
        .enumerate()
        .filter(|(_, item)| !item.target.is_empty())
    {
        groups
            .entry((&item.prompt, item.user.as_deref()))
            .or_default()
            .push(index);
    }
    let length = |index: &usize| window[*index].prompt.ids.len() + window[*index].target.len();
    let (shared, single): (Vec<_>, Vec<_>) =
        groups.into_values().partition(|group| group.len() > 1);
    let mut single = single.concat();
    single.sort_by_key(length);
    let mut jobs: Vec<Job> = batches(&single, length)
        .into_iter()
        .map(Job::Separate)
        .collect();
    for mut group in shared {
        group.sort_by_key(length);
        jobs.extend(
            batches(&group, length)
                .into_iter()
                .map(|batch| match batch.as_slice() {
                    [_] => Job::Separate(batch),
                    _ => Job::SamePrompt(batch),
                }),
        );
    }
    jobs
}

/// Cuts indices, sorted by length, so that rows times the longest stay within
/// [`POSITIONS_PER_BATCH`].
fn batches(sorted: &[usize], length: impl Fn(&usize) -> usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in sorted {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * length(index) <= POSITIONS_PER_BATCH => {
                batch.push(*index);
            }
            _ => batches.push(vec![*index]),
        }
    }
    batches
}

fn encode(personal: &Personal, line: usize, value: ScoreLine) -> anyhow::Result<Item> {
    let model = &personal.model;
    let prompt = personal.prompt(&value.prompt)?;
    let target = model.tokenizer().encode(&value.target, false)?;
    // The last target token is predicted and not read.
    let needed = model.n_prefix() + prompt.ids.len() + target.len().saturating_sub(1);
    let context = model.decoder().config().max_seq_len;
    anyhow::ensure!(
        needed <= context,
        "prompt and target need {needed} positions, and the context holds {context}"
    );
    Ok(Item {
        line,
        prompt,
        target,
        user: value.user,
    })
}

/// One whole row a line.
fn separate(personal: &Personal, items: &[&Item]) -> anyhow::Result<Vec<Vec<f32>>> {
    let decoder = personal.model.decoder();
    let mut prefixes = Vec::with_capacity(items.len());
    for item in items {
        prefixes.extend(prefix(personal, item)?);
    }
    let prefixes = (!prefixes.is_empty()).then(|| Tensor::cat(prefixes, 0));
    let rows: Vec<_> = items
        .iter()
        .map(|item| item.prompt.spliced(&item.target))
        .collect();
    let batch = SplicedBatch::whole(decoder, &rows)?;
    Ok(batch.log_likelihoods(decoder, prefixes)?)
}

/// The prompt once, then all targets behind it.
fn same_prompt(personal: &Personal, items: &[&Item]) -> anyhow::Result<Vec<Vec<f32>>> {
    let decoder = personal.model.decoder();
    let prefix = prefix(personal, items[0])?;
    let prefilled = Prefilled::new(decoder, &[&items[0].prompt], prefix)?;
    let targets: Vec<&[u32]> = items.iter().map(|item| item.target.as_slice()).collect();
    Ok(prefilled.log_likelihoods(decoder, &[&targets])?.remove(0))
}

/// The soft tokens of a line's user, `[1, n_prefix, d_model]`.
fn prefix(personal: &Personal, item: &Item) -> anyhow::Result<Option<Tensor<3>>> {
    let prefix = personal
        .prefix(item.user.as_deref())
        .with_context(|| format!("line {}", item.line))?;
    Ok(prefix.map(|prefix| prefix.rows().clone().unsqueeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(prompt: &[u32], target_len: usize) -> Item {
        Item {
            line: 1,
            prompt: Prompt {
                ids: prompt.to_vec(),
                slot: 0,
            },
            target: vec![0; target_len],
            user: None,
        }
    }

    #[test]
    fn every_line_with_a_target_is_in_one_job() {
        let window = [
            item(&[1], 3),
            item(&[2, 2], 1),
            item(&[1], 2),
            item(&[3], 0),
            item(&[4; 9], 1),
        ];
        let expected = [Job::Separate(vec![1, 4]), Job::SamePrompt(vec![2, 0])];
        assert_eq!(plan(&window), expected);
    }

    #[test]
    fn batches_stay_within_the_budget() {
        let lengths = [10, 20, 2000, 2040, 2050, 9000];
        let sorted: Vec<usize> = (0..lengths.len()).collect();
        let batches = batches(&sorted, |index| lengths[*index]);
        assert_eq!(batches, [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
    }
}
