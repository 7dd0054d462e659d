//! Log-likelihoods of continuations behind personalized prompts.
//!
//! A prompt runs once with its soft tokens; its continuations are branches of the keys and values
//! that it leaves. Evaluation, the catalogue and the command line all score here.

use burn::tensor::{Int, Tensor, TensorData, s};
use e2p_model::{Decoder, KvCache, Padding};

use crate::embed::embed_prompts;
use crate::error::Result;
use crate::prompt::Prompt;

/// Continuations that run in one pass. Ours: enough rows for full matrix products.
const ROWS_PER_PASS: usize = 128;
/// Positions of continuations in one pass, padding included. Ours: small enough for a laptop.
const POSITIONS_PER_PASS: usize = 4096;

/// Prompts that have run, ready to go on. Preferred variable name: `prefilled`.
#[derive(Debug, Clone)]
pub struct Prefilled {
    /// Keys and values, a row for each prompt, padded on the left.
    pub cache: KvCache,
    /// The state behind each prompt's last position, which predicts what follows: `[n_prompts,
    /// d_model]`.
    pub hidden: Tensor<2>,
}

impl Prefilled {
    /// Runs `prompts` with the soft tokens `prefix` (`[n_prompts, n_prefix, d_model]`) in their
    /// slots, or without any.
    ///
    /// # Errors
    /// An empty prompt, an id outside the vocabulary, a prompt longer than the context.
    pub fn new(decoder: &Decoder, prompts: &[&Prompt], prefix: Option<Tensor<3>>) -> Result<Self> {
        let (embeds, row_starts) = embed_prompts(decoder, prompts, prefix, Padding::Left)?;
        let len = embeds.dims()[1];
        let mut cache = decoder.new_cache(row_starts, len);
        let hidden = decoder.forward_cached(embeds, &mut cache)?;
        let hidden = hidden.slice(s![.., len - 1.., ..]).squeeze_dim(1);
        Ok(Self { cache, hidden })
    }

    /// The log-likelihood (nats) of every token of every continuation,
    /// `[prompt][continuation][token]`.
    ///
    /// # Errors
    /// An id outside the vocabulary, a prompt and continuation longer than the context.
    ///
    /// # Panics
    /// If there is not one list of continuations for each prompt, or a continuation is empty.
    pub fn log_likelihoods<C: AsRef<[u32]>>(
        &self,
        decoder: &Decoder,
        continuations: &[&[C]],
    ) -> Result<Vec<Vec<Vec<f32>>>> {
        assert_eq!(
            continuations.len(),
            self.cache.batch_size(),
            "a list of continuations for each prompt"
        );
        let mut out: Vec<Vec<Vec<f32>>> = continuations
            .iter()
            .map(|all| vec![Vec::new(); all.len()])
            .collect();
        let mut branches: Vec<Branch<'_>> = Vec::new();
        for (prompt, all) in continuations.iter().enumerate() {
            branches.extend(all.iter().enumerate().map(|(place, ids)| Branch {
                prompt,
                place,
                ids: ids.as_ref(),
            }));
        }

        // The first token of every continuation is predicted from its prompt's last state.
        let firsts: Vec<u32> = branches.iter().map(|branch| branch.ids[0]).collect();
        let prompts = branches.iter().map(|branch| branch.prompt);
        let scores = decoder.log_likelihoods(self.states(prompts), &firsts);
        for (branch, score) in branches.iter().zip(scores) {
            out[branch.prompt][branch.place].push(score);
        }

        // The others from the continuation itself. Its last token is predicted, never read.
        branches.retain(|branch| branch.ids.len() > 1);
        branches.sort_by_key(|branch| branch.ids.len());
        for pass in passes(&branches) {
            let mut scores = self.run(decoder, pass)?.into_iter();
            for branch in pass {
                let rest = scores.by_ref().take(branch.ids.len() - 1);
                out[branch.prompt][branch.place].extend(rest);
            }
        }
        Ok(out)
    }

    /// Log-likelihoods of all tokens but the first of each branch, branch by branch.
    fn run(&self, decoder: &Decoder, branches: &[Branch<'_>]) -> Result<Vec<f32>> {
        let read: Vec<&[u32]> = branches
            .iter()
            .map(|branch| &branch.ids[..branch.ids.len() - 1])
            .collect();
        let targets: Vec<u32> = branches
            .iter()
            .flat_map(|branch| branch.ids[1..].iter().copied())
            .collect();
        let selected: Vec<(usize, usize)> = read
            .iter()
            .enumerate()
            .flat_map(|(row, read)| (0..read.len()).map(move |slot| (row, slot)))
            .collect();
        let prompts: Vec<usize> = branches.iter().map(|branch| branch.prompt).collect();
        let earlier = self.cache.branches(&prompts, self.cache.len());
        let (embeds, _) = decoder.embed_rows(&read, Padding::Right)?;
        let hidden = decoder.forward_selected(embeds, Some(&earlier), &selected)?;
        Ok(decoder.log_likelihoods(hidden, &targets))
    }

    /// Rows of [`Self::hidden`], which may repeat.
    fn states(&self, prompts: impl Iterator<Item = usize>) -> Tensor<2> {
        let rows: Vec<i32> = prompts.map(|prompt| prompt as i32).collect();
        let rows = TensorData::new(rows.clone(), [rows.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &self.hidden.device());
        self.hidden.clone().select(0, rows)
    }
}

/// One continuation of one prompt.
#[derive(Debug, Clone, Copy)]
struct Branch<'a> {
    prompt: usize,
    place: usize,
    ids: &'a [u32],
}

/// Cuts branches, sorted by length, into passes; a branch at least.
fn passes<'b, 'a>(mut branches: &'b [Branch<'a>]) -> Vec<&'b [Branch<'a>]> {
    let mut passes = Vec::new();
    while !branches.is_empty() {
        let mut n = 1;
        while n < ROWS_PER_PASS.min(branches.len())
            && (n + 1) * branches[n].ids.len() <= POSITIONS_PER_PASS
        {
            n += 1;
        }
        let (pass, rest) = branches.split_at(n);
        passes.push(pass);
        branches = rest;
    }
    passes
}
