//! Many continuations of one prompt: the prompt is computed once, its continuations are branches of its cache.

use burn::tensor::Tensor;
use e2p_model::{Decoder, Keep, KvCache, Padding, TargetScores};
use e2p_prefix::{SplicedBatch, SplicedRow, inject, prefill};

use super::Condition;
use super::arms::Arms;
use super::examples::EvalExample;
use crate::earlier::EarlierStore;
use crate::error::Result;
use crate::scoring::row_nlls;

/// Branches that run in one pass.
const ROWS_PER_PASS: usize = 128;

/// Prompts that are computed, and what every branch begins with.
struct Trunk {
    cache: KvCache,
    /// Ids that lead every branch of a prompt: its last token where no soft token stands behind it.
    lead: Vec<Vec<u32>>,
    /// Soft tokens that lead every branch of a prompt.
    prefix: Option<Tensor<3>>,
}

/// Log-likelihoods (nats) of continuations, `[example][continuation]`.
///
/// # Errors
/// A prompt and continuation longer than the context.
pub(crate) fn log_likelihoods(
    decoder: &Decoder,
    arms: &Arms<'_>,
    condition: Condition,
    examples: &[&EvalExample],
    continuations: &[&[Vec<u32>]],
) -> Result<Vec<Vec<f64>>> {
    let trunk = Trunk::new(decoder, arms, condition, examples)?;
    let Some(trunk) = trunk else {
        return whole_rows(decoder, arms, condition, examples, continuations);
    };
    let branches: Vec<(usize, usize)> = continuations
        .iter()
        .enumerate()
        .flat_map(|(example, all)| (0..all.len()).map(move |branch| (example, branch)))
        .collect();
    let mut out: Vec<Vec<f64>> = continuations
        .iter()
        .map(|all| vec![0.0; all.len()])
        .collect();
    let mut order = branches;
    order.sort_by_key(|(example, branch)| continuations[*example][*branch].len());
    for chunk in order.chunks(ROWS_PER_PASS) {
        let rows: Vec<SplicedRow> = chunk
            .iter()
            .map(|(example, branch)| {
                let ids = &continuations[*example][*branch];
                SplicedRow {
                    before: examples[*example].prompt(condition).ids.clone(),
                    after: trunk.lead[*example].iter().chain(ids).copied().collect(),
                    n_targets: ids.len(),
                }
            })
            .collect();
        let of: Vec<usize> = chunk.iter().map(|(example, _)| *example).collect();
        let batch = SplicedBatch::new(
            decoder,
            &rows,
            Some(trunk.cache.branches(&of, trunk.cache.len())),
        )?;
        let (logits, _) =
            batch.forward(decoder, trunk.prefix_of(decoder, &of), Keep::LayerInputs)?;
        let scores = TargetScores::new(logits, batch.targets())
            .log_likelihood()
            .into_data()
            .try_into_vec_as::<f32>()
            .expect("log-likelihoods are f32");
        for (row, score) in batch.target_rows().zip(scores) {
            let (example, branch) = chunk[row];
            out[example][branch] += f64::from(score);
        }
    }
    Ok(out)
}

/// The same without sharing anything, for prompts too short to share.
fn whole_rows(
    decoder: &Decoder,
    arms: &Arms<'_>,
    condition: Condition,
    examples: &[&EvalExample],
    continuations: &[&[Vec<u32>]],
) -> Result<Vec<Vec<f64>>> {
    let mut out = Vec::with_capacity(examples.len());
    for (example, all) in examples.iter().zip(continuations) {
        let mut sums = Vec::with_capacity(all.len());
        for chunk in all.chunks(ROWS_PER_PASS) {
            let rows: Vec<SplicedRow> = chunk
                .iter()
                .map(|ids| example.row(condition, ids))
                .collect();
            let prefix = |rows: &[usize]| arms.prefix(condition, &vec![example.user; rows.len()]);
            let scores = row_nlls(
                decoder,
                &rows,
                ROWS_PER_PASS,
                &mut EarlierStore::new(0),
                prefix,
                |_| true,
            )?;
            sums.extend(scores.into_iter().map(|(nll, _)| -nll));
        }
        out.push(sums);
    }
    Ok(out)
}

impl Trunk {
    /// `None` where a prompt is too short to share anything but its soft tokens.
    fn new(
        decoder: &Decoder,
        arms: &Arms<'_>,
        condition: Condition,
        examples: &[&EvalExample],
    ) -> Result<Option<Self>> {
        let users: Vec<usize> = examples.iter().map(|example| example.user).collect();
        let prompts: Vec<_> = examples
            .iter()
            .map(|example| example.prompt(condition))
            .collect();
        let prefix = arms.prefix(condition, &users);
        // Soft tokens at the end of every prompt: the trunk is free of them and they lead the branches.
        let is_last = prompts.iter().all(|prompt| prompt.slot == prompt.ids.len());
        if prefix.is_some() && is_last {
            let ids: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
            return Ok(Some(Self {
                cache: prefill(decoder, &ids)?,
                lead: vec![Vec::new(); examples.len()],
                prefix,
            }));
        }
        let is_inside = |slot: usize, len: usize| prefix.is_none() || slot < len;
        if prompts
            .iter()
            .any(|prompt| prompt.ids.len() < 2 || !is_inside(prompt.slot, prompt.ids.len()))
        {
            return Ok(None);
        }
        let split: Vec<(&[u32], u32)> = prompts
            .iter()
            .map(|prompt| {
                let (last, head) = prompt.ids.split_last().expect("a prompt has a token");
                (head, *last)
            })
            .collect();
        let lead = split.iter().map(|(_, last)| vec![*last]).collect();
        let heads: Vec<&[u32]> = split.iter().map(|(head, _)| *head).collect();
        let cache = match prefix {
            None => prefill(decoder, &heads)?,
            Some(prefix) => {
                let (embeds, row_starts) = decoder.embed_rows(&heads, Padding::Left)?;
                let slots: Vec<usize> = prompts
                    .iter()
                    .zip(&row_starts)
                    .map(|(prompt, start)| start + prompt.slot)
                    .collect();
                let embeds = inject(embeds.clone(), prefix.cast(embeds.dtype()), &slots);
                let mut cache = decoder.new_cache(row_starts, embeds.dims()[1]);
                decoder.forward_cached(embeds, &mut cache)?;
                cache
            }
        };
        Ok(Some(Self {
            cache,
            lead,
            prefix: None,
        }))
    }

    fn prefix_of(&self, decoder: &Decoder, rows: &[usize]) -> Option<Tensor<3>> {
        let index: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let prefix = self.prefix.clone()?;
        let index = burn::tensor::TensorData::new(index, [rows.len()]);
        Some(prefix.select(0, Tensor::from_data(index, decoder.device())))
    }
}
