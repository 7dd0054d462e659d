//! Embeddings of a new version of a space, mapped to the old one, so that an adapter trained on the
//! old one goes on being used.
//!
//! Both maps are fitted to the users that both files know: a rotation with one scale (orthogonal
//! Procrustes, Schönemann 1966), which keeps all angles and fits a model trained anew with another
//! seed, and an affine map by ridge regression, which also fits another model. Only sums of
//! products are held in memory. `e2p-train` adds a residual network to the affine map.

use nalgebra::{DMatrix, DMatrixView};
use rayon::prelude::*;

use super::UserEmbeddings;
use crate::error::{DataError, Result};

/// Every tenth user in common says how good the map is, before all are fitted.
const HELD_OUT: usize = 10;
/// Rows that are summed or mapped at once.
const BLOCK: usize = 1024;
/// Ridge of the affine map, as a share of each dimension's variance. Ours.
const RIDGE: f64 = 1e-3;

/// The family of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignMethod {
    /// A rotation, one scale and the means.
    Procrustes,
    /// Any matrix and the means.
    Affine,
}

/// A fitted map. Preferred variable name: `aligner`.
#[derive(Debug)]
pub struct Aligner {
    /// `[d_to, d_from]`
    matrix: DMatrix<f64>,
    from_mean: Vec<f64>,
    to_mean: Vec<f64>,
}

/// How well a map fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlignReport {
    /// Users that both files know.
    pub users_in_common: usize,
    /// Those of them that were left out to measure, of another fit than the one returned.
    pub held_out: usize,
    /// Squared distance to the old embeddings over their variance, on the held-out users: 0 is
    /// perfect, 1 is no better than the mean.
    pub error: f64,
}

/// Sums over users: of both rows, and of products of the first with both.
struct Sums {
    n: usize,
    from: Vec<f64>,
    to: Vec<f64>,
    /// `[d_from, d_from]`
    from_from: DMatrix<f64>,
    /// `[d_to, d_from]`
    to_from: DMatrix<f64>,
}

impl Aligner {
    /// Fits a map from the space of `from` to that of `to`.
    ///
    /// Fewer than 20 users in common, and numbers that are not finite, are errors.
    pub fn fit(
        from: &UserEmbeddings,
        to: &UserEmbeddings,
        method: AlignMethod,
    ) -> Result<(Self, AlignReport)> {
        let common = users_in_common(from, to)?;
        let (held_out, fitted) = held_out_users(&common);
        let mut sums = Sums::new(from.dim(), to.dim());
        sums.add(from, to, &fitted)?;
        let measured = sums.solve(method);
        let error = alignment_error(from, to, &held_out, |rows| measured.map(rows))?;
        sums.add(from, to, &held_out)?;
        let report = AlignReport {
            users_in_common: common.len(),
            held_out: held_out.len(),
            error,
        };
        Ok((sums.solve(method), report))
    }

    /// Fits a map to these users, whom both files must know.
    pub fn fit_users(
        from: &UserEmbeddings,
        to: &UserEmbeddings,
        users: &[&str],
        method: AlignMethod,
    ) -> Result<Self> {
        let mut sums = Sums::new(from.dim(), to.dim());
        sums.add(from, to, users)?;
        Ok(sums.solve(method))
    }

    /// Embeddings of the new space as those of the old, any number of rows one after the other.
    ///
    /// # Panics
    /// If `rows` are not rows of the space that was mapped.
    pub fn map(&self, rows: &[f32]) -> Vec<f32> {
        let (d_from, d_to) = (self.from_mean.len(), self.to_mean.len());
        assert_eq!(rows.len() % d_from, 0, "rows of {d_from} numbers");
        let map_block = |rows: &[f32]| -> Vec<f32> {
            let n = rows.len() / d_from;
            let centred = DMatrix::from_fn(d_from, n, |i, j| {
                f64::from(rows[j * d_from + i]) - self.from_mean[i]
            });
            let mut mapped = DMatrix::from_fn(d_to, n, |i, _| self.to_mean[i]);
            mapped.gemm(1.0, &self.matrix, &centred, 1.0);
            mapped.iter().map(|value| *value as f32).collect()
        };
        let blocks: Vec<Vec<f32>> = rows.par_chunks(BLOCK * d_from).map(map_block).collect();
        blocks.concat()
    }
}

/// Users that both files know, in the order of `from`. Fewer than 20 are an error.
pub fn users_in_common<'a>(from: &'a UserEmbeddings, to: &UserEmbeddings) -> Result<Vec<&'a str>> {
    let common: Vec<&str> = from.ids().filter(|user| to.contains(user)).collect();
    if common.len() < 2 * HELD_OUT {
        return Err(DataError::Embeddings {
            file: from.path().to_owned(),
            row: None,
            found: format!(
                "{} users that `{}` knows too",
                common.len(),
                to.path().display()
            ),
            expected: format!("at least {}", 2 * HELD_OUT),
        });
    }
    Ok(common)
}

