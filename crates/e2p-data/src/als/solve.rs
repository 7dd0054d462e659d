//! One side of the alternation: every row's least-squares problem, given the other side.
//!
//! For a row with columns `i` of confidence `1 + c_i` the system is `(G + Σ c_i y_i y_iᵀ) x = Σ (1 + c_i) y_i`, where `G` is the other side's Gram matrix
//! with the regularization on its diagonal. It is never formed: conjugate gradient needs only its product with a vector.

use rayon::prelude::*;

use super::AlsOptions;
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
                // Inside, the compiler may use what the processor has.
                arch.dispatch(|| {
                    solve_row(
                        x,
                        other,
                        gram,
                        columns,
                        confidences,
                        options.cg_steps,
                        scratch,
                    );
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

#[inline(always)]
fn solve_row(
    x: &mut [f32],
    other: &[f32],
    gram: &[f32],
    columns: &[u32],
    confidences: &[f32],
    steps: usize,
    scratch: &mut Scratch,
) {
    let dim = x.len();
    if columns.is_empty() {
        x.fill(0.0);
        return;
    }
    let Scratch {
        residual,
        direction,
        product,
    } = scratch;
    let vector = |column: u32| &other[column as usize * dim..][..dim];
    // residual = right side - A x
    multiply(residual, gram, x);
    for value in residual.iter_mut() {
        *value = -*value;
    }
    for (&column, &confidence) in columns.iter().zip(confidences) {
        let y = vector(column);
        add_scaled(residual, 1.0 + confidence - confidence * dot(y, x), y);
    }
    direction.copy_from_slice(residual);
    let mut size = dot(residual, residual);
    for _ in 0..steps {
        if size < 1e-20 {
            break;
        }
        multiply(product, gram, direction);
        for (&column, &confidence) in columns.iter().zip(confidences) {
            let y = vector(column);
            add_scaled(product, confidence * dot(y, direction), y);
        }
        let length = size / dot(direction, product);
        add_scaled(x, length, direction);
        add_scaled(residual, -length, product);
        let before = std::mem::replace(&mut size, dot(residual, residual));
        let turn = size / before;
        for (direction, residual) in direction.iter_mut().zip(residual.iter()) {
            *direction = residual + turn * *direction;
        }
    }
}

/// `out = symmetric · x`, as a sum of scaled rows, which needs no sum across a register.
#[inline(always)]
fn multiply(out: &mut [f32], symmetric: &[f32], x: &[f32]) {
    out.fill(0.0);
    for (row, &value) in symmetric.chunks_exact(x.len()).zip(x) {
        add_scaled(out, value, row);
    }
}

#[inline(always)]
fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

/// Sixteen sums side by side: one sum could not be vectorised without changing its value.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use faer::linalg::solvers::Solve;
    use faer::{Mat, Side};
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
            let mut a = Mat::<f64>::from_fn(dim, dim, |i, j| {
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
            let mut b = Mat::<f64>::zeros(dim, 1);
            for (_, item, confidence) in pairs.iter().filter(|pair| pair.0 == row) {
                let y: Vec<f64> = other[*item as usize * dim..][..dim]
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect();
                for i in 0..dim {
                    b[(i, 0)] += (1.0 + f64::from(*confidence)) * y[i];
                    for j in 0..dim {
                        a[(i, j)] += f64::from(*confidence) * y[i] * y[j];
                    }
                }
            }
            let expected = a.llt(Side::Lower).unwrap().solve(&b);
            for (i, found) in solved[row * dim..][..dim].iter().enumerate() {
                assert!(
                    (f64::from(*found) - expected[(i, 0)]).abs() < 1e-4,
                    "row {row}: {found} {}",
                    expected[(i, 0)]
                );
            }
        }
    }
}
