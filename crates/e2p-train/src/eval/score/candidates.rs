//! The candidates of an example, ranked in three ways: by log-likelihood, by log-likelihood per
//! token, and by what dialogue and user add to it.
//!
//! Likelihood alone ranks by how common a reply is. The third way is pointwise mutual information
//! (domain conditional, Holtzman et al., "Surface Form Competition", EMNLP 2021): the
//! log-likelihood minus that of the same reply to an empty turn, for nobody in particular.

use std::collections::HashMap;

use e2p_prefix::Prefilled;

use crate::encode::ExampleEncoder;
use crate::error::Result;
use crate::eval::arms::Condition;
use crate::eval::arms::EvalExample;
use crate::eval::score::trial::Trial;

/// Prompts whose candidates are ranked in one go.
const PROMPTS_PER_TRUNK: usize = 8;

/// An example with candidates, tokenized.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    /// Place of the example.
    pub(crate) example: usize,
    /// Ids of every candidate that fits into the context.
    ids: Vec<Vec<u32>>,
    /// Which candidate of the example each of them is.
    kept: Vec<usize>,
    /// Place of the gold in `ids`.
    gold: usize,
    /// The example without dialogue and profile, where it is a chat.
    bare: Option<EvalExample>,
}

/// What candidates are compared with: log-likelihoods of every candidate of every example for
/// nobody, as replies to the dialogue and to an empty turn. Of each condition of nobody
/// ([`Condition::of_nobody`]) once; empty without a chat.
pub(crate) type Base = HashMap<(Condition, Dialogue), Vec<Vec<f64>>>;

/// What a candidate replies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialogue {
    /// The example's.
    Whole,
    /// An empty turn.
    Empty,
}

/// What a model chose. Preferred variable name: `choice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// By log-likelihood.
    pub(crate) sum: Ranked,
    /// By log-likelihood per token.
    pub(crate) per_token: Ranked,
    /// By pointwise mutual information; only chats have it.
    pub(crate) pmi: Option<Ranked>,
    /// By what the dialogue adds for the bare backbone and the user under the condition; only chats
    /// have it.
    pub(crate) user_pmi: Option<Ranked>,
}

/// The outcome of one ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranked {
    /// Rank of the gold, counted from 1; ties count against it.
    pub(crate) rank: usize,
    /// The candidate of the example that comes first; another one than the gold if they tie.
    pub(crate) first: usize,
}

/// The first `limit` examples that have candidates to choose between.
///
/// # Errors
/// A template that fails on a candidate.
pub(crate) fn tokenize(
    encoder: &ExampleEncoder<'_>,
    examples: &[EvalExample],
    limit: usize,
) -> Result<Vec<Candidates>> {
    let mut out = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        if out.len() == limit {
            break;
        }
        let (mut ids, mut kept) = (Vec::new(), Vec::new());
        let mut gold = None;
        for (number, candidate) in example.example.candidates.iter().enumerate() {
            // A candidate too long for the context is never the answer: it is left out, unless it
            // is the gold, which fits.
            if let Some(tokens) = encoder.target(&example.example, candidate)? {
                if *candidate == example.example.target {
                    gold = Some(ids.len());
                }
                ids.push(tokens);
                kept.push(number);
            }
        }
        if let Some(gold) = gold.filter(|_| ids.len() > 1) {
            out.push(Candidates {
                example: index,
                ids,
                kept,
                gold,
                bare: example.without_context(encoder)?,
            });
        }
    }
    Ok(out)
}