/// Every tenth of the users, who say how good a map is, and the others.
pub fn held_out_users<'a>(users: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (held_out, fitted): (Vec<_>, Vec<_>) = users
        .iter()
        .enumerate()
        .partition(|(index, _)| index % HELD_OUT == 0);
    let users = |part: Vec<(usize, &&'a str)>| part.into_iter().map(|(_, user)| *user).collect();
    (users(held_out), users(fitted))
}

/// Squared distance of mapped embeddings to the old ones, over the variance of the old ones among
/// these users.
///
/// 0 is perfect, 1 is no better than their mean. `map` is given rows of `from`, one after the
/// other.
pub fn alignment_error(
    from: &UserEmbeddings,
    to: &UserEmbeddings,
    users: &[&str],
    map: impl Fn(&[f32]) -> Vec<f32>,
) -> Result<f64> {
    let mut missed = 0.0;
    for block in users.chunks(BLOCK) {
        let mut rows = Vec::with_capacity(block.len() * from.dim());
        for user in block {
            rows.extend_from_slice(&from.get(user)?);
        }
        for (mapped, user) in map(&rows).chunks_exact(to.dim()).zip(block) {
            let truth = to.get(user)?;
            let differences = mapped.iter().zip(truth.iter()).map(|(a, b)| a - b);
            missed += differences
                .map(|difference| f64::from(difference).powi(2))
                .sum::<f64>();
        }
    }
    let statistics = to.statistics_of(users.iter().copied())?;
    let deviations = statistics.std.iter().map(|std| f64::from(*std).powi(2));
    let variance = users.len() as f64 * deviations.sum::<f64>();
    Ok(missed / variance.max(f64::MIN_POSITIVE))
}

impl Sums {
    fn new(d_from: usize, d_to: usize) -> Self {
        Self {
            n: 0,
            from: vec![0.0; d_from],
            to: vec![0.0; d_to],
            from_from: DMatrix::zeros(d_from, d_from),
            to_from: DMatrix::zeros(d_to, d_from),
        }
    }

    fn add(&mut self, from: &UserEmbeddings, to: &UserEmbeddings, users: &[&str]) -> Result<()> {
        let (d_from, d_to) = (self.from.len(), self.to.len());
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for block in users.chunks(BLOCK) {
            x.clear();
            y.clear();
            for user in block {
                x.extend(from.get(user)?.iter().map(|value| f64::from(*value)));
                y.extend(to.get(user)?.iter().map(|value| f64::from(*value)));
            }
            // Rows one after the other are the columns of a matrix.
            let x_columns = DMatrixView::from_slice(&x, d_from, block.len());
            let y_columns = DMatrixView::from_slice(&y, d_to, block.len());
            let x_rows = x_columns.transpose();
            rayon::join(
                || self.from_from.gemm(1.0, &x_columns, &x_rows, 1.0),
                || self.to_from.gemm(1.0, &y_columns, &x_rows, 1.0),
            );
            for (sums, values) in [(&mut self.from, &x), (&mut self.to, &y)] {
                for row in values.chunks(sums.len()) {
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
            self.n += block.len();
        }
        Ok(())
    }

    fn solve(&self, method: AlignMethod) -> Aligner {
        let n = self.n as f64;
        let mean = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|sum| sum / n).collect() };
        let (from_mean, to_mean) = (mean(&self.from), mean(&self.to));
        let centred = |products: &DMatrix<f64>, left: &[f64]| {
            DMatrix::from_fn(products.nrows(), products.ncols(), |i, j| {
                products[(i, j)] - n * left[i] * from_mean[j]
            })
        };
        let mut variance = centred(&self.from_from, &from_mean);
        let covariance = centred(&self.to_from, &to_mean);
        let matrix = match method {
            AlignMethod::Procrustes => {
                let trace = variance.trace();
                let svd = covariance.svd(true, true);
                let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else {
                    unreachable!("both were asked for")
                };
                u * v_t * (svd.singular_values.sum() / trace.max(f64::MIN_POSITIVE))
            }
            AlignMethod::Affine => {
                for i in 0..variance.nrows() {
                    // A dimension that never changes has a variance of rounding errors, far below
                    // this share of its squares.
                    let rounding = 1e-9 * self.from_from[(i, i)] + f64::MIN_POSITIVE;
                    variance[(i, i)] += RIDGE * variance[(i, i)].max(0.0) + rounding;
                }
                let cholesky = variance
                    .cholesky()
                    .expect("a ridge makes it positive definite");
                cholesky.solve(&covariance.transpose()).transpose()
            }
        };
        Aligner {
            matrix,
            from_mean,
            to_mean,
        }
    }
}
