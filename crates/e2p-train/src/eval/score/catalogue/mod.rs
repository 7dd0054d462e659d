//! Recommendation as generation: every item of the catalogue is ranked by the log-likelihood of its
//! name.
//!
//! Items that the user has already chosen are left out of the ranking, ties count against the gold.
//! Conditions share what they have in common: the same prompt with the same soft tokens is searched
//! once, so the constant conditions cost one search each and `e2p_shuffled` costs none beside
//! `e2p`.

mod baselines;
mod beam;
mod log_sum_exp;
mod search;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use e2p_prefix::{Prefilled, Prompt};
use rayon::prelude::*;

pub(crate) use self::baselines::{Als, Baseline, baselines};
use self::tree::NameTree;
use crate::encode::ExampleEncoder;
use crate::error::{Result, TrainError};
use crate::eval::arms::Condition;
use crate::eval::arms::EvalExample;
use crate::eval::score::Scores;
use crate::eval::score::trial::Trial;
use crate::inputs::Inputs;
use crate::users::UserTable;

/// Searches between two reports of progress.
const SEARCHES_PER_REPORT: usize = 16;

/// The items of a data directory, and who has chosen which. Preferred variable name: `catalogue`.
pub(crate) struct Catalogue {
    tree: NameTree,
    /// Names by number.
    names: Vec<String>,
    /// Numbers by id.
    numbers: HashMap<String, usize>,
    /// How many users have chosen each item.
    popularity: Vec<u32>,
    /// What each evaluated user has chosen.
    seen: Vec<HashSet<usize>>,
    /// The ranked examples, each with its gold item.
    pub(crate) golds: Vec<(usize, usize)>,
}

impl Catalogue {
    /// The catalogue for the first `limit` examples; `None` where the task does not recommend:
    /// there are no items, or candidates are given.
    ///
    /// # Errors
    /// Unreadable items or users, an example whose item is not among the items or is called
    /// otherwise.
    pub(crate) fn load(
        inputs: &Inputs,
        encoder: &ExampleEncoder<'_>,
        examples: &[EvalExample],
        users: &UserTable,
        limit: usize,
    ) -> Result<Option<Self>> {
        let recommends = |example: &&EvalExample| {
            example.example.item.is_some() && example.example.candidates.is_empty()
        };
        let Some(first) = examples.iter().find(recommends).filter(|_| limit > 0) else {
            return Ok(None);
        };
        if inputs.data.info().counts.items == 0 {
            return Ok(None);
        }
        let (mut names, mut ids, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        for item in inputs.data.items()? {
            let item = item?;
            numbers.insert(item.item, names.len());
            ids.push(encoder.target(&first.example, &item.text)?);
            names.push(item.text);
        }
        let mut popularity = vec![0; names.len()];
        let mut seen = vec![HashSet::new(); users.len()];
        let by_id: HashMap<&str, usize> = (0..users.len())
            .map(|user| (users.id(user), user))
            .collect();
        for user in inputs.data.users()? {
            let user = user?;
            let history = user
                .history
                .iter()
                .filter_map(|item| numbers.get(item).copied());
            let evaluated = by_id.get(user.user.as_str());
            for item in history {
                popularity[item] += 1;
                if let Some(evaluated) = evaluated {
                    seen[*evaluated].insert(item);
                }
            }
        }
        let mut golds = Vec::new();
        for (index, example) in examples
            .iter()
            .enumerate()
            .filter(|(_, example)| recommends(example))
        {
            if golds.len() == limit {
                break;
            }
            let id = example.example.item.as_deref().unwrap_or_default();
            let unknown = |found: &str| TrainError::Catalogue {
                user: example.example.user.clone(),
                item: id.into(),
                found: found.into(),
            };
            let item = *numbers
                .get(id)
                .ok_or_else(|| unknown("no such item in items.jsonl"))?;
            if ids[item].as_ref() != Some(&example.target) {
                return Err(unknown("another name in items.jsonl than its target"));
            }
            golds.push((index, item));
        }
        Ok(Some(Self {
            tree: NameTree::new(&ids),
            names,
            numbers,
            popularity,
            seen,
            golds,
        }))
    }

    /// Items.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Items whose name is too long to be written.
    pub(crate) fn left_out(&self) -> usize {
        self.len() - self.tree.n_items()
    }

    /// The names that constrained beam search recommends for a prompt and a user, best first.
    pub(crate) fn recommend(
        &self,
        trial: Trial<'_>,
        prompt: &Prompt,
        user: usize,
        n: usize,
        width: usize,
    ) -> Result<Vec<&str>> {
        let decoder = &trial.inputs.decoder;
        let prefix = trial.arms.prefix(Condition::E2p, &[user]);
        let prefilled = Prefilled::new(decoder, &[prompt], prefix)?;
        let found = beam::search(decoder, &self.tree, &prefilled, width, &self.seen[user])?;
        let names = found
            .iter()
            .take(n)
            .map(|(item, _)| self.names[*item].as_str());
        Ok(names.collect())
    }

    /// The rank of `gold` for a user among scored items; items without a score are below all. Ties
    /// count against the gold.
    fn rank(
        &self,
        user: usize,
        gold: usize,
        score: f64,
        scores: impl Iterator<Item = (usize, f64)>,
    ) -> usize {
        let before = scores.filter(|(item, other)| {
            *item != gold && *other >= score && !self.seen[user].contains(item)
        });
        1 + before.count()
    }
}

/// A prompt with soft tokens, and who waits for its outcome.
struct Search<'a> {
    prompt: &'a Prompt,
    /// A condition and a user that have these soft tokens.
    arm: (Condition, usize),
    /// Entry of the scores and place among the ranked examples.
    waiting: Vec<(usize, usize)>,
}

