//! The users of a run: standardised embeddings in memory, by number.
//!
//! Only the users that occur in the examples are read from the file.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use e2p_data::UserEmbeddings;
use e2p_prefix::EmbeddingSpace;

use crate::error::Result;

/// Standardised embeddings of the users at hand. Preferred variable name: `users`.
#[derive(Debug, Clone)]
pub struct UserTable {
    space: EmbeddingSpace,
    ids: Vec<String>,
    numbers: HashMap<String, usize>,
    /// `[ids.len(), dim]`
    rows: Vec<f32>,
}

impl UserTable {
    /// An empty table of a space.
    pub fn new(space: EmbeddingSpace) -> Self {
        Self {
            space,
            ids: Vec::new(),
            numbers: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// The number of a user, read from `embeddings` when it is new.
    ///
    /// # Errors
    /// An unknown user, a wrong dimension, a number that is not finite.
    pub fn number(&mut self, id: &str, embeddings: &UserEmbeddings) -> Result<usize> {
        if let Some(number) = self.numbers.get(id) {
            return Ok(*number);
        }
        let row = self.space.standardise(id, &embeddings.get(id)?)?;
        Ok(self.push(id, row))
    }

    /// The number of a user whose embedding nobody asks for: new ones get zeros.
    pub fn known_or_push(&mut self, id: &str) -> usize {
        self.numbers
            .get(id)
            .copied()
            .unwrap_or_else(|| self.push(id, vec![0.0; self.space.dim]))
    }

    /// Adds a user whose standardised embedding is already known, and returns its number.
    pub fn push(&mut self, id: &str, standardised: Vec<f32>) -> usize {
        let number = self.ids.len();
        self.ids.push(id.to_owned());
        self.numbers.insert(id.to_owned(), number);
        self.rows.extend(standardised);
        number
    }

    /// Users in the table.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a number.
    pub fn id(&self, number: usize) -> &str {
        &self.ids[number]
    }

    /// The space.
    pub fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    /// The standardised embedding of a number.
    pub fn row(&self, number: usize) -> &[f32] {
        let dim = self.space.dim;
        &self.rows[number * dim..(number + 1) * dim]
    }

    /// A batch of standardised embeddings, `[numbers.len(), dim]`.
    pub fn batch(&self, numbers: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = numbers
            .iter()
            .flat_map(|number| self.row(*number))
            .copied()
            .collect();
        Tensor::from_data(
            TensorData::new(values, [numbers.len(), self.space.dim]),
            device,
        )
    }
}
