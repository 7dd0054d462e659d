//! `e2p score`: natural log-likelihoods of given targets.
//!
//! Lines are computed in batches of similar length and written in input order. Lines with the same prompt share one pass
//! over it, as the candidates of a ranking do. The head is applied to target positions only.

use std::path::PathBuf;

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Args;
use e2p_model::burn::tensor::{Int, Tensor, TensorData, s};
use e2p_model::{Padding, TargetScores, pad_rows};
use serde::{Deserialize, Serialize};

use crate::args::{BackboneArgs, GlobalArgs, PersonalArgs};
use crate::backbone::{Backbone, PromptText};
use crate::inputs::{Inputs, PromptIds};
use crate::interrupt;
use crate::lines::{self, LineErrors};
use crate::output::Output;
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
    /// JSON lines with `prompt` and `target`; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) input: PathBuf,
    /// Render prompts with the tokenizer's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    #[command(flatten)]
    pub(crate) personal: PersonalArgs,
}

/// Lines that are sorted by length together and held as results at most.
const WINDOW: usize = 4096;
/// Positions in one batch, padding included. Ours: large enough for full matrix products, small enough for a laptop.
const POSITIONS_PER_BATCH: usize = 4096;
/// Logits computed at once: 32 MiB in f32.
const LOGITS_AT_ONCE: usize = 8 << 20;

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
    prompt: PromptIds,
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
    let lines = lines::read::<ScoreLine>(&args.input)?;
    let backbone = Backbone::load(&args.backbone.backbone, global)?;
    let scorer = Scorer {
        backbone: &backbone,
        inputs: Inputs::new(&backbone, &args.personal, None)?,
    };

    let mut errors = LineErrors::new(&args.input);
    let mut items = Vec::with_capacity(lines.len());
    for line in lines {
        match scorer.encode(line.number, line.value, args.chat) {
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
                Job::Separate(indices) => scorer.separate(&pick(window, indices))?,
                Job::SamePrompt(indices) => scorer.same_prompt(&pick(window, indices))?,
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
    let mut groups: BTreeMap<(&PromptIds, Option<&str>), Vec<usize>> = BTreeMap::new();
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

/// Cuts indices, sorted by length, so that rows times the longest stay within [`POSITIONS_PER_BATCH`].
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

struct Scorer<'a> {
    backbone: &'a Backbone,
    inputs: Inputs<'a>,
}

impl Scorer<'_> {
    fn encode(&self, line: usize, value: ScoreLine, chat: bool) -> anyhow::Result<Item> {
        let prompt = self.inputs.encode(&value.prompt, chat)?;
        let target = self.backbone.tokenizer.encode(&value.target, false)?;
        // The last target token is predicted and not read.
        let needed =
            self.inputs.extra_positions() + prompt.ids.len() + target.len().saturating_sub(1);
        let context = self.backbone.decoder.config().max_seq_len;
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

    /// One row a line, padded on the right: no mask is needed, since a token sees only what is before it.
    fn separate(&self, items: &[&Item]) -> anyhow::Result<Vec<Vec<f32>>> {
        let decoder = &self.backbone.decoder;
        let mut rows = Vec::with_capacity(items.len());
        let mut firsts = Vec::with_capacity(items.len());
        for item in items {
            let prompt = self.embed_prompt(item)?;
            firsts.push(prompt.dims()[0] - 1);
            let read = &item.target[..item.target.len() - 1];
            rows.push(if read.is_empty() {
                prompt
            } else {
                let (target, _) = decoder.embed_rows(&[read], Padding::Right)?;
                Tensor::cat(vec![prompt, target.squeeze_dim(0)], 0)
            });
        }
        let (inputs_embeds, _) = pad_rows(&rows, Padding::Right)?;
        let hidden = decoder.forward_embeds(inputs_embeds, &[])?;
        let [batch_size, seq_len, d_model] = hidden.dims();
        let positions = items
            .iter()
            .zip(firsts)
            .enumerate()
            .flat_map(|(row, (item, first))| {
                let start = row * seq_len + first;
                start..start + item.target.len()
            });
        let hidden = select(hidden.reshape([batch_size * seq_len, d_model]), positions);
        let targets: Vec<u32> = items.iter().flat_map(|item| item.target.clone()).collect();
        let mut logprobs = self.logprobs(&hidden, &targets)?.into_iter();
        Ok(items
            .iter()
            .map(|item| logprobs.by_ref().take(item.target.len()).collect())
            .collect())
    }

    /// The prompt once, then all targets on top of copies of its cache.
    fn same_prompt(&self, items: &[&Item]) -> anyhow::Result<Vec<Vec<f32>>> {
        let decoder = &self.backbone.decoder;
        let prompt = self.embed_prompt(items[0])?;
        let prompt_len = prompt.dims()[0];
        let mut cache = decoder.new_cache(vec![0], prompt_len);
        let hidden = decoder.forward_cached(prompt.unsqueeze_dim(0), &mut cache)?;
        let last: Tensor<2> = hidden.slice(s![.., prompt_len - 1.., ..]).squeeze_dim(1);

        // The first token of every target is predicted from the same state.
        let firsts: Vec<u32> = items.iter().map(|item| item.target[0]).collect();
        let first_logprobs = self.logprobs(&last.repeat_dim(0, items.len()), &firsts)?;
        let mut scores: Vec<Vec<f32>> = first_logprobs
            .into_iter()
            .map(|logprob| vec![logprob])
            .collect();

        let longer: Vec<usize> = (0..items.len())
            .filter(|index| items[*index].target.len() > 1)
            .collect();
        if longer.is_empty() {
            return Ok(scores);
        }
        let target = |index: &usize| items[*index].target.as_slice();
        let read: Vec<&[u32]> = longer
            .iter()
            .map(|index| &target(index)[..target(index).len() - 1])
            .collect();
        let (targets, _) = decoder.embed_rows(&read, Padding::Right)?;
        let [batch_size, seq_len, d_model] = targets.dims();
        let mut cache = cache.branches(&vec![0; batch_size], prompt_len + seq_len);
        let hidden = decoder.forward_cached(targets, &mut cache)?;
        let hidden = hidden.reshape([batch_size * seq_len, d_model]);
        let positions = read
            .iter()
            .enumerate()
            .flat_map(|(row, read)| row * seq_len..row * seq_len + read.len());
        let next: Vec<u32> = longer
            .iter()
            .flat_map(|index| target(index)[1..].iter().copied())
            .collect();
        let mut logprobs = self
            .logprobs(&select(hidden, positions), &next)?
            .into_iter();
        for (index, read) in longer.iter().zip(&read) {
            scores[*index].extend(logprobs.by_ref().take(read.len()));
        }
        Ok(scores)
    }

    fn embed_prompt(&self, item: &Item) -> anyhow::Result<Tensor<2>> {
        let embeds = self.inputs.embed(&item.prompt, item.user.as_deref());
        embeds.with_context(|| format!("line {}", item.line))
    }

    /// Log-probabilities of `targets` after the hidden states `[targets.len(), d_model]`.
    fn logprobs(&self, hidden: &Tensor<2>, targets: &[u32]) -> anyhow::Result<Vec<f32>> {
        let decoder = &self.backbone.decoder;
        let rows_at_once = (LOGITS_AT_ONCE / decoder.config().vocab_size).max(1);
        let mut logprobs = Vec::with_capacity(targets.len());
        for (index, targets) in targets.chunks(rows_at_once).enumerate() {
            let start = index * rows_at_once;
            let rows = hidden.clone().slice(s![start..start + targets.len(), ..]);
            let scores = TargetScores::new(decoder.logits(rows), targets).log_likelihood();
            let scores: Vec<f32> = scores
                .into_data()
                .try_into_vec()
                .context("the device gives no f32")?;
            logprobs.extend(scores);
        }
        Ok(logprobs)
    }
}

/// Rows of `hidden` at `positions`.
fn select(hidden: Tensor<2>, positions: impl Iterator<Item = usize>) -> Tensor<2> {
    let positions: Vec<i32> = positions.map(|position| position as i32).collect();
    let shape = [positions.len()];
    let data = TensorData::new(positions, shape);
    let positions = Tensor::<1, Int>::from_data(data, &hidden.device());
    hidden.select(0, positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(prompt: &[u32], target_len: usize) -> Item {
        Item {
            line: 1,
            prompt: PromptIds {
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