/// What a search found for one entry of the scores: the entry, the place among the ranked examples,
/// the rank, and the place in the list of the beam search.
type Outcome = (usize, usize, usize, Option<usize>);

/// Ranks the gold items of all conditions; `report` is told how many searches of how many are done.
///
/// # Errors
/// Whatever the decoder refuses, and what `report` returns.
pub(crate) fn rank_all(
    trial: Trial<'_>,
    catalogue: &Catalogue,
    scores: &mut [Scores],
    beam_width: usize,
    mut report: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let searches = searches(trial, catalogue, scores);
    report(0, searches.len())?;
    let mut done = 0;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for chunk in searches.chunks(SEARCHES_PER_REPORT) {
        let found: Result<Vec<Vec<Outcome>>> = chunk
            .par_iter()
            .map(|search| one(trial, catalogue, scores, beam_width, search))
            .collect();
        outcomes.extend(found?.into_iter().flatten());
        done += chunk.len();
        report(done, searches.len())?;
    }
    outcomes.sort_unstable();
    for (entry, place, rank, listed) in outcomes {
        let example = catalogue.golds[place].0;
        scores[entry].catalogue.push((example, rank));
        if beam_width > 0 {
            scores[entry].beam.push((example, listed));
        }
    }
    Ok(())
}

/// The different searches that the conditions need.
fn searches<'a>(trial: Trial<'a>, catalogue: &Catalogue, scores: &[Scores]) -> Vec<Search<'a>> {
    let Trial { arms, examples, .. } = trial;
    let mut numbers: HashMap<(&Prompt, (Condition, usize)), usize> = HashMap::new();
    let mut searches: Vec<Search<'_>> = Vec::new();
    for (entry, scores) in scores.iter().enumerate() {
        for (place, (index, _)) in catalogue.golds.iter().enumerate() {
            let example = &examples[*index];
            let prompt = example.prompt(scores.condition);
            let arm = arms.source(scores.condition, example.user);
            let number = *numbers.entry((prompt, arm)).or_insert_with(|| {
                searches.push(Search {
                    prompt,
                    arm,
                    waiting: Vec::new(),
                });
                searches.len() - 1
            });
            searches[number].waiting.push((entry, place));
        }
    }
    searches
}

fn one(
    trial: Trial<'_>,
    catalogue: &Catalogue,
    scores: &[Scores],
    beam_width: usize,
    search: &Search<'_>,
) -> Result<Vec<Outcome>> {
    let Trial { arms, examples, .. } = trial;
    let decoder = &trial.inputs.decoder;
    let (condition, user) = search.arm;
    let prefix = arms.prefix(condition, &[user]);
    let prefilled = Prefilled::new(decoder, &[search.prompt], prefix)?;
    // The target of an example is the name of its item: its log-likelihood is known.
    let known = |(entry, place): (usize, usize)| {
        let (example, gold) = catalogue.golds[place];
        (gold, examples[example].user, -scores[entry].nll[example].0)
    };
    let lowest = search
        .waiting
        .iter()
        .map(|waiting| known(*waiting).2)
        .fold(f64::INFINITY, f64::min);
    // A little below, because sums in another order differ in their last digits.
    let threshold = lowest - 1e-3 - 1e-4 * lowest.abs();
    let found = search::at_least(decoder, &catalogue.tree, &prefilled, threshold)?;
    let by_item: HashMap<usize, f64> = found.iter().copied().collect();
    let mut lists: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut outcomes = Vec::with_capacity(search.waiting.len());
    for waiting in &search.waiting {
        let (gold, user, known) = known(*waiting);
        let score = by_item.get(&gold).copied().unwrap_or(known);
        let rank = catalogue.rank(user, gold, score, found.iter().copied());
        let mut listed = None;
        if beam_width > 0 {
            let list = match lists.entry(user) {
                Entry::Occupied(list) => list.into_mut(),
                Entry::Vacant(list) => {
                    let seen = &catalogue.seen[user];
                    let found =
                        beam::search(decoder, &catalogue.tree, &prefilled, beam_width, seen)?;
                    list.insert(found.into_iter().map(|(item, _)| item).collect())
                }
            };
            // Items of the same name tie, and ties count against the gold.
            let namesakes = catalogue.tree.namesakes(gold).unwrap_or_default();
            listed = list
                .iter()
                .rposition(|item| namesakes.contains(item))
                .map(|place| place + 1);
        }
        outcomes.push((waiting.0, waiting.1, rank, listed));
    }
    Ok(outcomes)
}
