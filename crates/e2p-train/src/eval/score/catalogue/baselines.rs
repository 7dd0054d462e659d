//! What a recommender must be compared with: the most popular items, and the factorization that
//! made the users' vectors.

use std::path::{Path, PathBuf};

use e2p_data::UserEmbeddings;
use rayon::prelude::*;

use super::Catalogue;
use crate::error::Result;
use crate::eval::arms::EvalExample;

/// A ranking that is no language model's. Preferred variable name: `baseline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Baseline {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// Example and rank.
    pub(crate) ranks: Vec<(usize, usize)>,
}

/// Vectors of users and items whose product is the prediction. Preferred variable name: `als`.
pub(crate) struct Als {
    users: UserEmbeddings,
    items: UserEmbeddings,
}

impl Als {
    /// Opens the vectors that `e2p embed interactions --out PATH` wrote: the users in `path`, the
    /// items beside it.
    ///
    /// # Errors
    /// Files that are missing or no embeddings.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            users: UserEmbeddings::open(path)?,
            items: UserEmbeddings::open(Self::items_path(path))?,
        })
    }

    /// Where the items of the users in `path` are.
    pub(crate) fn items_path(path: &Path) -> PathBuf {
        path.with_extension("items.safetensors")
    }
}

/// Ranks the gold items by popularity, and by `als` where it is given.
///
/// # Errors
/// A user or item without a vector that can be read.
pub(crate) fn baselines(
    catalogue: &Catalogue,
    examples: &[EvalExample],
    als: Option<&Als>,
) -> Result<Vec<Baseline>> {
    let popular: Vec<f64> = catalogue.popularity.iter().map(|n| f64::from(*n)).collect();
    let rank = |example: usize, gold: usize, scores: &[f64]| {
        let user = examples[example].user;
        let all = scores.iter().copied().enumerate();
        (example, catalogue.rank(user, gold, scores[gold], all))
    };
    let mut out = vec![Baseline {
        name: "popularity",
        ranks: catalogue
            .golds
            .iter()
            .map(|(example, gold)| rank(*example, *gold, &popular))
            .collect(),
    }];
    if let Some(als) = als {
        // An item without a vector is recommended to nobody.
        let mut items: Vec<Option<Vec<f32>>> = vec![None; catalogue.len()];
        for (row, id) in als.items.ids().enumerate() {
            if let Some(number) = catalogue.numbers.get(id) {
                items[*number] = Some(als.items.row(row)?.into_owned());
            }
        }
        let ranks: Result<Vec<(usize, usize)>> = catalogue
            .golds
            .par_iter()
            .map(|(example, gold)| {
                let user = als.users.get(&examples[*example].example.user)?;
                let product = |item: &Option<Vec<f32>>| {
                    item.as_ref().map_or(f64::NEG_INFINITY, |item| {
                        let pairs = item.iter().zip(user.iter());
                        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                    })
                };
                let scores: Vec<f64> = items.iter().map(product).collect();
                Ok(rank(*example, *gold, &scores))
            })
            .collect();
        out.push(Baseline {
            name: "als",
            ranks: ranks?,
        });
    }
    Ok(out)
}