/// What the model under `condition` chooses, in the order of `all`.
///
/// `base` is filled on the way.
///
/// # Errors
/// As [`Prefilled::log_likelihoods`], and what `report` returns when it is told how many are done.
pub(crate) fn choose(
    trial: Trial<'_>,
    condition: Condition,
    all: &[Candidates],
    base: &mut Base,
    mut report: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Choice>> {
    let Trial { arms, examples, .. } = trial;
    let decoder = &trial.inputs.decoder;
    let of_nobody = condition.of_nobody();
    let is_chat = all.iter().all(|candidates| candidates.bare.is_some());
    let mut choices = Vec::with_capacity(all.len());
    for chunk in all.chunks(PROMPTS_PER_TRUNK) {
        let ids: Vec<&[Vec<u32>]> = chunk
            .iter()
            .map(|candidates| candidates.ids.as_slice())
            .collect();
        let sums_of = |condition, dialogue| -> Result<Vec<Vec<f64>>> {
            let of: Vec<&EvalExample> = chunk
                .iter()
                .filter_map(|candidates| match dialogue {
                    Dialogue::Whole => Some(&examples[candidates.example]),
                    Dialogue::Empty => candidates.bare.as_ref(),
                })
                .collect();
            let prompts: Vec<_> = of.iter().map(|example| example.prompt(condition)).collect();
            let users: Vec<usize> = of.iter().map(|example| example.user).collect();
            let prefix = arms.prefix(condition, &users);
            let scores =
                Prefilled::new(decoder, &prompts, prefix)?.log_likelihoods(decoder, &ids)?;
            Ok(scores.iter().map(|all| sums(all)).collect())
        };
        let whole = sums_of(condition, Dialogue::Whole)?;
        if is_chat {
            for of in [
                (of_nobody, Dialogue::Empty),
                (of_nobody, Dialogue::Whole),
                (Condition::None, Dialogue::Empty),
                (Condition::None, Dialogue::Whole),
            ] {
                let known = base.entry(of).or_default();
                if known.len() == choices.len() {
                    known.extend(if of == (condition, Dialogue::Whole) {
                        whole.clone()
                    } else {
                        sums_of(of.0, of.1)?
                    });
                }
            }
        }
        for (candidates, sums) in chunk.iter().zip(whole) {
            let per_token: Vec<f64> = sums
                .iter()
                .zip(&candidates.ids)
                .map(|(sum, ids)| sum / ids.len() as f64)
                .collect();
            let base = |condition, dialogue| {
                let known = base.get(&(condition, dialogue))?;
                Some(known[choices.len()].as_slice())
            };
            let added = |to: &[f64], of: &[f64]| -> Vec<f64> {
                to.iter().zip(of).map(|(to, of)| to - of).collect()
            };
            let pmi = base(of_nobody, Dialogue::Empty).map(|empty| added(&sums, empty));
            let by_user = base(of_nobody, Dialogue::Whole).map(|nobody| added(&sums, nobody));
            let by_dialogue = base(Condition::None, Dialogue::Whole)
                .zip(base(Condition::None, Dialogue::Empty))
                .map(|(whole, empty)| added(whole, empty));
            let user_pmi = by_user.zip(by_dialogue).map(|(user, dialogue)| {
                let sums = user.iter().zip(&dialogue);
                sums.map(|(user, dialogue)| user + dialogue)
                    .collect::<Vec<_>>()
            });
            choices.push(Choice {
                sum: candidates.ranked(&sums),
                per_token: candidates.ranked(&per_token),
                pmi: pmi.map(|scores| candidates.ranked(&scores)),
                user_pmi: user_pmi.map(|scores| candidates.ranked(&scores)),
            });
        }
        report(choices.len())?;
    }
    Ok(choices)
}

/// The log-likelihood of each text from those of its tokens.
fn sums(texts: &[Vec<f32>]) -> Vec<f64> {
    let sum = |tokens: &Vec<f32>| tokens.iter().map(|token| f64::from(*token)).sum();
    texts.iter().map(sum).collect()
}

impl Candidates {
    fn ranked(&self, scores: &[f64]) -> Ranked {
        let first = (0..scores.len())
            .filter(|index| *index != self.gold)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)))
            .filter(|best| scores[*best] >= scores[self.gold])
            .unwrap_or(self.gold);
        Ranked {
            rank: rank(scores, self.gold),
            first: self.kept[first],
        }
    }
}

/// The rank of the gold, counted from 1; ties count against it.
pub(crate) fn rank(scores: &[f64], gold: usize) -> usize {
    let better = scores
        .iter()
        .enumerate()
        .filter(|(index, score)| *index != gold && **score >= scores[gold]);
    1 + better.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_count_against_the_gold() {
        assert_eq!(rank(&[-3.0, -1.0, -2.0], 1), 1);
        assert_eq!(rank(&[-1.0, -1.0, -2.0], 1), 2);
        assert_eq!(rank(&[-1.0, -1.0, -1.0], 2), 3);
        assert_eq!(rank(&[f64::NEG_INFINITY, -5.0], 0), 2);
    }

    fn candidates(n: usize, gold: usize) -> Candidates {
        Candidates {
            example: 0,
            ids: vec![vec![0]; n],
            kept: (10..10 + n).collect(),
            gold,
            bare: None,
        }
    }

    #[test]
    fn the_first_candidate_is_not_the_gold_on_a_tie() {
        assert_eq!(candidates(3, 1).ranked(&[-3.0, -1.0, -2.0]).first, 11);
        assert_eq!(candidates(3, 1).ranked(&[-1.0, -1.0, -1.0]).first, 10);
    }

    proptest! {
        #[test]
        fn without_ties_the_order_of_candidates_does_not_matter(
            order in Just((0usize..8).collect::<Vec<_>>()).prop_shuffle(), gold in 0usize..8,
        ) {
            let score = |candidate: usize| -((candidate * 5 % 8) as f64);
            let plain: Vec<f64> = (0..8).map(score).collect();
            let shuffled: Vec<f64> = order.iter().map(|candidate| score(*candidate)).collect();
            let place = order.iter().position(|candidate| *candidate == gold).unwrap();
            let (plain, moved) = (candidates(8, gold).ranked(&plain), candidates(8, place).ranked(&shuffled));
            prop_assert_eq!(plain.rank, moved.rank);
            prop_assert_eq!(plain.first, 10 + order[moved.first - 10]);
        }
    }
}
