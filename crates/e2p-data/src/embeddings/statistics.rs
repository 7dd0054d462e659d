//! Mean and standard deviation per dimension: what the projector's input contract is made from.

use serde::{Deserialize, Serialize};

use super::UserEmbeddings;
use crate::error::{DataError, Result};

/// Per-dimension statistics of a set of embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingStatistics {
    /// How many rows they are from.
    pub count: usize,
    /// Mean of each dimension.
    pub mean: Vec<f32>,
    /// Standard deviation of each dimension, dividing by `count`. Zero where a dimension never
    /// changes: flooring it is the reader's business.
    pub std: Vec<f32>,
}

/// Sums are in 64 bits and of differences to the first row, so a large common offset costs no
/// precision.
pub(super) fn over_rows(
    embeddings: &UserEmbeddings,
    rows: impl IntoIterator<Item = usize>,
) -> Result<EmbeddingStatistics> {
    let dim = embeddings.dim();
    let mut origin: Option<Vec<f32>> = None;
    let mut sum = vec![0.0_f64; dim];
    let mut squares = vec![0.0_f64; dim];
    let mut count = 0_usize;
    for row in rows {
        let values = embeddings.row(row)?;
        let origin = origin.get_or_insert_with(|| values.to_vec());
        for (((value, origin), sum), squares) in
            values.iter().zip(origin).zip(&mut sum).zip(&mut squares)
        {
            let difference = f64::from(*value) - f64::from(*origin);
            *sum += difference;
            *squares += difference * difference;
        }
        count += 1;
    }
    let Some(origin) = origin else {
        return Err(DataError::Embeddings {
            file: embeddings.path().to_owned(),
            row: None,
            found: "no rows".to_owned(),
            expected: "at least one user to take statistics of".to_owned(),
        });
    };
    let n = count as f64;
    let mean = origin
        .iter()
        .zip(&sum)
        .map(|(origin, sum)| (f64::from(*origin) + sum / n) as f32)
        .collect();
    let std = squares
        .iter()
        .zip(&sum)
        .map(|(squares, sum)| (squares / n - (sum / n).powi(2)).max(0.0).sqrt() as f32)
        .collect();
    Ok(EmbeddingStatistics { count, mean, std })
}
