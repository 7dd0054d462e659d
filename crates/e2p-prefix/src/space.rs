//! The contract about user embeddings: which space they come from and how they are standardised.
//!
//! The statistics are those of the training users and travel with the adapter, so a vector means
//! the same at training and at serving time. An embedding is personal data (it can be inverted):
//! nothing here prints or logs one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{PrefixError, Result};

/// The space an adapter was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingSpace {
    /// Name and version given by whoever made the embeddings, such as `als-2026-11`.
    pub name: String,
    /// Dimensions.
    pub dim: usize,
    /// Mean of the training users, per dimension.
    #[serde(skip)]
    pub mean: Vec<f32>,
    /// Standard deviation of the training users, per dimension, floored.
    #[serde(skip)]
    pub std: Vec<f32>,
}

/// The standard deviation of a dimension counts as at least this part of the average over
/// dimensions.
///
/// Some encoders have dead dimensions (all-MiniLM-L6-v2 has three); without a floor a stray value
/// there would be blown up. Ours.
const STD_FLOOR: f32 = 0.01;

impl EmbeddingSpace {
    /// A space from the statistics of the training users; tiny deviations are floored.
    pub fn new(name: impl Into<String>, mean: Vec<f32>, mut std: Vec<f32>) -> Self {
        let average = std.iter().sum::<f32>() / std.len().max(1) as f32;
        let floor = if average > 0.0 {
            STD_FLOOR * average
        } else {
            1.0
        };
        for std in &mut std {
            *std = std.max(floor);
        }
        Self {
            name: name.into(),
            dim: mean.len(),
            mean,
            std,
        }
    }

    /// Checks one user's embedding and standardises it: `(e - mean) / std`.
    ///
    /// # Errors
    /// [`PrefixError::Dimension`] or [`PrefixError::NonFinite`], naming the user.
    pub fn standardise(&self, user: &str, embedding: &[f32]) -> Result<Vec<f32>> {
        if embedding.len() != self.dim {
            return Err(PrefixError::Dimension {
                user: user.into(),
                found: embedding.len(),
                expected: self.dim,
                space: self.name.clone(),
            });
        }
        if let Some((index, value)) = embedding
            .iter()
            .enumerate()
            .find(|(_, value)| !value.is_finite())
        {
            return Err(PrefixError::NonFinite {
                user: user.into(),
                index,
                value: *value,
            });
        }
        Ok(embedding
            .iter()
            .zip(&self.mean)
            .zip(&self.std)
            .map(|((value, mean), std)| (value - mean) / std)
            .collect())
    }

    /// Refuses embeddings of another space, by name and dimension.
    ///
    /// # Errors
    /// [`PrefixError::WrongSpace`] naming both.
    pub fn check(&self, name: &str, dim: usize) -> Result<()> {
        if self.name == name && self.dim == dim {
            return Ok(());
        }
        Err(PrefixError::WrongSpace {
            expected: self.name.clone(),
            expected_dim: self.dim,
            found: name.to_owned(),
            found_dim: dim,
        })
    }

    /// SHA-256 over name, dimension and statistics.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update(self.dim.to_le_bytes());
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.mean));
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.std));
        format!("{:x}", hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_dimension_is_not_blown_up() {
        let space = EmbeddingSpace::new("s", vec![1.0, 0.0, 5.0], vec![2.0, 4.0, 0.0]);
        assert_eq!(
            space.standardise("u", &[3.0, 2.0, 5.0]).unwrap(),
            [1.0, 0.5, 0.0]
        );
        assert!(space.standardise("u", &[3.0, 2.0, 5.001]).unwrap()[2] < 0.1);
    }

    #[test]
    fn wrong_embeddings_are_refused_by_user() {
        let space = EmbeddingSpace::new("s", vec![0.0; 3], vec![1.0; 3]);
        assert_eq!(
            space.standardise("u-7", &[0.0; 2]).unwrap_err().to_string(),
            "the embedding of user `u-7` has 2 dimensions, expected 3 as in the space `s`"
        );
        assert_eq!(
            space
                .standardise("u-7", &[0.0, f32::NAN, 0.0])
                .unwrap_err()
                .to_string(),
            "the embedding of user `u-7` has NaN in dimension 1, expected a finite number"
        );
        assert!(space.check("s", 3).is_ok());
        assert!(matches!(
            space.check("t", 3),
            Err(PrefixError::WrongSpace { .. })
        ));
        assert!(matches!(
            space.check("s", 4),
            Err(PrefixError::WrongSpace { .. })
        ));
    }
}
