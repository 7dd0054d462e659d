//! The soft tokens of every condition, from one adapter and one table of users.

mod condition;
mod examples;

use burn::tensor::{Device, Tensor, TensorData};
use e2p_data::normal;
use e2p_prefix::Projector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use self::condition::Condition;
pub(crate) use self::examples::{EvalExample, give_strangers_profiles, read};
use crate::scoring::other_users;
use crate::users::UserTable;

/// What turns users into soft tokens, for all conditions. Preferred variable name: `arms`.
pub(crate) struct Arms<'a> {
    pub(crate) projector: &'a Projector,
    /// The projector of the `soft_prompt` control.
    pub(crate) soft_prompt: Option<&'a Projector>,
    /// The users of the evaluated examples and nobody else.
    pub(crate) users: &'a UserTable,
    /// Whose embedding each user gets under `e2p_shuffled`, and whose profile under
    /// `text_shuffled`.
    pub(crate) other: Vec<usize>,
    pub(crate) seed: u64,
    /// Standard deviation of noise on the user's own standardised embedding.
    pub(crate) noise: f32,
    pub(crate) device: &'a Device,
}

impl<'a> Arms<'a> {
    pub(crate) fn new(
        projector: &'a Projector,
        soft_prompt: Option<&'a Projector>,
        users: &'a UserTable,
        seed: u64,
        noise: f32,
        device: &'a Device,
    ) -> Self {
        Self {
            projector,
            soft_prompt,
            users,
            other: other_users(users.len(), seed),
            seed,
            noise,
            device,
        }
    }

    /// Soft tokens of users by number, `[users.len(), n_prefix, d_model]`; `None` where the
    /// condition has none.
    pub(crate) fn prefix(&self, condition: Condition, users: &[usize]) -> Option<Tensor<3>> {
        let rows: Vec<Vec<f32>> = match condition {
            Condition::None | Condition::Text | Condition::TextShuffled => return None,
            Condition::SoftPrompt => {
                let soft_prompt = self
                    .soft_prompt
                    .expect("checked before anything is computed");
                return Some(soft_prompt.default_prefix(users.len()));
            }
            Condition::E2pDefault => return Some(self.projector.default_prefix(users.len())),
            Condition::E2p | Condition::TextE2p => {
                users.iter().map(|user| self.noisy(*user)).collect()
            }
            Condition::E2pShuffled => users
                .iter()
                .map(|user| self.noisy(self.other[*user]))
                .collect(),
            // Standardised, the mean of the training users is zero.
            Condition::E2pMean => vec![vec![0.0; self.users.space().dim]; users.len()],
            Condition::E2pZero => {
                vec![self.standardised(&vec![0.0; self.users.space().dim]); users.len()]
            }
            Condition::E2pRandom => users.iter().map(|user| self.random(*user)).collect(),
        };
        let dim = self.users.space().dim;
        let data = TensorData::new(rows.concat(), [users.len(), dim]);
        Some(self.projector.forward(Tensor::from_data(data, self.device)))
    }

    /// What the soft tokens of a condition depend on: a condition and a user that have the same
    /// ones, the same for all that share them.
    pub(crate) fn source(&self, condition: Condition, user: usize) -> (Condition, usize) {
        match condition {
            Condition::None | Condition::Text | Condition::TextShuffled => (Condition::None, 0),
            Condition::E2p | Condition::TextE2p => (Condition::E2p, user),
            Condition::E2pShuffled => (Condition::E2p, self.other[user]),
            Condition::E2pRandom => (condition, user),
            Condition::SoftPrompt
            | Condition::E2pDefault
            | Condition::E2pMean
            | Condition::E2pZero => (condition, 0),
        }
    }

    /// The same noise for the same user, whatever the batch.
    fn noisy(&self, user: usize) -> Vec<f32> {
        let mut row = self.users.row(user).to_vec();
        if self.noise > 0.0 {
            let mut rng = self.rng(user, 1);
            for value in &mut row {
                *value += self.noise * normal(&mut rng);
            }
        }
        row
    }

    /// A random direction, as long as the user's own embedding before standardisation.
    fn random(&self, user: usize) -> Vec<f32> {
        let space = self.users.space();
        let own = self.users.row(user);
        let raw = own.iter().zip(&space.mean).zip(&space.std);
        let norm = raw
            .map(|((value, mean), std)| (value * std + mean).powi(2))
            .sum::<f32>()
            .sqrt();
        let mut rng = self.rng(user, 2);
        let direction: Vec<f32> = (0..space.dim).map(|_| normal(&mut rng)).collect();
        let length = direction
            .iter()
            .map(|value| value * value)
            .sum::<f32>()
            .sqrt();
        let scaled: Vec<f32> = direction
            .into_iter()
            .map(|value| value * norm / length.max(f32::MIN_POSITIVE))
            .collect();
        self.standardised(&scaled)
    }

    fn standardised(&self, raw: &[f32]) -> Vec<f32> {
        let space = self.users.space();
        raw.iter()
            .zip(&space.mean)
            .zip(&space.std)
            .map(|((value, mean), std)| (value - mean) / std)
            .collect()
    }

    fn rng(&self, user: usize, purpose: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (purpose << 32));
        rng.set_stream(user as u64);
        rng
    }
}
