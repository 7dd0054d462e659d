//! What becomes of the gain when embeddings drift: the same users with more and more noise on their
//! standardised embeddings.

use e2p_prefix::Adapter;

use crate::error::Result;
use crate::eval::arms::Arms;
use crate::eval::arms::Condition;
use crate::eval::score::trial::Trial;
use crate::eval::score::trial::target_nlls;

/// Scores at one level of noise. Preferred variable name: `level`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DriftLevel {
    /// Standard deviation of the noise, in those of the training users.
    pub(crate) noise: f32,
    /// Negative log-likelihood (nats) and tokens of the target of each example under `e2p`.
    pub(crate) nll: Vec<(f64, usize)>,
}

/// Scores `e2p` at every level; the noise of a user keeps its direction and grows.
///
/// # Errors
/// As the scoring, and what `report` returns.
pub(crate) fn measure(
    trial: Trial<'_>,
    adapter: &Adapter,
    levels: &[f32],
    mut report: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<DriftLevel>> {
    let Trial { arms, examples, .. } = trial;
    let total = levels.len() * examples.len();
    let mut out = Vec::with_capacity(levels.len());
    for (at, noise) in levels.iter().enumerate() {
        let noisy = Arms::new(
            &adapter.projector,
            None,
            arms.users,
            arms.seed,
            *noise,
            arms.device,
        );
        let noisy = Trial {
            arms: &noisy,
            ..trial
        };
        let nll = target_nlls(noisy, Condition::E2p, |done| {
            report(at * examples.len() + done, total)
        })?;
        out.push(DriftLevel { noise: *noise, nll });
    }
    Ok(out)
}
