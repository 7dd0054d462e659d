//! One side of the alternation: every row's least-squares problem, given the other side.
//!
//! For a row with columns `i` of confidence `1 + c_i` the system is
//! `(G + Σ c_i y_i y_iᵀ) x = Σ (1 + c_i) y_i`, where `G` is the other side's Gram matrix with the
//! regularization on its diagonal. It is never formed: conjugate gradient needs only its product
//! with a vector.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::AlsOptions;
use super::kernels::{add_scaled, add_scaled4, dot, dot4, multiply};
use super::matrix::Rows;

pub(super) fn solve_rows(
    solved: &mut [f32],
    other: &[f32],
    gram: &[f32],
    rows: &Rows,
    options: &AlsOptions,
) {
    let dim = options.dim;
    let arch = pulp::Arch::new();
    solved
        .par_chunks_mut(dim)
        .enumerate()
        .with_min_len(16)
        .for_each_init(
            || Scratch::new(dim),
            |scratch, (row, x)| {
                let (columns, confidences) = rows.row(row);
                arch.dispatch(SolveRow {
                    x,
                    other,
                    gram,
                    columns,
                    confidences,
                    steps: options.cg_steps,
                    scratch,
                });
            },
        );
}

struct Scratch {
    residual: Vec<f32>,
    direction: Vec<f32>,
    product: Vec<f32>,
}

impl Scratch {
    fn new(dim: usize) -> Self {
        Self {
            residual: vec![0.0; dim],
            direction: vec![0.0; dim],
            product: vec![0.0; dim],
        }
    }
}

struct SolveRow<'a> {
    x: &'a mut [f32],
    other: &'a [f32],
    gram: &'a [f32],
    columns: &'a [u32],
    confidences: &'a [f32],
    steps: usize,
    scratch: &'a mut Scratch,
}

impl WithSimd for SolveRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, gram, .. } = self;
        if self.columns.is_empty() {
            x.fill(0.0);
            return;
        }
        let Scratch {
            residual,
            direction,
            product,
        } = self.scratch;
        let items = Items {
            vectors: self.other,
            columns: self.columns,
            confidences: self.confidences,
        };
        // residual = right side - A x
        multiply(simd, residual, gram, x);
        for value in residual.iter_mut() {
            *value = -*value;
        }
        items.add(simd, residual, x, RIGHT_SIDE_MINUS);
        direction.copy_from_slice(residual);
        let mut size = dot(simd, residual, residual);
        for _ in 0..self.steps {
            if size < 1e-20 {
                break;
            }
            multiply(simd, product, gram, direction);
            items.add(simd, product, direction, PRODUCT);
            let length = size / dot(simd, direction, product);
            add_scaled(simd, x, length, direction);
            add_scaled(simd, residual, -length, product);
            let before = std::mem::replace(&mut size, dot(simd, residual, residual));
            let turn = size / before;
            for (direction, residual) in direction.iter_mut().zip(residual.iter()) {
                *direction = residual + turn * *direction;
            }
        }
    }
}

/// Whether the sum over items is `Σ c (y·x) y`, or `Σ (1 + c - c (y·x)) y`.
const PRODUCT: bool = false;
const RIGHT_SIDE_MINUS: bool = true;

/// A row's items with their vectors and confidences.
struct Items<'a> {
    vectors: &'a [f32],
    columns: &'a [u32],
    confidences: &'a [f32],
}

impl Items<'_> {
    /// Adds the sum over the items to `out`, four items at a time.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, out: &mut [f32], x: &[f32], right_side: bool) {
        let dim = x.len();
        let (columns, last_columns) = self.columns.as_chunks::<4>();
        let (confidences, last_confidences) = self.confidences.as_chunks::<4>();
        for ([a, b, c, d], confidences) in columns.iter().zip(confidences) {
            let rows = [
                &self.vectors[*a as usize * dim..][..dim],
                &self.vectors[*b as usize * dim..][..dim],
                &self.vectors[*c as usize * dim..][..dim],
                &self.vectors[*d as usize * dim..][..dim],
            ];
            let mut scales = dot4(simd, x, rows);
            for (scale, confidence) in scales.iter_mut().zip(confidences) {
                *scale = weight(*confidence, *scale, right_side);
            }
            add_scaled4(simd, out, scales, rows);
        }
        for (column, confidence) in last_columns.iter().zip(last_confidences) {
            let y = &self.vectors[*column as usize * dim..][..dim];
            let scale = weight(*confidence, dot(simd, y, x), right_side);
            add_scaled(simd, out, scale, y);
        }
    }
}

#[inline(always)]
fn weight(confidence: f32, product: f32, right_side: bool) -> f32 {
    if right_side {
        1.0 + confidence - confidence * product
    } else {
        confidence * product
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};
    use rand::{RngExt, SeedableRng};

    use super::super::{InteractionMatrix, gram};
    use super::*;

    #[test]
    fn conjugate_gradient_finds_what_cholesky_finds() {
        let dim = 7;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let other: Vec<f32> = (0..20 * dim).map(|_| rng.random::<f32>() - 0.5).collect();
        let pairs = [(0, 3, 2.0), (0, 11, 0.5), (0, 19, 7.0), (2, 4, 1.0)];
        let matrix = InteractionMatrix::from_pairs(3, 20, &pairs);
        let options = AlsOptions {
            dim,
            cg_steps: 2 * dim,
            regularization: 0.1,
            ..AlsOptions::default()
        };
        let gram = gram(&other, dim, options.regularization);
        let mut solved = vec![0.3; 3 * dim];
        solve_rows(&mut solved, &other, &gram, matrix.by_user(), &options);
        assert!(
            solved[dim..2 * dim].iter().all(|value| *value == 0.0),
            "no items, no vector"
        );
        for row in [0, 2] {
            let mut a = DMatrix::<f64>::from_fn(dim, dim, |i, j| {
                let sum: f64 = other
                    .chunks(dim)
                    .map(|y| f64::from(y[i]) * f64::from(y[j]))
                    .sum();
                sum + if i == j {
                    f64::from(options.regularization)
                } else {
                    0.0
                }
            });
            let mut b = DVector::<f64>::zeros(dim);
            for (_, item, confidence) in pairs.iter().filter(|pair| pair.0 == row) {
                let y: Vec<f64> = other[*item as usize * dim..][..dim]
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect();
                for i in 0..dim {
                    b[i] += (1.0 + f64::from(*confidence)) * y[i];
                    for j in 0..dim {
                        a[(i, j)] += f64::from(*confidence) * y[i] * y[j];
                    }
                }
            }
            let expected = a.cholesky().unwrap().solve(&b);
            for (i, found) in solved[row * dim..][..dim].iter().enumerate() {
                assert!(
                    (f64::from(*found) - expected[i]).abs() < 1e-4,
                    "row {row}: {found} {}",
                    expected[i]
                );
            }
        }
    }
}
