//! Matrix factorization for implicit feedback by alternating least squares.
//!
//! Hu, Koren, Volinsky: Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008. Every
//! pair of user and item has a preference, one if they met and zero if not, and a confidence,
//! `1 + alpha·w` with `w` the weight or its logarithm. Rows are solved in parallel by a few steps
//! of conjugate gradient that start from the row's last value (Takács, Pilászy, Tikk: Applications
//! of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering, RecSys 2011).
//! Rows do not depend on each other, so the result is the same with any number of threads.

mod kernels;
mod matrix;
mod recall;
mod solve;

use nalgebra::{DMatrix, DMatrixView};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::observe::Observer;

pub use matrix::InteractionMatrix;
pub use recall::{HeldOutRecall, held_out_recall};

/// How the matrix is factorized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlsOptions {
    /// Numbers per user and item.
    pub dim: usize,
    /// How often users and items are solved.
    pub iterations: usize,
    /// Steps of conjugate gradient per solve.
    pub cg_steps: usize,
    /// How much a weight adds to the confidence.
    pub alpha: f32,
    /// The weight of the squared norms.
    pub regularization: f32,
    /// Whether `w` is `ln(1 + weight)`; otherwise it is the weight itself.
    pub log_weights: bool,
    /// Another seed begins elsewhere.
    pub seed: u64,
}

impl Default for AlsOptions {
    /// Chosen on Last.fm's validation items; see the crate's documentation for what they give.
    fn default() -> Self {
        Self {
            dim: 64,
            iterations: 15,
            cg_steps: 3,
            alpha: 1.0,
            regularization: 10.0,
            log_weights: true,
            seed: 0,
        }
    }
}

impl AlsOptions {
    fn validate(&self) -> Result<()> {
        let positive = |option, good: bool, found: String| {
            if good {
                Ok(())
            } else {
                Err(DataError::InvalidOption {
                    option,
                    found,
                    expected: "a number above zero",
                })
            }
        };
        positive("dim", self.dim > 0, self.dim.to_string())?;
        positive(
            "iterations",
            self.iterations > 0,
            self.iterations.to_string(),
        )?;
        positive("cg-steps", self.cg_steps > 0, self.cg_steps.to_string())?;
        let finite = |value: f32| value.is_finite() && value > 0.0;
        positive("alpha", finite(self.alpha), self.alpha.to_string())?;
        positive(
            "regularization",
            finite(self.regularization),
            self.regularization.to_string(),
        )
    }
}

/// A vector for every user and every item of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    dim: usize,
    users: Vec<f32>,
    items: Vec<f32>,
}

impl Factors {
    /// Numbers per vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The users' vectors in the order of [`InteractionMatrix::users`].
    pub fn users(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.users.chunks_exact(self.dim)
    }

    /// The items' vectors in the order of [`InteractionMatrix::items`].
    pub fn items(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.items.chunks_exact(self.dim)
    }

    pub(crate) fn user(&self, user: usize) -> &[f32] {
        &self.users[user * self.dim..][..self.dim]
    }

    pub(crate) fn item_matrix(&self) -> &[f32] {
        &self.items
    }
}

/// Factorizes `matrix`; progress counts half-iterations.
pub fn factorize(
    matrix: &InteractionMatrix,
    options: &AlsOptions,
    observer: &mut dyn Observer,
) -> Result<Factors> {
    options.validate()?;
    let dim = options.dim;
    let by_user = matrix
        .by_user()
        .map_values(|weight| confidence(weight, options));
    let by_item = by_user.transposed(matrix.items().len());
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut random = |rows: usize| -> Vec<f32> {
        (0..rows * dim)
            .map(|_| (rng.random::<f32>() - 0.5) / (dim as f32).sqrt())
            .collect()
    };
    let mut users = random(matrix.users().len());
    let mut items = random(matrix.items().len());
    let steps = 2 * options.iterations as u64;
    observer.stage("factorize");
    for iteration in 0..options.iterations as u64 {
        solve::solve_rows(
            &mut users,
            &items,
            &gram(&items, dim, options.regularization),
            &by_user,
            options,
        );
        observer.progress(2 * iteration + 1, steps);
        solve::solve_rows(
            &mut items,
            &users,
            &gram(&users, dim, options.regularization),
            &by_item,
            options,
        );
        observer.progress(2 * iteration + 2, steps);
    }
    // The users were last solved against the items before these; a last solve makes them fit.
    solve::solve_rows(
        &mut users,
        &items,
        &gram(&items, dim, options.regularization),
        &by_user,
        options,
    );
    Ok(Factors { dim, users, items })
}

/// Confidence above the one of pairs that never met.
fn confidence(weight: f32, options: &AlsOptions) -> f32 {
    options.alpha
        * if options.log_weights {
            weight.ln_1p()
        } else {
            weight
        }
}

/// `rowsᵀ·rows + regularization·I`, summed over blocks of fixed size in fixed order, so that
/// threads do not change it.
fn gram(rows: &[f32], dim: usize, regularization: f32) -> Vec<f32> {
    const BLOCK: usize = 4096;
    let blocks: Vec<DMatrix<f32>> = rows
        .par_chunks(BLOCK * dim)
        .map(|block| {
            let columns = DMatrixView::from_slice(block, dim, block.len() / dim);
            columns * columns.transpose()
        })
        .collect();
    let mut sum = DMatrix::from_diagonal_element(dim, dim, regularization);
    for block in blocks {
        sum += block;
    }
    sum.data.into()
}
